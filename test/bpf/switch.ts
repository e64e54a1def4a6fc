import type { ExecutionContext } from 'ava';

import type { TestContext } from '../../agent/libbpf/kernel-program.js';
import { type Ifindex, macBytes } from '../../common/addresses.js';
import {
  allowedAddressFlags,
  allowedMacFlags,
  constants,
  ipFamily,
  portFlags,
} from '../../generated/bpf/layouts.js';
import { ip, mac } from '../support/packets.js';
import { createDevice, findIfindex } from '../support/private-namespace.js';
import { BpfHarness, type Run } from './harness.js';
import { plainPort } from '../support/plain-port.js';

export const datapathKey = 7;
const { PORT_ENABLED, PORT_SECURITY } = portFlags;

/** MAC of port n. */
export function macOf(port: number): string {
  return `02:00:00:00:00:0${port}`;
}

export function ip4Of(port: number): string {
  return `10.0.0.${port}`;
}

export function ip6Of(port: number): string {
  return `fd00::${port}`;
}

let devicesMade = 0;

/** A switch whose ports 1..n are plugged in; port n has slot n, port key 10 + n, `macOf(n)`, and no port security. */
export class TestSwitch {
  readonly harness = new BpfHarness();
  readonly ports: readonly number[];
  readonly #devices = new Map<number, Ifindex>();
  readonly #names = new Map<number, string>();

  private constructor(count: number, devices: readonly Ifindex[]) {
    this.ports = Array.from({ length: count }, (_, index) => index + 1);
    for (const port of this.ports) {
      this.#devices.set(port, devices[port - 1] ?? this.#createDevice(port));
      this.setFlags(port, PORT_ENABLED);
      this.harness.put('ports_by_interface', { ifindex: this.deviceOf(port), vlanId: 0 }, port);
      this.harness.put(
        'destinations',
        { datapathKey, mac: macBytes(mac(macOf(port))) },
        { portKey: 10 + port, slot: port },
      );
    }
    this.harness.putGroup(datapathKey, constants.MULTICAST_FLOOD, this.ports);
  }

  /** Gone after the test. The ports are plugged into `devices`, and into veths of their own where there are none. */
  static open(t: ExecutionContext, count: number, devices: readonly Ifindex[] = []): TestSwitch {
    const opened = new TestSwitch(count, devices);
    t.teardown(() => opened.harness.close());
    return opened;
  }

  #createDevice(port: number): Ifindex {
    devicesMade += 1;
    const name = `sw${devicesMade}`;
    this.#names.set(port, name);
    return createDevice(name);
  }

  deviceOf(port: number): number {
    return this.#devices.get(port) ?? 0;
  }

  /** Where the VM would be: what is sent to the port arrives there. */
  vmEndOf(port: number): Ifindex {
    return findIfindex(`${this.#names.get(port) ?? ''}-p`);
  }

  setFlags(port: number, flags: number, ifindex = this.deviceOf(port)): void {
    this.harness.put('ports', port, {
      ...plainPort,
      datapathKey,
      portKey: 10 + port,
      ifindex,
      flags,
    });
  }

  /** Turns port security on, with one entry: the port's MAC, and the addresses where some are given. */
  secure(port: number, ...addresses: readonly string[]): void {
    this.setFlags(port, PORT_ENABLED | PORT_SECURITY);
    const ownMac = macBytes(mac(macOf(port)));
    let flags: number = addresses.length === 0 ? allowedMacFlags.ALLOWED_ANY_ADDRESS : 0;
    for (const text of addresses) {
      const bytes = ip(text);
      const six = bytes.length === 16;
      flags |= six ? allowedMacFlags.ALLOWED_IP6 : allowedMacFlags.ALLOWED_IP4;
      const address = new Uint8Array(16);
      address.set(bytes);
      const key = {
        slot: port,
        mac: ownMac,
        family: six ? ipFamily.FAMILY_IP6 : ipFamily.FAMILY_IP4,
        address,
      };
      this.harness.put('allowed_addresses', key, {
        flags: allowedAddressFlags.ALLOWED_SOURCE | allowedAddressFlags.ALLOWED_DESTINATION,
      });
    }
    this.harness.put('allowed_macs', { slot: port, mac: ownMac }, { flags });
  }

  /** Lets the switch answer for an address of the port. */
  answerFor(port: number, text: string): void {
    const bytes = ip(text);
    const address = new Uint8Array(16);
    address.set(bytes);
    const family = bytes.length === 16 ? ipFamily.FAMILY_IP6 : ipFamily.FAMILY_IP4;
    this.harness.put(
      'neighbours',
      { datapathKey, family, address },
      { portKey: 10 + port, mac: macBytes(mac(macOf(port))) },
    );
  }

  send(port: number, frame: Uint8Array, context: TestContext = {}): Run {
    return this.harness.run(frame, { ifindex: this.deviceOf(port), ...context });
  }

  /** Packets handed to each port's device, in the order of the ports. */
  sent(): readonly number[] {
    return this.ports.map((port) => Number(this.harness.counters(port).sentPackets));
  }
}
