import test from 'ava';
import fc from 'fast-check';
import { Gauge, Registry } from 'prom-client';

import { type BulkCounters, exposition, familyHead, formatLabels } from '../../common/exposition.js';
import { parseMetrics } from '../../testbed/metrics.js';
import { readAll } from '../support/read-all.js';

function registryWithGauge(): Registry {
  const registry = new Registry();
  new Gauge({ name: 'small', help: 'small', registers: [registry] }).set(1);
  return registry;
}

function bulkOf(lines: () => Iterable<string>): BulkCounters {
  return { families: [], lines };
}

function busyFor(ms: number): void {
  for (const endMs = performance.now() + ms; performance.now() < endMs; );
}

test('the registry comes first, then the lines of the bulk', async (t) => {
  const text = await readAll(
    exposition(
      registryWithGauge(),
      bulkOf(() => ['', 'a{} 1\n', 'b{} 2\n']),
    ),
  );
  t.is(text, '# HELP small small\n# TYPE small gauge\nsmall 1\na{} 1\nb{} 2\n');
});

test('no bulk, and no metric at all', async (t) => {
  t.regex(await readAll(exposition(registryWithGauge())), /\nsmall 1\n$/);
  t.is(await readAll(exposition(new Registry())), '');
});

test('the event loop goes round every few milliseconds, whether there is a line or not', async (t) => {
  let turns = 0;
  const other = setInterval(() => (turns += 1), 0);
  const turnsBefore: number[] = [];
  function* lines() {
    for (let line = 0; line < 20; line++) {
      turnsBefore.push(turns);
      busyFor(3);
      yield line < 10 ? '' : `line ${line}\n`;
    }
  }
  const pieces: string[] = [];
  for await (const piece of exposition(registryWithGauge(), bulkOf(lines))) pieces.push(piece);
  clearInterval(other);
  t.deepEqual(
    turnsBefore.slice(1).map((count, index) => count > (turnsBefore[index] ?? 0)),
    Array.from({ length: 19 }, () => true),
  );
  t.false(pieces.includes(''), 'an empty piece would end a chunked answer');
  t.is(pieces.join('').match(/^line/gm)?.length, 10);
});

test('whoever stops reading stops the work', async (t) => {
  let isDone = false;
  function* lines() {
    try {
      for (;;) {
        busyFor(3);
        yield 'x\n';
      }
    } finally {
      isDone = true;
    }
  }
  for await (const piece of exposition(registryWithGauge(), bulkOf(lines))) {
    if (piece.includes('x')) break;
  }
  t.true(isDone);
});

test('property: what a label holds can be read back', (t) => {
  const unescape = (text: string): string =>
    text.replaceAll(/\\(.)/g, (_, letter: string) => (letter === 'n' ? '\n' : letter));
  fc.assert(
    fc.property(fc.string({ unit: fc.constantFrom('a', '"', '\\', '\n', '}', ',', '=', 'ü') }), (value) => {
      const line = `m{${formatLabels({ port: value, other: 'o' })}} 5`;
      const [sample, ...more] = parseMetrics(line);
      t.deepEqual(more, []);
      t.is(sample?.value, 5);
      t.is(unescape(sample?.labels['port'] ?? '?'), value);
      t.is(sample?.labels['other'], 'o');
    }),
  );
});

test('the head of a family', (t) => {
  t.is(
    familyHead({ name: 'a_total', help: 'one\\two\nthree', labelNames: [] }),
    '# HELP a_total one\\\\two\\nthree\n# TYPE a_total counter\n',
  );
});
