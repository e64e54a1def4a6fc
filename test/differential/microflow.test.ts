import test from 'ava';

import { buildFrame } from '../../cli/trace/build-frame.js';
import { parseMicroflow } from '../../cli/trace/microflow.js';
import { IovnError } from '../../common/errors.js';
import { OvnOracle } from '../../testbed/ovn-oracle.js';
import { run } from '../../testbed/process.js';
import { Testbed } from '../../testbed/testbed.js';

const ends = 'eth.src == 02:00:00:00:00:01 && eth.dst == 02:00:00:00:00:02';
const ip4 = 'ip4.src == 10.0.0.1 && ip4.dst == 10.0.0.2';
const ip6 = 'ip6.src == fd00::1 && ip6.dst == fd00::2';

/* ovn-trace 23.03 loses ip.dscp and ip.ecn, and says other than Open vSwitch what protocol a later fragment of IPv6 has. */
const expressions = [
  `${ends} && eth.type == 0x88b5`,
  'eth.bcast && eth.type == 0x88b5',
  'eth.mcast && eth.type == 0x88b5',
  'eth.dst[40] && eth.dst[0..7] == 9 && ip4',
  'eth.src == 5 && ip4',
  'vlan.vid == 5 && vlan.pcp == 3 && ip4',
  'vlan.present && vlan.tci[0..3] == 7 && ip4',
  'vlan.tci == 0x3005 && ip6',
  'vlan.vid == 5 && !vlan.present',
  `${ip4} && ip.ttl == 64 && ip.proto == 50`,
  `${ip4} && udp.src == 5 && 53 == udp.dst`,
  `${ip4} && tcp.flags == 0x12 && tcp.dst == 0x50`,
  `${ip4} && tcp.flags == 2/2`,
  `${ip4} && sctp.dst == 7`,
  `${ip4} && icmp4.type == 8 && icmp4.code == 1`,
  `${ip6} && icmp6.type == 128 && ip6.label == 0x12345`,
  `${ip6} && nd_ns && nd.target == fd00::9 && nd.sll == 02:00:00:00:00:09`,
  `${ip6} && nd.target == fd00::9 && nd.tll == 02:00:00:00:00:09`,
  `${ip6} && nd_rs`,
  'arp.op == 1 && arp.sha == 02:00:00:00:00:01 && arp.spa == 10.0.0.1 && arp.tpa == 10.0.0.2',
  'rarp.op == 3 && rarp.sha == 02:00:00:00:00:01',
  `${ip4} && udp && ip.is_frag`,
  `${ip4} && udp && ip.first_frag`,
  `${ip4} && udp && ip.later_frag && ip.is_frag`,
  `${ip6} && udp.dst == 5 && !ip.is_frag`,
  'ip4.src == 10.0.0.0/24 && ip4.dst == 0x0a000001',
  'ip4.src == 10.0.0.0/255.0.0.0',
  'ip4.src == 10.0.0.1/24',
  'ip6.dst == ff02::/16',
  'ip4.src[24..31] == 10',
  'ip4.mcast',
  'ip6.mcast',
  'ip4 && vlan.pcp[0..1] != 0 && vlan.pcp[0..1] != 1 && vlan.pcp[0..1] != 2',
  'ip4 && vlan.pcp > 6',
  'ip4 && !(vlan.pcp <= 6)',
  'ip4 && !(vlan.pcp[0..1] == {0, 1, 2})',
  'ip4 && tcp.flags == 3/2',
  'eth.src == 02:00:00:00:00:05/ff:ff:ff:00:00:00 && ip4',
  'eth.src == 02:00:00:00:00:00/ff:ff:ff:00:00:00 && ip4',
  'ip4 && tcp.dst > 65534',
  'ip4 && 65535 <= tcp.dst <= 65535',
  '(ip4 || ip6) && arp || ip4',
  '((ip4 || ip6) && arp) || ip4',
  'eth.type == {0x800}',
  '!(arp.op != 1)',
  '!arp.op == 1',
  'ip4 == 1 && tcp == 1',
  '1 && ip4',
  'ip4 // the rest is silence',
  'ip4 /* or */ && tcp',
  // Of these no packet, or more than one, is left.
  'tcp',
  'ip',
  'ip4 && arp',
  'ip4 && ip6.src == ::1',
  'ip4 && tcp.dst > 1024',
  'ip4 && tcp.dst == {1, 2}',
  'ip4 && tcp && udp',
  'nd.target == fd00::1',
  '!ip4',
  'ip4.src == fd00::1',
  'vlan.vid == 4096',
  'eth.type[3]',
  'eth.scr == 1',
  'ip4.src == $none',
  'ip4 &&',
  '0',
  'ip.proto == {1, 58} && ip6',
];

/** Of Open vSwitch's text of a flow, what is in the packet. */
function packetOf(flow: string): string {
  const inPacket = flow
    .split(/,(?![^(]*\))/)
    .filter(
      (each) => !/^(in_port|reg\d+|metadata|ct_\w+|recirc_id|dp_hash|skb_priority|pkt_mark)=/.test(each),
    );
  return inPacket.join();
}

test('a microflow is the packet that ovn-trace takes it for', async (t) => {
  t.timeout(120_000);
  const bed = await Testbed.open();
  t.teardown(() => bed.close());
  const oracle = await OvnOracle.start(bed.scope, bed.folder);
  await oracle.nbctl('ls-add', 'sw0', '--', 'lsp-add', 'sw0', 'p1');
  await oracle.plug(['p1']);
  await oracle.sync();
  const differences: unknown[] = [];
  for (const expression of expressions) {
    const microflow = `inport == "p1" && (${expression}\n)`;
    const asked = await run(['ovn-trace', `--db=${oracle.sb}`, '--minimal', 'sw0', microflow]);
    const theirs = /^# (.*)$/m.exec(asked.stdout)?.[1];
    let frame: Uint8Array | undefined;
    try {
      frame = buildFrame(parseMicroflow(microflow));
    } catch (error) {
      if (!(error instanceof IovnError)) throw error;
    }
    const ours = frame && (await oracle.explain('p1', frame)).split('\n')[0]?.replace('Flow: ', '');
    const [here, there] = [ours && packetOf(ours), theirs && packetOf(theirs)];
    if (here !== there) differences.push({ expression, ours: here, theirs: there ?? asked.stderr });
  }
  t.deepEqual(differences, []);
});
