import { Counter, Gauge, type Registry } from 'prom-client';

import type { FdbStatistics } from './fdb-keeper.js';
import type { FdbTable } from './fdb-table.js';

type Total = Exclude<keyof FdbStatistics, 'entries'>;

const totals: readonly (readonly [name: string, field: Total, help: string])[] = [
  ['fdb_learned_total', 'learned', 'MACs learnt from ports of this node that were new.'],
  ['fdb_moved_total', 'moved', 'MACs learnt from ports of this node that were known on another port.'],
  ['fdb_evicted_total', 'evicted', 'Learnt MACs given up because the map was full, since the agent started.'],
  ['fdb_lost_events_total', 'lostEvents', 'Learnt MACs that the agent found only when it reviewed the map.'],
];

/** What is learnt, read at the moment of a scrape; entries and evictions are those of the last review of the map. */
export function addFdbMetrics(
  registry: Registry,
  table: Pick<FdbTable, 'capacity'>,
  statistics: () => FdbStatistics,
): void {
  const registers = [registry];
  for (const [name, field, help] of totals) {
    new Counter({
      name: `iovn_agent_${name}`,
      help,
      registers,
      collect() {
        this.reset();
        this.inc(Number(statistics()[field]));
      },
    });
  }
  new Gauge({
    name: 'iovn_agent_fdb_entries',
    help: 'Learnt MACs in the kernel, of this node and of others.',
    registers,
    collect() {
      this.set(statistics().entries);
    },
  });
  new Gauge({
    name: 'iovn_agent_fdb_capacity',
    help: 'Learnt MACs that the kernel can hold.',
    registers,
    collect() {
      this.set(table.capacity);
    },
  });
}
