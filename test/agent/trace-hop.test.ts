import test, { type ExecutionContext } from 'ava';

import { Places } from '../../agent/inspect/places.js';
import { traceHop } from '../../agent/trace/trace-hop.js';
import type { RecordedStep, TraceSource } from '../../agent/trace/trace-source.js';
import { dropReason, traceEvent } from '../../generated/bpf/layouts.js';
import { makeUpdate, portResource, switchResource } from './support/intents.js';
import { Rig } from './support/rig.js';

const frame = Buffer.alloc(60, 1);

/** A node with lp1 on tap1, and lp2 of the same switch elsewhere; the plane says `steps`. */
async function openNode(
  t: ExecutionContext,
  ...steps: readonly (Omit<RecordedStep, 'frame'> & { readonly frame?: Uint8Array })[]
) {
  const rig = new Rig();
  t.teardown(() => rig.close());
  rig.start();
  rig.devices.add('tap1', 5);
  rig.database.plug('tap1', 'lp1');
  const elsewhere = portResource('lp2', 2, { chassis: 'hv9' });
  const here = portResource('lp1', 1, { nb_uuid: 'uuid of lp1' });
  rig.update(makeUpdate([switchResource('sw0', 7), here, elsewhere]));
  await rig.settled();
  const runs: unknown[] = [];
  const dataPlane: TraceSource = {
    trace: ({ program, frame: { length }, ifindex, tunnel }) => {
      runs.push([program, length, ifindex, ...(tunnel ? [tunnel.vni] : [])]);
      return steps.map((step) => ({ frame, ...step }));
    },
  };
  const view = () => rig.reconciler.view;
  return { runs, options: { dataPlane, view, places: new Places(view, () => rig.devices.links) } };
}

const { TRACE_FROM_PORT, TRACE_UNICAST, TRACE_DROP, TRACE_FROM_TUNNEL, TRACE_DELIVER } = traceEvent;

test('steps are told in terms of the network, with the NB row that decided', async (t) => {
  const { runs, options } = await openNode(
    t,
    { event: TRACE_FROM_PORT, slot: 1, detail: 1 },
    { event: TRACE_UNICAST, slot: 0, detail: 2 },
    { event: TRACE_DROP, slot: 1, detail: dropReason.DROP_PORT_SECURITY_IP4 },
  );
  const { program, interface: name, steps = [] } = traceHop({ frame, port: 'lp1' }, options);
  t.deepEqual([program, name, runs], ['vif_ingress', 'tap1', [['vif_ingress', 60, 5]]]);
  t.like(steps[0], { event: 'from port', port: 'lp1', switch: 'sw0', row_uuid: 'uuid of lp1' });
  t.like(steps[1], { event: 'unicast', port: 'lp2', key: 2 });
  t.like(steps[2], {
    event: 'drop',
    reason: 'port_security_ip4',
    row_table: 'Logical_Switch_Port',
    row_column: 'port_security',
    row_uuid: 'uuid of lp1',
  });
});

test('a tunnel packet is told with its sender, which is elsewhere', async (t) => {
  const { runs, options } = await openNode(
    t,
    { event: TRACE_FROM_TUNNEL, slot: 1, detail: 2 },
    { event: TRACE_DELIVER, slot: 1, detail: 5 },
  );
  const { program, steps = [] } = traceHop({ frame, port: '' }, options);
  t.deepEqual([program, runs], ['tunnel_ingress', [['tunnel_ingress', 60, 1]]]);
  t.like(steps[0], { event: 'from tunnel', port: 'lp2', key: 1 });
  t.like(steps[1], { event: 'deliver', port: 'lp1', interface: 'tap1', frame });
});

test('what cannot be traced is said', async (t) => {
  const { options } = await openNode(t);
  t.throws(() => traceHop({ frame, port: 'lp7' }, options), { message: /lp7 is not in this node's kernel/ });
  t.throws(() => traceHop({ frame: Buffer.alloc(14), port: 'lp1' }, options), { message: /14 bytes/ });
  t.throws(() => traceHop({ frame: Buffer.alloc(2000), port: 'lp1' }, options), { message: /2000 bytes/ });
});
