import { mkdtempSync } from 'node:fs';
import path from 'node:path';

import type { ExecutionContext } from 'ava';

import type { AttachMode } from '../../agent/data-plane.js';
import { type KernelDataPlane, openDataPlane } from '../../agent/libbpf/kernel-data-plane.js';
import type { MapSizes } from '../../agent/libbpf/kernel-object.js';
import { type Logger, silentLogger } from '../../common/log.js';
import { vifObjectFile } from '../bpf/harness.js';
import { privateBpffs } from '../support/private-namespace.js';

export const modes = ['tcx', 'clsact'] as const;

export interface OpenOptions {
  readonly bpffsDir: string;
  readonly attachMode?: AttachMode | 'auto';
  readonly maxPorts?: number;
  readonly mapSizes?: MapSizes;
  readonly log?: Logger;
  readonly objectFile?: string;
}

/** A bpffs folder that nobody else uses. */
export function makeBpffsDir(): string {
  return mkdtempSync(path.join(privateBpffs, 'iovn'));
}

/** Opens a data plane that is closed, though not destroyed, when the test ends. */
export function open(t: ExecutionContext, options: OpenOptions): KernelDataPlane {
  const plane = openDataPlane({
    objectFile: vifObjectFile,
    attachMode: 'auto',
    maxPorts: 64,
    log: silentLogger,
    ...options,
  });
  t.teardown(() => plane.close());
  return plane;
}

export function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('hex');
}
