import fc from 'fast-check';

import { formatIp, macBytes } from '../../common/addresses.js';
import { broadcast, mac } from '../support/packets.js';
import { ownIp4, ownIp6, ownMac, type SwitchDescription } from './network.js';

/** Addresses that mean something in a switch, and a few that don't. */
export interface Pool {
  readonly mac: fc.Arbitrary<string>;
  readonly ip4: fc.Arbitrary<string>;
  readonly ip6: fc.Arbitrary<string>;
}

/** Mostly what the sender may use, and mostly a destination that is there. */
export interface Ends {
  readonly from: Pool;
  readonly to: Pool;
}

const oddMacs = ['0a:00:00:00:00:0f', '00:00:00:00:00:00', '0b:00:00:00:00:01'] as const;
const oddIp4 = [
  '10.0.0.0',
  '10.0.0.9',
  '10.0.0.255',
  '10.0.0.3',
  '10.0.1.7',
  '10.0.1.127',
  '10.0.1.128',
  '192.0.2.1',
  '0.0.0.0',
  '127.0.0.1',
  '128.0.0.1',
  '255.255.255.255',
  '224.0.0.1',
  '239.255.255.250',
  '10.0.2.1',
] as const;
const oddIp6 = [
  'fd00::9',
  'fd00::',
  'fd00::ffff',
  'fd00:1::1',
  'fd00:1:8000::1',
  '2001:db8::1',
  '::',
  '::1',
  'fe80::1',
  'ff02::1',
  'ff02::2',
  'ff02::16',
  'ff02::1:ff00:1',
  'ff02::1:ff00:2',
  'ff05::2',
  'ff00::',
  '::ffff:10.0.0.1',
] as const;

/** fe80::/64 with the modified EUI-64 of the MAC. */
function linkLocal(text: string): string {
  const [a = 0, b = 0, c = 0, d = 0, e = 0, f = 0] = macBytes(mac(text));
  return formatIp(Uint8Array.of(0xfe, 0x80, 0, 0, 0, 0, 0, 0, a ^ 2, b, c, 0xff, 0xfe, d, e, f));
}

function padMac(text: string): string {
  return text
    .split(':')
    .map((octet) => octet.padStart(2, '0'))
    .join(':');
}

/** What port number `index` of the switch has or may use. */
function poolOfPort({ ports }: SwitchDescription, index: number): Pool {
  const port = ports[index];
  const entries = [...(port?.portSecurity ?? []), ...(port?.addresses ?? [])];
  const macs = [...new Set([ownMac(index), ...entries.map((entry) => padMac(entry.mac))])];
  const listed = entries.flatMap(({ addresses }) => addresses.map(({ address }) => address));
  const four = [...new Set([ownIp4(index), ...listed.filter((address) => !address.includes(':'))])];
  const six = [
    ...new Set([ownIp6(index), ...macs.map(linkLocal), ...listed.filter((address) => address.includes(':'))]),
  ];
  return { mac: fc.constantFrom(...macs), ip4: fc.constantFrom(...four), ip6: fc.constantFrom(...six) };
}

function biased(usual: Pool, other: Pool, weight: number): Pool {
  const mix = (a: fc.Arbitrary<string>, b: fc.Arbitrary<string>, odd: readonly string[]) =>
    fc.oneof(
      { weight, arbitrary: a },
      { weight: 1, arbitrary: b },
      { weight: 1, arbitrary: fc.constantFrom(...odd) },
    );
  return {
    mac: mix(usual.mac, other.mac, oddMacs),
    ip4: mix(usual.ip4, other.ip4, oddIp4),
    ip6: mix(usual.ip6, other.ip6, oddIp6),
  };
}

/** The source is a multicast address now and then, the destination often. */
export function sourceMac({ from }: Ends): fc.Arbitrary<string> {
  return fc.oneof(
    { weight: 30, arbitrary: from.mac },
    { weight: 1, arbitrary: fc.constantFrom('01:00:5e:00:00:01', broadcast) },
  );
}

export function destinationMac({ to }: Ends): fc.Arbitrary<string> {
  const groups = [
    '01:00:5e:00:00:01',
    '33:33:00:00:00:01',
    '33:33:ff:00:00:02',
    '01:80:c2:00:00:0e',
    '01:80:c2:00:00:00',
  ] as const;
  return fc.oneof(
    { weight: 6, arbitrary: to.mac },
    { weight: 2, arbitrary: fc.constant(broadcast) },
    { weight: 1, arbitrary: fc.constantFrom(...groups) },
  );
}

/** Who sends, and whom the frame is meant for: ports of the switch by index. */
export function endsOf(description: SwitchDescription, sender: number, receiver: number): Ends {
  const macs = description.ports.map((_, index) => ownMac(index));
  const any: Pool = {
    mac: fc.constantFrom(...oddMacs, ...macs),
    ip4: fc.constantFrom(...oddIp4),
    ip6: fc.constantFrom(...oddIp6),
  };
  return {
    from: biased(poolOfPort(description, sender), any, 12),
    to: biased(poolOfPort(description, receiver), any, 8),
  };
}
