import test from 'ava';
import fc from 'fast-check';

import { type Message, MessageReader } from '../../ovsdb/framing.js';
import { defaultLimits, type FramingLimits } from '../../ovsdb/framing-limits.js';
import { ProtocolError } from '../../ovsdb/index.js';
import type { Json } from '../../ovsdb/json.js';
import type { PieceSink } from '../../ovsdb/piece-cutter.js';

const takesNothing: PieceSink = { accept: () => false };

function limits(changes: Partial<FramingLimits>): FramingLimits {
  return { ...defaultLimits, ...changes };
}

/** Cuts `bytes` at the given places, in whatever order and number they come. */
function cut(bytes: Buffer, places: readonly number[]): readonly Buffer[] {
  const sorted = [0, ...places.map((place) => place % (bytes.length + 1)), bytes.length].sort(
    (a, b) => a - b,
  );
  return sorted.slice(1).map((end, index) => bytes.subarray(sorted[index], end));
}

function readAll(reader: MessageReader, chunks: readonly Buffer[]): readonly Message[] {
  return chunks.flatMap((chunk) => [...reader.push(chunk)]);
}

const documents = fc.array(fc.dictionary(fc.string({ unit: 'binary' }), fc.jsonValue({ maxDepth: 6 })), {
  minLength: 1,
  maxLength: 4,
});

test('any documents come out the same however the bytes are cut and whatever counts as big', (t) => {
  fc.assert(
    fc.property(
      documents,
      fc.array(fc.nat(), { maxLength: 40 }),
      fc.constantFrom(0, 20, 1_000_000),
      fc.constantFrom('', ' ', '\n\t\r '),
      (values, places, splitAboveBytes, space) => {
        const texts = values.map((value) => JSON.stringify(value, undefined, space === ' ' ? 1 : 0));
        const bytes = Buffer.from(space + texts.join(space) + space);
        const reader = new MessageReader(() => takesNothing, limits({ splitAboveBytes }));
        const messages = readAll(reader, cut(bytes, places));
        t.deepEqual(
          messages.map(({ value }) => JSON.stringify(value)),
          texts.map((text) => JSON.stringify(JSON.parse(text))),
        );
      },
    ),
    { numRuns: 500 },
  );
});

test('a document cut between all bytes, inside multi-byte characters too', (t) => {
  const value = { result: [true, 'ä€😀\\"', { T: { ü: { row: ['ß', '\u{10ffff}'] } } }], id: 1 };
  const bytes = Buffer.from(JSON.stringify(value));
  for (const splitAboveBytes of [0, 1_000_000]) {
    const reader = new MessageReader(() => takesNothing, limits({ splitAboveBytes }));
    const chunks = Array.from(bytes, (_, index) => bytes.subarray(index, index + 1));
    t.deepEqual(
      readAll(reader, chunks).map((message) => JSON.stringify(message.value)),
      [JSON.stringify(value)],
    );
  }
});

test('rows of a big message go to the sink with their path, whichever monitor method is answered', (t) => {
  const rows = {
    Port: { u1: { insert: { name: 'a' } }, u2: { delete: null } },
    Switch: { u3: { insert: {} } },
  };
  const expected = ['Port/u1', 'Port/u2', 'Switch/u3'];
  const messages: readonly (readonly [Json, string])[] = [
    [{ id: 1, error: null, result: [false, 'txn', rows] }, 'result/2/'],
    [{ result: rows, id: 1, error: null }, 'result/'],
    [{ method: 'update3', params: ['id', 'txn', rows], id: null }, 'params/2/'],
    [{ method: 'update2', params: ['id', rows], id: null }, 'params/1/'],
  ];
  for (const [message, prefix] of messages) {
    const taken: string[] = [];
    const sink: PieceSink = {
      accept: (path) => {
        taken.push(path.join('/'));
        return true;
      },
    };
    const reader = new MessageReader(() => sink, limits({ splitAboveBytes: 0 }));
    const bytes = Buffer.from(JSON.stringify(message));
    const [read, ...more] = readAll(reader, cut(bytes, [5, 30, 31]));
    t.is(more.length, 0);
    t.is(read?.sink, sink);
    // null values are no containers and stay.
    t.deepEqual(
      taken,
      expected.map((path) => prefix + path),
    );
    t.false(JSON.stringify(read?.value).includes('name'));
  }
});

test('messages are handed over one at a time: the next is not read before the last has been handled', (t) => {
  let sinks = 0;
  const reader = new MessageReader(
    () => {
      sinks++;
      return takesNothing;
    },
    limits({ splitAboveBytes: 10 }),
  );
  const first = Buffer.from('{"id":1}{"id":2,"result":');
  const messages = reader.push(first);
  t.deepEqual(messages.next().value, { value: { id: 1 } });
  t.is(sinks, 0);
  t.true(messages.next().done);
  t.is(sinks, 1);
});

const invalid: readonly string[] = [
  'hello',
  '[1]',
  '1{}',
  '{"a":}',
  '{"a":1,}',
  '{"a" 1}',
  '{,}',
  '{"a":[1,]}',
  '{"a":[,1]}',
  '{"a":[1 2]}',
  '{"a":1]',
  '{"a":tru}',
  '{"a":"\n"}',
  '{"a":{"b":{"c":{"d":{"e":{x}}}}}}',
  '{1:2}',
];
for (const text of invalid) {
  for (const splitAboveBytes of [0, 1_000_000]) {
    test(`invalid JSON is refused (big above ${splitAboveBytes}): ${JSON.stringify(text)}`, (t) => {
      const reader = new MessageReader(() => takesNothing, limits({ splitAboveBytes }));
      const chunks = [Buffer.from(text.slice(0, 1)), Buffer.from(text.slice(1))];
      t.throws(() => readAll(reader, chunks), { instanceOf: ProtocolError });
    });
  }
}

test('one value, what is kept and the whole message each have a limit', (t) => {
  const read = (text: string, changes: Partial<FramingLimits>): readonly Message[] =>
    readAll(
      new MessageReader(() => takesNothing, limits({ splitAboveBytes: 10, ...changes })),
      cut(Buffer.from(text), [11, 500, 1000]),
    );
  const longString = JSON.stringify({ a: 'x'.repeat(2000) });
  const longRow = JSON.stringify({ result: [0, 0, { T: { u: { a: ['x'.repeat(2000)] } } }] });
  const manyValues = JSON.stringify({ a: Array.from({ length: 1000 }, () => 0) });
  t.is(read(longString, {}).length, 1);
  t.throws(() => read(longString, { maximumPieceBytes: 1000 }), { instanceOf: ProtocolError });
  t.throws(() => read(longRow, { maximumPieceBytes: 1000 }), { instanceOf: ProtocolError });
  t.throws(() => read(manyValues, { maximumKeptBytes: 2000 }), { instanceOf: ProtocolError });
  t.throws(() => read(longString, { maximumMessageBytes: 1500 }), { instanceOf: ProtocolError });
});
