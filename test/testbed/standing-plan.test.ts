import test from 'ava';

import { planStanding } from '../../testbed/standing-plan.js';

test('VMs go round the hypervisors, each with addresses of its own', (t) => {
  const { nodes, vms } = planStanding({ nodes: 3, vanilla: 1, vmsPerNode: 2 });
  t.deepEqual(
    nodes.map(({ name, kind }) => `${name} ${kind}`),
    ['hv1 iovn-agent', 'hv2 iovn-agent', 'hv3 ovn-controller'],
  );
  t.deepEqual(
    vms.map(({ name, node }) => `${name} ${node}`),
    ['vm1 hv1', 'vm2 hv2', 'vm3 hv3', 'vm4 hv1', 'vm5 hv2', 'vm6 hv3'],
  );
  t.is(new Set(vms.map(({ mac }) => mac)).size, 6);
  t.is(new Set(vms.map(({ ip }) => ip)).size, 6);
});

test('MACs are written in hexadecimal', (t) => {
  const { vms } = planStanding({ nodes: 16, vanilla: 0, vmsPerNode: 1 });
  t.is(vms[15]?.mac, '02:00:00:00:00:10');
});

test('what does not fit is refused', (t) => {
  t.throws(() => planStanding({ nodes: 2, vanilla: 3, vmsPerNode: 1 }), { message: /--vanilla 3/ });
  t.throws(() => planStanding({ nodes: 16, vanilla: 0, vmsPerNode: 16 }), {
    message: /256 VMs: 200 at most/,
  });
});
