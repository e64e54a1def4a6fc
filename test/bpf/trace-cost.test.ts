import { execFileSync } from 'node:child_process';
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';

import test from 'ava';

import { listObject } from '../../agent/libbpf/kernel-object.js';
import { silentLogger } from '../../common/log.js';
import { packageRoot } from '../../common/package-root.js';
import { vifObjectFile } from './harness.js';

/** In the place of bpf/trace.h: as if nobody had thought of tracing. */
const noTracing = `
#pragma once
#include <linux/bpf.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>
#include "types.h"
#define trace(...)
#define send_copy bpf_clone_redirect
#define get_tunnel_key(skb, key, flags) bpf_skb_get_tunnel_key(skb, key, sizeof(*(key)), flags)
#define set_tunnel_key(skb, key, flags) bpf_skb_set_tunnel_key(skb, key, sizeof(*(key)), flags)
#define get_tunnel_options bpf_skb_get_tunnel_opt
#define set_tunnel_options bpf_skb_set_tunnel_opt
`;

/** How many instructions each function has, by name. */
function instructions(object: string): Readonly<Record<string, number>> {
  const symbols = execFileSync('llvm-readelf', ['-s', object], { encoding: 'utf8' });
  const functions = symbols.matchAll(/^ *\d+: \w+ +(\d+) FUNC .* (\S+)$/gm);
  return Object.fromEntries(Array.from(functions, ([, bytes, name = '']) => [name, Number(bytes) / 8]));
}

test('what packets run through has not one instruction for tracing', (t) => {
  const folder = mkdtempSync(path.join(os.tmpdir(), 'iovn-untraced-'));
  t.teardown(() => rmSync(folder, { recursive: true }));
  cpSync(path.join(packageRoot, 'bpf'), folder, { recursive: true });
  writeFileSync(path.join(folder, 'trace.h'), noTracing);
  const object = path.join(folder, 'vif.o');
  const includes = [`-I${folder}`, `-I/usr/include/${os.machine()}-linux-gnu`];
  const flags = ['-O2', '-g', '-target', 'bpf', '-mcpu=v3', ...includes];
  execFileSync('clang', [...flags, '-c', path.join(folder, 'vif.bpf.c'), '-o', object]);
  const counts = instructions(object);
  t.true((counts['vif_ingress'] ?? 0) > 1000);
  t.deepEqual(instructions(vifObjectFile), counts);
  const { maps } = listObject('vif', readFileSync(vifObjectFile), silentLogger);
  t.deepEqual(
    maps.filter((name) => name.startsWith('trace_')),
    [],
  );
});
