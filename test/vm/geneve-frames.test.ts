import { writeFileSync } from 'node:fs';

import test, { type ExecutionContext } from 'ava';

import { createTunnelDevice, raiseTunnelDevice, readLinks } from '../../agent/netlink/requests.js';
import { type Ifindex, macBytes } from '../../common/addresses.js';
import {
  constants,
  ipFamily,
  tunnelEndpointFlags,
  tunnelFlags,
  tunnelType,
} from '../../generated/bpf/layouts.js';
import { geneve, type GeneveOptions } from '../support/geneve.js';
import { waitFor } from '../../testbed/wait.js';
import { openPacketReceiver } from '../support/packet-receiver.js';
import { arp, ethernet, ip, ipv4, ipv6, mac, type Payload, udp } from '../support/packets.js';
import { createDevice, enterPrivateNamespaces, findIfindex, runSync } from '../support/private-namespace.js';
import { datapathKey, ip4Of, ip6Of, macOf, TestSwitch } from '../bpf/switch.js';

enterPrivateNamespaces();

//   port 1 here (slot 1, key 11)                          port 9 behind the tunnel (key 19)
//      iovn-geneve 192.0.2.1, 2001:db8::1 ── u ──────── u-p 192.0.2.2, 2001:db8::2

const remote = { port: 9, key: 19, mac: macOf(9) } as const;
const tunnels = { ip4: 3, ip6: 4 } as const;
const peer = '0e:00:00:00:00:02';
const families = {
  ip4: { family: ipFamily.FAMILY_IP4, local: '192.0.2.1', remote: '192.0.2.2', ipLength: 20 },
  ip6: { family: ipFamily.FAMILY_IP6, local: '2001:db8::1', remote: '2001:db8::2', ipLength: 40 },
} as const;
type Family = keyof typeof families;

/** Sends a frame on an interface, as somebody outside of our programs would. */
const sendFrame = `
import socket, sys
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
s.bind((sys.argv[1], 0))
s.send(bytes.fromhex(sys.argv[2]))`;

function send(device: string, frame: Uint8Array): void {
  runSync('python3', '-c', sendFrame, device, Buffer.from(frame).toString('hex'));
}

function padded(text: string): Uint8Array {
  const bytes = new Uint8Array(16);
  bytes.set(ip(text));
  return bytes;
}

function nameOf(ifindex: number): string {
  return readLinks().find((link) => link.ifindex === ifindex)?.name ?? '';
}

function openUnderlay(): void {
  writeFileSync('/proc/sys/net/ipv6/conf/default/disable_ipv6', '0');
  createDevice('u');
  for (const words of [
    'addr add 192.0.2.1/24 dev u',
    'addr add 2001:db8::1/64 dev u nodad',
    `neigh add 192.0.2.2 lladdr ${peer} dev u nud permanent`,
    `neigh add 2001:db8::2 lladdr ${peer} dev u nud permanent`,
  ])
    runSync('ip', ...words.split(' '));
  writeFileSync('/proc/sys/net/ipv6/conf/default/disable_ipv6', '1');
}

function open(t: ExecutionContext) {
  const sw = TestSwitch.open(t, 1);
  const { harness } = sw;
  openUnderlay();
  createTunnelDevice('iovn-geneve', 'geneve');
  const device = findIfindex('iovn-geneve');
  harness.attach(device, 'geneve_ingress');
  raiseTunnelDevice(device);
  harness.attach(sw.deviceOf(1) as Ifindex, 'vif_ingress');
  const putTunnel = (name: Family, flags: number): void => {
    const { family, local, remote: other } = families[name];
    const value = { remote: padded(other), local: padded(local), type: tunnelType.TUNNEL_GENEVE, family };
    harness.put('tunnels', tunnels[name], {
      ...value,
      flags,
      ifindex: device,
      relayIfindex: device,
      mtu: 1500,
    });
    for (const [address, bit] of [
      [local, tunnelEndpointFlags.ENDPOINT_LOCAL],
      [other, tunnelEndpointFlags.ENDPOINT_REMOTE],
    ] as const)
      harness.put(
        'tunnel_endpoints',
        { family, type: tunnelType.TUNNEL_GENEVE, address: padded(address) },
        { flags: bit },
      );
  };
  harness.put('ports_by_key', { datapathKey, portKey: 0 }, { slot: 0, tunnel: 0 });
  harness.put('ports_by_key', { datapathKey, portKey: 11 }, { slot: 1, tunnel: 0 });
  const destination = { datapathKey, mac: macBytes(mac(remote.mac)) };
  harness.put('destinations', destination, { portKey: remote.key, slot: 0 });
  /** All that is sent to the other chassis goes by this tunnel. */
  const useTunnel = (name: Family, flags: number): void => {
    putTunnel(name, flags);
    const tunnel = tunnels[name];
    harness.put('ports_by_key', { datapathKey, portKey: remote.key }, { slot: 0, tunnel });
    const group = { datapathKey, groupKey: constants.MULTICAST_FLOOD };
    harness.put('remote_members', { ...group, tunnel: 0 }, { nextTunnel: tunnel });
    harness.put('remote_members', { ...group, tunnel }, { nextTunnel: 0 });
  };
  const underlayMac = readLinks().find(({ name }) => name === 'u')?.mac ?? '';
  const vmEnd = sw.vmEndOf(1);
  return { sw, useTunnel, underlayMac, vmEnd, vmDevice: nameOf(vmEnd) };
}

test('frames through the kernel’s Geneve device', async (t) => {
  const { sw, useTunnel, underlayMac, vmEnd, vmDevice } = open(t);
  const onUnderlay = openPacketReceiver(findIfindex('u-p'));
  const atVm = openPacketReceiver(vmEnd);
  t.teardown(() => [onUnderlay, atVm].forEach((each) => each.close()));
  const { TUNNEL_BY_DEVICE, TUNNEL_CHECKSUM } = tunnelFlags;
  const isGeneve = (frame: Uint8Array, { ipLength }: (typeof families)[Family]): boolean =>
    frame.length > 14 + ipLength + 8 && Buffer.from(frame).readUInt16BE(14 + ipLength + 2) === 6081;
  let received = 0;

  for (const name of ['ip4', 'ip6'] as const) {
    const outer = families[name];
    let perFamily = 0;
    for (const withChecksum of [true, false]) {
      useTunnel(name, TUNNEL_BY_DEVICE | (withChecksum ? TUNNEL_CHECKSUM : 0));
      for (const [what, payload, to] of [
        [
          'IPv4',
          ipv4({ source: ip4Of(1), destination: ip4Of(9) }, udp({ source: 5, destination: 6 })),
          remote.key,
        ],
        [
          'IPv6',
          ipv6({ source: ip6Of(1), destination: ip6Of(9) }, udp({ source: 5, destination: 6 })),
          remote.key,
        ],
        [
          'ARP',
          arp({ operation: 'request', senderMac: macOf(1), senderIp: ip4Of(1), targetIp: ip4Of(9) }),
          0x8000,
        ],
      ] as const) {
        const destination = what === 'ARP' ? 'ff:ff:ff:ff:ff:ff' : remote.mac;
        const frame = ethernet({ source: macOf(1), destination }, payload);
        send(vmDevice, frame);
        perFamily += 1;
        /* The kernel has IPv6 packets of its own to send. */
        const packets = await waitFor(`${what} over ${name}`, () => {
          const found = onUnderlay.frames().filter((each) => isGeneve(each, outer));
          return found.length === perFamily ? found : undefined;
        });
        const packet = Buffer.from(packets.at(-1) ?? []);
        const start = 14 + outer.ipLength;
        const header = packet.subarray(start + 8, start + 24).toString('hex');
        const keys = `000b${to.toString(16).padStart(4, '0')}`;
        t.is(header, `02006558${datapathKey.toString(16).padStart(6, '0')}0001028001${keys}`);
        t.deepEqual(packet.subarray(start + 24), Buffer.from(frame), `${what} over ${name} is whole`);
        t.is(packet.readUInt16BE(start + 6) !== 0, withChecksum, 'outer UDP checksum');
        if (name === 'ip4') t.deepEqual([packet.readUInt16BE(20), packet[22]], [0x4000, 64], 'DF, TTL');
      }
    }
  }
  t.deepEqual(sw.harness.drops(1), {});

  const arrive = (name: Family, options: GeneveOptions, frame: Uint8Array, source?: string): void => {
    const { local, remote: other } = families[name];
    const transport = geneve(options, frame);
    const addresses = { source: source ?? other, destination: local };
    const payload: Payload = name === 'ip4' ? ipv4(addresses, transport) : ipv6(addresses, transport);
    send('u-p', ethernet({ source: peer, destination: underlayMac }, payload));
  };
  const toPort1 = ethernet(
    { source: remote.mac, destination: macOf(1) },
    ipv4({ source: ip4Of(9), destination: ip4Of(1) }, udp({ source: 6, destination: 5 })),
  );
  const keys = { vni: datapathKey, from: remote.key, to: 11 } as const;
  for (const name of ['ip4', 'ip6'] as const) {
    arrive(name, keys, toPort1);
    received += 1;
    const frames = await atVm.waitForFrames(received);
    t.deepEqual(Buffer.from(frames.at(-1) ?? []), Buffer.from(toPort1), `over ${name}`);
  }
  t.deepEqual(sw.harness.drops(0), {});

  const expected: Record<string, number> = {};
  for (const [reason, options, source] of [
    ['tunnel_unknown_source', keys, '192.0.2.3'],
    ['tunnel_unknown_network', { ...keys, vni: 99 }, undefined],
    ['tunnel_unknown_port', { ...keys, to: 99 }, undefined],
    ['tunnel_unknown_port', { ...keys, from: 99 }, undefined],
    ['tunnel_option', { ...keys, optionClass: 0x0103 }, undefined],
    ['tunnel_option', { ...keys, optionType: 0x81 }, undefined],
    ['tunnel_option', { ...keys, optionBytes: new Uint8Array(0) }, undefined],
    [
      'tunnel_option',
      { ...keys, optionBytes: Uint8Array.of(1, 2, 0x80, 1, 0, 19, 0, 11, 1, 2, 0x80, 0) },
      undefined,
    ],
  ] as const) {
    arrive('ip4', options, toPort1, source);
    expected[reason] = (expected[reason] ?? 0) + 1;
    t.deepEqual(sw.harness.drops(0), expected, reason);
  }
  const hex = (frame: Uint8Array): string => Buffer.from(frame).toString('hex');
  t.deepEqual(
    atVm.frames().map(hex),
    Array.from({ length: received }, () => hex(toPort1)),
  );
});
