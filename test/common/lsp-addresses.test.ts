import test from 'ava';
import fc from 'fast-check';

import { formatIpPrefix } from '../../common/addresses.js';
import { isDynamic, parseMacAndAddresses } from '../../common/lsp-addresses.js';

// What ovn-northd 23.03 makes of the same text, where it is not obvious.
const table: readonly (readonly [text: string, expected: string | undefined])[] = [
  ['00:00:00:00:00:01', '00:00:00:00:00:01'],
  ['00:00:00:00:00:01 10.0.0.1', '00:00:00:00:00:01 10.0.0.1'],
  ['00:00:00:00:00:0A 10.0.0.1/24 fd00::1', '00:00:00:00:00:0a 10.0.0.1/24 fd00::1'],
  ['  00:00:00:00:00:01   10.0.0.1  ', '00:00:00:00:00:01 10.0.0.1'],
  ['0:0:0:0:0:5', '00:00:00:00:00:05'],
  ['00:00:00:00:00:07x', '00:00:00:00:00:07 | x'],
  ['00:00:00:00:00:01 10.0.0.1,10.0.0.2', '00:00:00:00:00:01 10.0.0.1 | ,10.0.0.2'],
  ['00:00:00:00:00:01 garbage 10.0.0.1', '00:00:00:00:00:01 | garbage 10.0.0.1'],
  ['00:00:00:00:00:01 10.0.0.1/33 10.0.0.2', '00:00:00:00:00:01 | 10.0.0.1/33 10.0.0.2'],
  ['00:00:00:00:00:01 10.0.0.300', '00:00:00:00:00:01 10.0.0.44'],
  ['00:00:00:00:00:01 10.0.0.1/255.255.255.0', '00:00:00:00:00:01 10.0.0.1/24'],
  ['00:00:00:00:00:01 10.0.0.1/255.0.255.0', '00:00:00:00:00:01 | 10.0.0.1/255.0.255.0'],
  ['00:00:00:00:00:01 fd00::1/129', '00:00:00:00:00:01 | fd00::1/129'],
  ['00:00:00:00:00:01 ::ffff:1.2.3.4', '00:00:00:00:00:01 ::ffff:102:304'],
  ['10.0.0.1', undefined],
  ['00:00:00:00:00', undefined],
  ['unknown', undefined],
  ['router', undefined],
  ['', undefined],
];

for (const [text, expected] of table) {
  test(`${JSON.stringify(text)} is ${expected ?? 'nothing'}`, (t) => {
    const parsed = parseMacAndAddresses(text);
    const words = parsed && [parsed.mac, ...parsed.addresses.map(formatIpPrefix)];
    const rest = parsed === undefined || parsed.rest === '' ? [] : ['|', parsed.rest];
    t.is(words && [...words, ...rest].join(' '), expected);
  });
}

for (const [text, expected] of [
  ['dynamic', true],
  ['00:00:00:00:00:01 dynamic', true],
  ['dynamic 10.0.0.7', true],
  ['dynamic fd00::7', true],
  ['dynamic 10.0.0.7 fd00::7', true],
  ['dynamic x', false],
  ['dynamical', false],
  ['00:00:00:00:00:01', false],
  ['unknown', false],
] as const) {
  test(`${JSON.stringify(text)} is ${expected ? '' : 'not '}dynamic`, (t) => {
    t.is(isDynamic(text), expected);
  });
}

test('any text is read without an exception, and what was read is read again the same', (t) => {
  const piece = fc.oneof(
    fc.ipV4(),
    fc.ipV6(),
    fc.constantFrom('00:11:22:33:44:55', ' ', '/', '24', ',', 'x'),
    fc.string(),
  );
  fc.assert(
    fc.property(fc.array(piece, { maxLength: 8 }), (pieces) => {
      const parsed = parseMacAndAddresses(pieces.join(' '));
      if (parsed === undefined) return;
      const again = parseMacAndAddresses([parsed.mac, ...parsed.addresses.map(formatIpPrefix)].join(' '));
      t.deepEqual(again, { ...parsed, rest: '' });
    }),
  );
});
