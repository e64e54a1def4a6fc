import { spawnSync } from 'node:child_process';
import path from 'node:path';

import test from 'ava';
import fc from 'fast-check';

import { packageRoot } from '../../common/package-root.js';
import {
  constants,
  decodeAllowedPrefixKey,
  decodePortCounters,
  dropReason,
  dropReasons,
  encodeAllowedPrefixKey,
  encodeMacKey,
  encodePortCounters,
} from '../../generated/bpf/layouts.js';
import { parseBtf } from '../../scripts/btf/btf.js';
import { emitDropReasonPage, emitLayouts } from '../../scripts/btf/emit.js';
import { findNames, parseDropReasons, referenceAll } from '../../scripts/btf/header.js';

test('encoded structs read back, padding is zero and offsets are those of C', (t) => {
  const bytes = (length: number) => fc.uint8Array({ minLength: length, maxLength: length });
  const key = fc.record({
    prefixLength: fc.nat(),
    address: fc.record({ slot: fc.nat(), mac: bytes(6), family: fc.nat(255), address: bytes(16) }),
  });
  fc.assert(
    fc.property(key, (value) => t.deepEqual(decodeAllowedPrefixKey(encodeAllowedPrefixKey(value)), value)),
  );
  const mac = Uint8Array.of(1, 2, 3, 4, 5, 6);
  t.is(
    Buffer.from(encodeMacKey({ datapathKey: 0x11223344, mac })).toString('hex'),
    '443322110102030405060000',
  );
  const counters = {
    receivedPackets: 1n,
    receivedBytes: 2n ** 63n,
    sentPackets: 3n,
    sentBytes: 2n ** 64n - 1n,
  };
  t.deepEqual(decodePortCounters(encodePortCounters(counters)), counters);
});

test('a value of the wrong size is refused', (t) => {
  t.throws(() => encodeMacKey({ datapathKey: 1, mac: new Uint8Array(5) }), { instanceOf: RangeError });
  t.throws(() => decodePortCounters(new Uint8Array(31)), { instanceOf: RangeError });
});

test('constants and drop reasons are those of the headers', (t) => {
  t.is(constants.MULTICAST_FLOOD, 32768);
  t.is(dropReasons.length, dropReason.DROP_REASON_COUNT);
  t.is(dropReasons[dropReason.DROP_HAIRPIN]?.name, 'hairpin');
  dropReasons.forEach(({ number, text }, index) => {
    t.is(number, index);
    t.not(text, '');
  });
});

test('docs/drop-reasons.md is current', (t) => {
  const script = path.join(packageRoot, 'scripts', 'generate-btf.ts');
  const { status, stderr } = spawnSync(process.execPath, ['--import=tsx', script, '--check'], {
    encoding: 'utf8',
  });
  t.is(status, 0, stderr);
});

const values = [
  { name: 'DROP_ONE', value: 0 },
  { name: 'DROP_TWO', value: 1 },
  { name: 'DROP_REASON_COUNT', value: 2 },
];
const good =
  'enum drop_reason {\n\tDROP_ONE = 0, /* the first */\n\tDROP_TWO = 1,    /* the | second */\n\tDROP_REASON_COUNT,\n};';

test('drop reasons take their text from the comment beside them', (t) => {
  const reasons = parseDropReasons(good, values);
  t.deepEqual(reasons, [
    { name: 'one', number: 0, text: 'the first' },
    { name: 'two', number: 1, text: 'the | second' },
  ]);
  t.regex(emitDropReasonPage(reasons), /\| 1 \| `two` \| the \\\| second \|/);
});

test('drop reasons without text, with gaps or out of step fail the build', (t) => {
  const parse = (header: string, [first, second, count]: readonly [number, number, number] = [0, 1, 2]) =>
    parseDropReasons(header, [
      { name: 'DROP_ONE', value: first },
      { name: 'DROP_TWO', value: second },
      { name: 'DROP_REASON_COUNT', value: count },
    ]);
  t.throws(() => parse(good.replace(' /* the first */', '')), { message: /DROP_ONE has no comment/ });
  t.throws(() => parse(good.replace('/* the first */', '/* */')), { message: /DROP_ONE has no comment/ });
  t.throws(() => parse(good.replace('= 1', '= 5')), { message: /DROP_TWO is 1 to the compiler/ });
  t.throws(() => parse(good.replace('= 1', '= 5'), [0, 5, 6]), { message: /DROP_REASON_COUNT/ });
  t.throws(() => parse(good.replace('= 1', '= 2'), [0, 2, 2]), { message: /without gaps/ });
  t.throws(() => parse(good.replace('DROP_TWO = 1,', 'DROP_TWO,')), { message: /1 lines/ });
});

test('names are found in a header, whatever its comments say', (t) => {
  const header =
    '/* struct nothing { */\nenum {\n\tA = 1,\n\tB, /* C = 3 */\n};\nenum kind {\n\tD,\n};\nstruct thing {\n\tint a;\n};\n';
  const names = findNames(header);
  t.deepEqual(names, { structs: ['thing'], enums: ['kind'], constants: ['A', 'B'] });
  const source = referenceAll(names, ['thing.h']);
  t.regex(source, /#include "thing.h"/);
  t.regex(source, /enum constants \{ constant_A = A, constant_B = B \};/);
});

test('a type that the generated code can not hold fails the build', (t) => {
  const member = { name: 'next', type_id: 2, bits_offset: 0 };
  const types = [
    { id: 1, kind: 'STRUCT', name: 'list', size: 8, members: [member] },
    { id: 2, kind: 'PTR', name: '(anon)', type_id: 1 },
  ];
  t.throws(() => parseBtf(JSON.stringify({ types }), new Set(['list'])), { message: /list\.next.*PTR/ });
});

test('a struct of bytes only needs no DataView', (t) => {
  const field = { name: 'mac', offset: 0, type: { kind: 'bytes', length: 6 } } as const;
  const source = emitLayouts({ structs: [{ name: 'mac_only', size: 6, fields: [field] }], enums: [] }, []);
  t.notRegex(source, /DataView/);
  t.regex(source, /export interface MacOnly \{\n {2}readonly mac: Uint8Array;/);
});
