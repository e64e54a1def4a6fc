import { setTimeout as delay } from 'node:timers/promises';
import v8 from 'node:v8';
import vm from 'node:vm';

import test from 'ava';

import { deadline } from '../../common/deadline.js';

/** Node hands the collector out to those who ask for it only. */
function garbageCollector(): () => void {
  v8.setFlagsFromString('--expose-gc');
  return vm.runInNewContext('gc') as () => void;
}

test('it comes, also when garbage is collected meanwhile and nobody listens', async (t) => {
  const collect = garbageCollector();
  const limit = deadline(new AbortController().signal, 100);
  t.false(limit.aborted);
  for (let turns = 0; turns < 100 && !limit.aborted; turns += 1) {
    await delay(10);
    collect();
  }
  t.true(limit.aborted);
});

test('an abort comes before it, with its reason', (t) => {
  const controller = new AbortController();
  const limit = deadline(controller.signal, 60_000);
  controller.abort('enough');
  t.true(limit.aborted);
  t.is(limit.reason, 'enough');
  t.true(deadline(controller.signal, 60_000).aborted);
});
