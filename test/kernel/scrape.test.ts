import test from 'ava';

import { libbpf } from '../../agent/libbpf/native.js';
import { exposition } from '../../common/exposition.js';
import { metricsOfPorts } from '../support/node-with-ports.js';
import { enterPrivateNamespaces } from '../support/private-namespace.js';
import { readAll } from '../support/read-all.js';
import { makeBpffsDir, open } from './support.js';

enterPrivateNamespaces();

test.serial('a scrape reads the counters of 128 ports in two calls of the kernel', async (t) => {
  const plane = open(t, { bpffsDir: makeBpffsDir(), maxPorts: 1024 });
  const native = libbpf();
  const original = { ...native };
  let calls = 0;
  native.bpf_map_lookup_batch = (...args) => {
    calls += 1;
    return original.bpf_map_lookup_batch(...args);
  };
  native.bpf_map_lookup_elem = (...args) => {
    calls += 1;
    return original.bpf_map_lookup_elem(...args);
  };
  t.teardown(() => Object.assign(native, original));
  for (const [count, expected] of [
    [1, 2],
    [127, 2],
    [1000, 16],
  ] as const) {
    const { registry, bulk } = metricsOfPorts(plane, count);
    calls = 0;
    const text = await readAll(exposition(registry, bulk));
    t.is(calls, expected, `${count} ports`);
    t.is(text.match(/^iovn_agent_port_received_bytes_total\{/gm)?.length, count);
  }
});
