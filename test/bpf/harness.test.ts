import test from 'ava';

import { constants, portFlags } from '../../generated/bpf/layouts.js';
import { macBytes } from '../../common/addresses.js';
import { arp, broadcast, ethernet, icmp, ipv4, mac } from '../support/packets.js';
import { openPacketReceiver } from '../support/packet-receiver.js';
import { createDevice, enterPrivateNamespaces, findIfindex } from '../support/private-namespace.js';
import { BpfHarness, verdicts } from './harness.js';
import { plainPort } from '../support/plain-port.js';

enterPrivateNamespaces();

const datapathKey = 7;
const first = '02:00:00:00:00:01';
const second = '02:00:00:00:00:02';

/** Two ports of one switch, in slots 1 and 2. */
function openTwoPorts(t: { teardown: (close: () => void) => void }, name: string) {
  const harness = new BpfHarness();
  t.teardown(() => harness.close());
  const devices = [createDevice(`${name}a`), createDevice(`${name}b`)] as const;
  devices.forEach((ifindex, index) => {
    const slot = index + 1;
    const portKey = 10 + slot;
    harness.put('ports', slot, {
      ...plainPort,
      datapathKey,
      portKey,
      ifindex,
      flags: portFlags.PORT_ENABLED,
    });
    harness.put('ports_by_interface', { ifindex, vlanId: 0 }, slot);
    harness.put(
      'destinations',
      { datapathKey, mac: macBytes(mac([first, second][index] ?? '')) },
      { portKey, slot },
    );
  });
  harness.putGroup(datapathKey, constants.MULTICAST_FLOOD, [1, 2]);
  return { harness, devices };
}

test('a frame from an interface without a port is dropped and counted in slot 0', (t) => {
  const harness = new BpfHarness();
  t.teardown(() => harness.close());
  const ifindex = createDevice('none');
  const packet = ethernet(
    { source: first, destination: second },
    ipv4({ source: '10.0.0.1', destination: '10.0.0.2' }, icmp()),
  );
  t.is(harness.run(packet, { ifindex }).verdict, verdicts.drop);
  t.deepEqual(harness.drops(0), { no_logical_port: 1 });
});

test('a unicast frame is redirected unchanged and counted on both ports', (t) => {
  const { harness, devices } = openTwoPorts(t, 'uni');
  const packet = ethernet(
    { source: first, destination: second },
    ipv4({ source: '10.0.0.1', destination: '10.0.0.2' }, icmp()),
  );
  const run = harness.run(packet, { ifindex: devices[0] });
  t.is(run.verdict, verdicts.redirect);
  t.deepEqual(run.packet, packet);
  t.is(harness.counters(1).receivedPackets, 1n);
  t.is(harness.counters(1).receivedBytes, BigInt(packet.length));
  t.is(harness.counters(2).sentPackets, 1n);
  t.deepEqual(harness.drops(1), {});
  harness.resetCounters(1);
  t.is(harness.counters(1).receivedPackets, 0n);
  t.is(harness.counters(2).sentPackets, 1n);
});

test('a broadcast is copied to the other member, and dropped when there is none', async (t) => {
  const { harness, devices } = openTwoPorts(t, 'bro');
  const receiver = openPacketReceiver(findIfindex('brob-p'));
  t.teardown(() => receiver.close());
  const request = arp({ operation: 'request', senderMac: first, senderIp: '10.0.0.1', targetIp: '10.0.0.9' });
  const packet = ethernet({ source: first, destination: broadcast }, request);
  harness.run(packet, { ifindex: devices[0] });
  t.is(harness.counters(2).sentPackets, 1n);
  t.deepEqual(await receiver.waitForFrames(1), [packet]);
  harness.putGroup(datapathKey, constants.MULTICAST_FLOOD, [1]);
  t.is(harness.run(packet, { ifindex: devices[0] }).verdict, verdicts.drop);
  t.deepEqual(harness.drops(1), { no_receiver: 1 });
});
