// The directives SKIP and TODO below are TAP's own, as ava prints them for test.skip and test.todo.
import test from 'ava';

import {
  count,
  emptyTally,
  formatTally,
  isTapPlan,
  parseTapLine,
  type Tally,
  withoutSkips,
} from '../../scripts/tap.js';

const stream = `TAP version 13
ok 1 - a › skipped # SKIP
not ok 2 - a › planned # TODO
ok 3 - a › good # SKIP me
not ok 4 - a › bad
  ---
    message: 'ok 9 - not a result'
  ...
not ok 5 - test/c.test.ts exited with a non-zero exit code: 1

1..5
# tests 5`.split('\n');

function tallyOf(lines: readonly string[]): Tally {
  return lines.flatMap((line) => parseTapLine(line) ?? []).reduce(count, emptyTally);
}

test('every result of a stream is counted once', (t) => {
  t.deepEqual(tallyOf(stream), { passed: 1, failed: 2, skipped: 2 });
});

test('a title keeps what looks like a directive', (t) => {
  t.is(parseTapLine('ok 3 - a › good # SKIP me')?.title, 'a › good # SKIP me');
});

test('only the plan is a plan', (t) => {
  t.deepEqual(stream.filter(isTapPlan), ['1..5']);
});

test('in CI what is skipped has failed', (t) => {
  t.is(formatTally(withoutSkips(tallyOf(stream))), '1 passed, 4 failed');
  t.is(formatTally(tallyOf(stream)), '1 passed, 2 failed, 2 skipped');
});
