import test from 'ava';

import { macFromBytes, parseIp, parseMac } from '../../common/addresses.js';
import { decodeNeighbour, decodeNeighbourKey, ipFamily } from '../../generated/bpf/layouts.js';
import type { PortIntent } from '../../agent/intent.js';
import { arpNdResponder } from '../../agent/modules/arp-nd-responder.js';
import { noTunnels } from '../../agent/tunnels/tunnels.js';

function port(name: string, portKey: number, neighbours: Record<string, string>): PortIntent {
  return {
    name,
    switchId: 'sw',
    portKey,
    type: '',
    enabled: true,
    macs: [],
    portSecurity: [],
    multicastGroups: [],
    learnsMacs: false,
    neighbours: Object.entries(neighbours).map(([ip, mac]) => {
      const address = parseIp(ip);
      const parsedMac = parseMac(mac);
      if (address === undefined || parsedMac === undefined) throw new Error(`${ip} ${mac}`);
      return { address, mac: parsedMac };
    }),
    chassis: '',
    additionalChassis: [],
    awaitingChassis: [],
    activatedBy: [],
    activating: [],
    encapIps: [],
    binding: '',
    nbUuid: '',
    parent: '',
    tag: 0,
    networkName: '',
    ethtype: 0,
    announced: undefined,
  };
}

function entriesOf(...ports: readonly PortIntent[]) {
  const output = arpNdResponder.compute({
    ports: ports.map((each) => ({ port: each, datapathKey: 7 })),
    plugged: [],
    switches: [],
    tunnelPlan: noTunnels,
  });
  const entries = output.entries.map(({ key, value }) => {
    const { datapathKey, family, address } = decodeNeighbourKey(Buffer.from(key, 'hex'));
    const { portKey, mac } = decodeNeighbour(value);
    return {
      datapathKey,
      family,
      address: Buffer.from(address).toString('hex'),
      portKey,
      mac: macFromBytes(mac),
    };
  });
  return { entries, problems: output.problems };
}

test('an entry per address, whether or not its port is plugged in here', (t) => {
  const { entries, problems } = entriesOf(
    port('a', 1, { '10.0.0.1': '02:00:00:00:00:01', 'fd00::1': '02:00:00:00:00:01' }),
  );
  t.deepEqual(problems, []);
  t.deepEqual(entries, [
    {
      datapathKey: 7,
      family: ipFamily.FAMILY_IP4,
      address: '0a000001'.padEnd(32, '0'),
      portKey: 1,
      mac: '02:00:00:00:00:01',
    },
    {
      datapathKey: 7,
      family: ipFamily.FAMILY_IP6,
      address: 'fd000000000000000000000000000001',
      portKey: 1,
      mac: '02:00:00:00:00:01',
    },
  ]);
});

test('of two ports with one address the first answers, and the second is reported', (t) => {
  const { entries, problems } = entriesOf(
    port('a', 1, { '10.0.0.1': '02:00:00:00:00:01' }),
    port('b', 2, { '10.0.0.1': '02:00:00:00:00:02' }),
  );
  t.deepEqual(
    entries.map(({ portKey }) => portKey),
    [1],
  );
  t.like(problems, [{ kind: 'Port', name: 'b', code: 'duplicate_address' }]);
});
