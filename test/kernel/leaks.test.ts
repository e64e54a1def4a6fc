import { existsSync, readdirSync, readFileSync } from 'node:fs';

import test from 'ava';

import { waitFor } from '../../testbed/wait.js';
import { createDevice, enterPrivateNamespaces, runSync } from '../support/private-namespace.js';
import { makeBpffsDir, modes, open } from './support.js';

enterPrivateNamespaces();

/** In each of the two modes. */
const rounds = 50;

/** Ids of the eBPF objects of a kind that this process has file descriptors of. */
function heldIds(kind: 'map' | 'prog'): number[] {
  const found = readdirSync('/proc/self/fdinfo')
    .map((fd) => `/proc/self/fdinfo/${fd}`)
    .filter((file) => existsSync(file))
    .map((file) => new RegExp(`^${kind}_id:\\s*(\\d+)`, 'm').exec(readFileSync(file, 'utf8'))?.[1]);
  return found.filter((id) => id !== undefined).map(Number);
}

/** Ids of all eBPF objects of a kind in the kernel. */
function allIds(kind: 'map' | 'prog'): Set<number> {
  const list = JSON.parse(runSync('bpftool', '--json', kind, 'list')) as readonly { readonly id: number }[];
  return new Set(list.map(({ id }) => id));
}

for (const attachMode of modes) {
  test(`${attachMode}: ${rounds} times opened, closed, adopted and destroyed leaves nothing in the kernel`, async (t) => {
    const ifindex = createDevice(`leak${attachMode}`);
    const bpffsDir = makeBpffsDir();
    const descriptorsBefore = readdirSync('/proc/self/fd').length;
    const maps = new Set<number>();
    const programs = new Set<number>();
    for (let round = 0; round < rounds; round++) {
      const first = open(t, { bpffsDir, attachMode, maxPorts: 16 });
      first.attach(ifindex);
      for (const id of heldIds('map')) maps.add(id);
      for (const id of heldIds('prog')) programs.add(id);
      first.close();
      open(t, { bpffsDir, attachMode, maxPorts: 16 }).destroy();
      t.false(existsSync(bpffsDir));
    }
    t.true(maps.size >= rounds * 9);
    t.true(programs.size >= rounds);
    t.deepEqual(heldIds('map'), []);
    t.deepEqual(heldIds('prog'), []);
    /* The kernel frees them after a grace period. */
    await waitFor('the kernel has freed them all', () => {
      const [allMaps, allPrograms] = [allIds('map'), allIds('prog')];
      return (
        !Array.from(maps).some((id) => allMaps.has(id)) &&
        !Array.from(programs).some((id) => allPrograms.has(id))
      );
    });
    t.is(readdirSync('/proc/self/fd').length, descriptorsBefore);
  });
}
