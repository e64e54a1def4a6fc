import test from 'ava';

import { Testbed } from '../../testbed/testbed.js';
import { waitFor } from '../../testbed/wait.js';
import { arp, broadcast, ethernet, ipv6, neighbourSolicitation } from '../support/packets.js';
import { createDevice, enterPrivateNamespaces } from '../support/private-namespace.js';
import { DataPlane, intentOf } from './data-plane.js';
import { readModel } from './differential.js';
import { OvnOracle } from '../../testbed/ovn-oracle.js';

enterPrivateNamespaces();

const asker = '0a:00:00:00:00:01';
const questions = [
  [
    'ARP',
    ethernet(
      { source: asker, destination: broadcast },
      arp({ operation: 'request', senderMac: asker, senderIp: '10.0.0.1', targetIp: '10.0.0.2' }),
    ),
  ],
  [
    'neighbour discovery',
    ethernet(
      { source: asker, destination: '33:33:ff:00:00:02' },
      ipv6(
        { source: 'fd00::1', destination: 'ff02::1:ff00:2' },
        neighbourSolicitation({ target: 'fd00::2', linkLayerAddress: asker }),
      ),
    ),
  ],
  [
    'duplicate address detection',
    ethernet(
      { source: asker, destination: '33:33:ff:00:00:02' },
      ipv6({ source: '::', destination: 'ff02::1:ff00:2' }, neighbourSolicitation({ target: 'fd00::2' })),
    ),
  ],
] as const;

test('answers in the place of a port are OVN’s, byte for byte', async (t) => {
  const devices = [createDevice('answer1'), createDevice('answer2')];
  const bed = await Testbed.open();
  t.teardown(() => bed.close());
  const oracle = await OvnOracle.start(bed.scope, bed.folder);
  await oracle.nbctl('ls-add', 'sw0', '--', 'lsp-add', 'sw0', 'p1', '--', 'lsp-add', 'sw0', 'p2');
  await oracle.nbctl('lsp-set-addresses', 'p1', `${asker} 10.0.0.1 fd00::1`);
  await oracle.nbctl('lsp-set-addresses', 'p2', '0a:00:00:00:00:02 10.0.0.2 fd00::2');
  await oracle.plug(['p1', 'p2']);
  await oracle.sync();
  const ours = new DataPlane(intentOf(await readModel(bed, oracle, 2), 'sw0'), ['p1', 'p2'], devices);
  t.teardown(() => ours.close());
  for (const [index, [title, question]] of questions.entries()) {
    await oracle.inject('p1', question);
    const answer = await waitFor(`an answer to ${title}`, () => oracle.received('p1')[index], {
      intervalMs: 5,
    });
    const { answered, packet } = ours.send('p1', question);
    t.true(answered, title);
    t.deepEqual(packet, answer, title);
  }
});
