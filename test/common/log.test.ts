import test from 'ava';
import fc from 'fast-check';

import { LineLimiter } from '../../common/line-limiter.js';
import { changeLevel, createLogger, type LoggerOptions } from '../../common/log.js';
import { waitFor } from '../../testbed/wait.js';

interface Line {
  readonly level: string;
  readonly msg: string;
  readonly suppressed?: number;
  readonly [field: string]: unknown;
}

function open(options: LoggerOptions = {}, level: 'debug' | 'info' = 'info') {
  const lines: Line[] = [];
  const log = createLogger('test', level, {
    write: (line) => void lines.push(JSON.parse(line) as Line),
    ...options,
  });
  return { log, lines };
}

test('a storm of one message: a burst, then how many more there were; other messages are not concerned', async (t) => {
  const { log, lines } = open({ limits: { burst: 3, refillMs: 60_000 }, reportMs: 10 });
  const child = log.child({ peer: 'a' });
  for (let i = 0; i < 50; i++) child.warn('agent refused', { i });
  log.info('agent connected');
  t.deepEqual(
    lines.map(({ msg }) => msg),
    ['agent refused', 'agent refused', 'agent refused', 'agent connected'],
  );
  await waitFor('it is summed up', () => lines.length === 5);
  t.like(lines[4], { level: 'warn', msg: 'agent refused: more suppressed', suppressed: 47 });
  for (let i = 0; i < 5; i++) log.warn('agent refused');
  await waitFor('it is summed up again', () => lines.length === 6);
  t.is(lines[5]?.suppressed, 5);
});

test('level debug is not limited, and the level holds for children made before', (t) => {
  const { log, lines } = open({ limits: { burst: 1, refillMs: 60_000 } });
  const child = log.child({ peer: 'a' });
  child.debug('detail');
  t.is(lines.length, 0);
  t.is(changeLevel(log, 'debug'), 'debug');
  for (let i = 0; i < 20; i++) child.debug('detail');
  t.is(lines.length, 20);
  t.is(changeLevel(log, ''), 'debug');
  t.throws(() => changeLevel(log, 'loud'), { message: "'loud' is none of debug, info, warn, error" });
  changeLevel(log, 'error');
  child.warn('no more');
  t.is(lines.length, 20);
});

test('what others say is cut, and the last lines are kept', (t) => {
  const { log, lines } = open({ limits: { burst: 10_000, refillMs: 1 } });
  log.info('row', { value: 'x'.repeat(100_000), number: 5 });
  t.is((lines[0]?.['value'] as string).length, 2001);
  t.is(lines[0]?.['number'], 5);
  for (let i = 0; i < 600; i++) log.info('row', { i });
  const recent = log.recent().map((line) => JSON.parse(line) as Line);
  t.deepEqual([recent.length, recent[0]?.['i'], recent.at(-1)?.['i']], [500, 100, 599]);
});

test('limiter: over any time no more than the burst and what has been refilled, and every line is accounted for', (t) => {
  const steps = fc.array(fc.nat(300), { maxLength: 200 });
  fc.assert(
    fc.property(
      steps,
      fc.integer({ min: 1, max: 10 }),
      fc.integer({ min: 1, max: 500 }),
      (waits, burst, refillMs) => {
        const limiter = new LineLimiter({ burst, refillMs });
        let nowMs = 0;
        let admitted = 0;
        for (const wait of waits) {
          nowMs += wait;
          if (limiter.admit('m', nowMs)) admitted += 1;
        }
        const suppressed = limiter.takeSuppressed().get('m') ?? 0;
        t.is(admitted + suppressed, waits.length);
        t.true(admitted <= burst + Math.floor(nowMs / refillMs));
        t.true(admitted >= Math.min(waits.length, burst));
        t.is(limiter.takeSuppressed().size, 0);
      },
    ),
  );
});

test('limiter: messages that are made up share a budget', (t) => {
  const limiter = new LineLimiter({ burst: 1, refillMs: 1e9 });
  let admitted = 0;
  for (let i = 0; i < 5000; i++) if (limiter.admit(`message ${i}`, 0)) admitted += 1;
  t.is(admitted, 501);
  t.deepEqual([...limiter.takeSuppressed()], [['other messages', 4499]]);
});
