import test from 'ava';

import { libbpf } from '../../agent/libbpf/native.js';
import { metricsOfPorts } from '../support/node-with-ports.js';
import { enterPrivateNamespaces } from '../support/private-namespace.js';
import { makeBpffsDir, open } from './support.js';

enterPrivateNamespaces();

test.serial('a scrape of 1,000 ports is two calls of the kernel, as one of a single port is', async (t) => {
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
  for (const count of [1, 1000]) {
    const registry = metricsOfPorts(plane, count);
    calls = 0;
    const text = await registry.metrics();
    t.is(calls, 2, `${count} ports`);
    t.is(text.match(/^iovn_agent_port_received_bytes_total\{/gm)?.length, count);
  }
});
