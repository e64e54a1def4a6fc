import test from 'ava';

import { ConfigError } from '../../common/errors.js';
import { parseRemotes } from '../../ovsdb/index.js';
import { Rotation } from '../../ovsdb/rotation.js';

test('remotes of every kind', (t) => {
  t.deepEqual(
    parseRemotes('unix:/run/ovn/db.sock, tcp:10.0.0.1:6642,ssl:[fd00::1]:6641,tcp:sb.example.org'),
    [
      { kind: 'unix', text: 'unix:/run/ovn/db.sock', path: '/run/ovn/db.sock' },
      { kind: 'tcp', text: 'tcp:10.0.0.1:6642', host: '10.0.0.1', port: 6642 },
      { kind: 'ssl', text: 'ssl:[fd00::1]:6641', host: 'fd00::1', port: 6641 },
      { kind: 'tcp', text: 'tcp:sb.example.org', host: 'sb.example.org', port: 6640 },
    ],
  );
});

const malformed = [
  '',
  'tcp',
  'unix:',
  'udp:10.0.0.1:1',
  'tcp:10.0.0.1:0',
  'tcp:10.0.0.1:65536',
  'tcp:10.0.0.1:6642x',
  'tcp:10.0.0.1:',
  'tcp:300.0.0.1:6642',
  'tcp:fd00::1:6642',
  'tcp:[10.0.0.1]:6642',
  'tcp:[fd00::1:6642',
  'ssl::6642',
  'ptcp:6642',
];
for (const part of malformed) {
  test(`a malformed remote is named: "${part}"`, (t) => {
    const error = t.throws(() => parseRemotes(`unix:/a,${part},unix:/b`), { instanceOf: ConfigError });
    t.true(error.message.includes(`"${part}"`));
    t.is(error.fields['part'], part);
  });
}

test('the rotation shuffles once, tries each remote once a round and goes on from where it is', (t) => {
  const remotes = parseRemotes('unix:/a,unix:/b,unix:/c');
  const rotation = new Rotation(remotes, () => 0);
  const round = (): string[] => {
    const tried: string[] = [];
    while (rotation.hasUntried) tried.push(rotation.next().text);
    return tried;
  };
  const first = round();
  t.deepEqual([...first].sort(), ['unix:/a', 'unix:/b', 'unix:/c']);
  t.notDeepEqual(first, ['unix:/a', 'unix:/b', 'unix:/c']);
  rotation.startRound();
  t.deepEqual(round(), first);
  rotation.startRound(true);
  t.deepEqual(round(), first.slice(0, 2));
});
