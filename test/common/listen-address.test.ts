import test from 'ava';
import fc from 'fast-check';

import { ConfigError } from '../../common/errors.js';
import {
  formatListenAddress,
  parseListenAddress,
  parseListenAddresses,
} from '../../common/listen-address.js';

test('every address survives formatting and parsing', (t) => {
  const host = fc.oneof(fc.ipV4(), fc.ipV6(), fc.domain());
  fc.assert(
    fc.property(host, fc.nat(65535), (name, port) => {
      const address = { host: name, port };
      t.deepEqual(parseListenAddress(formatListenAddress(address)), address);
    }),
  );
});

test('several addresses', (t) => {
  t.deepEqual(parseListenAddresses('a:1, [::1]:2'), [
    { host: 'a', port: 1 },
    { host: '::1', port: 2 },
  ]);
});

for (const text of ['', 'a', ':1', 'a:', 'a:65536', '::1:80', '[a]:1', '[::1]', 'a:1x', 'a b:1', 'a:-1']) {
  test(`'${text}' is refused`, (t) => {
    t.throws(() => parseListenAddress(text), { instanceOf: ConfigError });
  });
}
