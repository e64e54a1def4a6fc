import { createHash } from 'node:crypto';
import { closeSync, renameSync } from 'node:fs';
import path from 'node:path';

import { errorMessage } from '../../common/errors.js';
import type { Logger } from '../../common/log.js';
import { listFolder, makeFolder, removePins } from './bpffs.js';
import { check, KernelError, withKernelError } from './kernel-error.js';
import { listObject, loadObject, type MapSizes } from './kernel-object.js';
import { libbpf } from './native.js';

/** One set of maps and programs, pinned in `<bpffsDir>/<id>/{maps,programs}`, with open file descriptors by name. */
export interface Generation {
  readonly id: string;
  /** False when it was loaded just now, so that its maps are empty. */
  readonly adopted: boolean;
  readonly maps: ReadonlyMap<string, number>;
  readonly programs: ReadonlyMap<string, number>;
  close(): void;
}

export interface GenerationSource {
  readonly name: string;
  readonly objectBytes: Uint8Array;
  readonly sizes: MapSizes;
}

/** Part of the id: raised when this file pins in another way, so that older pins are not mistaken for its own. */
const pinLayoutVersion = 1;

const idPattern = /^[0-9a-f]{16}$/;
const incompletePrefix = 'incomplete_';

/** 16 hex digits that differ whenever the object, a map's size or the layout of the pins does. */
function generationId({ objectBytes, sizes }: GenerationSource): string {
  const ordered = Object.entries(sizes).sort(([a], [b]) => (a < b ? -1 : 1));
  const hash = createHash('sha256').update(objectBytes);
  hash.update(JSON.stringify({ pinLayoutVersion, sizes: ordered }));
  return hash.digest('hex').slice(0, 16);
}

/**
 * Opens the pinned generation of `source`, or loads it and pins it whole: it is built in a folder of its own that
 * is renamed when complete, and what an interrupted attempt left is removed first. Throws KernelError.
 */
export function openGeneration(bpffsDir: string, source: GenerationSource, log: Logger): Generation {
  for (const name of listFolder(bpffsDir)) {
    if (!name.startsWith(incompletePrefix)) continue;
    log.warn('removing a half-loaded generation of eBPF programs', { folder: name });
    removePins(path.join(bpffsDir, name));
  }
  const id = generationId(source);
  const adopted = listFolder(bpffsDir).includes(id) ? adopt(bpffsDir, id, source, log) : undefined;
  if (adopted !== undefined) return adopted;
  loadAndPin(bpffsDir, id, source, log);
  return { ...openPins(path.join(bpffsDir, id)), id, adopted: false };
}

/** The generations that are pinned besides `current`. */
export function otherGenerations(bpffsDir: string, current: string): string[] {
  return listFolder(bpffsDir).filter((name) => idPattern.test(name) && name !== current);
}

/** Undefined when the pins are not usable: somebody removed one, say. The folder is then removed. */
function adopt(bpffsDir: string, id: string, source: GenerationSource, log: Logger): Generation | undefined {
  const folder = path.join(bpffsDir, id);
  try {
    const pins = openPins(folder);
    const missing = missingPins(pins, source, log);
    if (missing.length > 0) {
      pins.close();
      throw new KernelError('kernel_not_found', 0, `${folder} lacks ${missing.join(', ')}`);
    }
    log.info('adopted the eBPF programs and maps that are in the kernel', { generation: id });
    return { ...pins, id, adopted: true };
  } catch (error) {
    log.warn('the pinned eBPF programs and maps are not usable, loading them again', {
      generation: id,
      error: errorMessage(error),
    });
    removePins(folder);
    return undefined;
  }
}

function missingPins(
  pins: Pick<Generation, 'maps' | 'programs'>,
  source: GenerationSource,
  log: Logger,
): string[] {
  const { maps, programs } = listObject(source.name, source.objectBytes, log);
  return [
    ...maps.filter((name) => isPinnable(name) && !pins.maps.has(name)),
    ...programs.filter((name) => !pins.programs.has(name)),
  ];
}

/** Not .rodata and the like, which the programs hold. */
function isPinnable(name: string): boolean {
  return !name.includes('.');
}

function loadAndPin(bpffsDir: string, id: string, source: GenerationSource, log: Logger): void {
  const incomplete = path.join(bpffsDir, `${incompletePrefix}${id}`);
  const object = loadObject(source.name, source.objectBytes, source.sizes, log);
  try {
    pinAll(path.join(incomplete, 'maps'), object.maps);
    pinAll(path.join(incomplete, 'programs'), object.programs);
    /* Last, so that a complete list is the sign of complete pins. */
    withKernelError(`rename ${incomplete}`, () => renameSync(incomplete, path.join(bpffsDir, id)));
  } catch (error) {
    removePins(incomplete);
    throw error;
  } finally {
    object.close();
  }
  log.info('loaded eBPF programs and maps', { generation: id });
}

function pinAll(folder: string, descriptors: ReadonlyMap<string, number>): void {
  makeFolder(folder);
  for (const [name, fd] of descriptors) {
    if (!isPinnable(name)) continue;
    const pathname = path.join(folder, name);
    check(libbpf().bpf_obj_pin(fd, pathname), `pin ${pathname}`);
  }
}

function openPins(folder: string): Omit<Generation, 'id' | 'adopted'> {
  const opened: number[] = [];
  const close = (): void => opened.splice(0).forEach((fd) => closeSync(fd));
  const openAll = (subfolder: string): Map<string, number> => {
    const names = listFolder(path.join(folder, subfolder));
    return new Map(
      names.map((name) => {
        const fd = openPin(path.join(folder, subfolder, name));
        opened.push(fd);
        return [name, fd];
      }),
    );
  };
  try {
    return { maps: openAll('maps'), programs: openAll('programs'), close };
  } catch (error) {
    close();
    throw error;
  }
}

/** A file descriptor of what is pinned at `pathname`. */
export function openPin(pathname: string): number {
  return check(libbpf().bpf_obj_get(pathname), `open pin ${pathname}`, { pathname });
}
