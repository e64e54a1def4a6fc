import { readFileSync } from 'node:fs';
import os from 'node:os';

import { check, kernelError } from './kernel-error.js';
import { libbpf, writePointer } from './native.js';

export interface ProgramInfo {
  readonly id: number;
  /** Instructions that the verifier walked through, over all paths (bpf_prog_info.verified_insns). */
  readonly verifiedInstructions: number;
  /** Instructions of the program after the kernel rewrote it, 8 bytes each. */
  readonly instructions: number;
  /** Digest of its instructions, 16 hex digits. */
  readonly tag: string;
  /** 0 unless the kernel counts (kernel.bpf_stats_enabled). */
  readonly runs: bigint;
  readonly runNs: bigint;
}

/** Reads `struct bpf_prog_info` of a program. */
export function readProgramInfo(fd: number): ProgramInfo {
  const info = Buffer.alloc(232);
  const length = Buffer.alloc(4);
  length.writeUInt32LE(info.length);
  check(libbpf().bpf_obj_get_info_by_fd(fd, info, length), 'read the description of a program');
  return {
    id: info.readUInt32LE(4),
    verifiedInstructions: info.readUInt32LE(216),
    instructions: info.readUInt32LE(20) / 8,
    tag: info.toString('hex', 8, 16),
    runs: info.readBigUInt64LE(200),
    runNs: info.readBigUInt64LE(192),
  };
}

/** What the kernel charges for a program (proc_pid_fdinfo(5)). */
export function readProgramMemory(fd: number): number {
  const memlock = /^memlock:\s*(\d+)$/m.exec(readFileSync(`/proc/self/fdinfo/${fd}`, 'utf8'));
  return Number(memlock?.[1] ?? 0);
}

/** What the program sees in `struct __sk_buff` besides the packet. */
export interface TestContext {
  /** An interface of this network namespace; the kernel's loopback (1) when absent. */
  readonly ifindex?: number;
  readonly ingressIfindex?: number;
  readonly mark?: number;
  readonly gsoSegments?: number;
  readonly gsoSize?: number;
}

export interface TestRun {
  /** What the program returned: TC_ACT_OK is 0, TC_ACT_SHOT 2, TC_ACT_REDIRECT 7, TC_ACT_UNSPEC -1. */
  readonly verdict: number;
  readonly packet: Uint8Array;
  readonly mark: number;
  /** The mean of the runs. */
  readonly durationNs: number;
}

/** Room for what a program puts in front of or behind a packet. */
const growthBytes = 512;
const skbSize = 192;

/**
 * Runs a tc program on a packet without sending it (BPF_PROG_TEST_RUN), `repeat` times on the same packet. Counters
 * and other side effects are real; a redirect is only returned, a clone_redirect is carried out.
 */
export function testRun(fd: number, packet: Uint8Array, context: TestContext = {}, repeat = 1): TestRun {
  const input = Buffer.from(packet);
  const output = Buffer.alloc(packet.length + growthBytes);
  const skb = Buffer.alloc(skbSize);
  skb.writeUInt32LE(context.mark ?? 0, 8);
  skb.writeUInt32LE(context.ingressIfindex ?? 0, 36);
  skb.writeUInt32LE(context.ifindex ?? 0, 40);
  skb.writeUInt32LE(context.gsoSegments ?? 0, 164);
  skb.writeUInt32LE(context.gsoSize ?? 0, 176);
  const skbOut = Buffer.alloc(skbSize);

  const options = Buffer.alloc(80);
  options.writeBigUInt64LE(80n, 0);
  writePointer(options, 8, input);
  writePointer(options, 16, output);
  options.writeUInt32LE(input.length, 24);
  options.writeUInt32LE(output.length, 28);
  writePointer(options, 32, skb);
  writePointer(options, 40, skbOut);
  options.writeUInt32LE(skbSize, 48);
  options.writeUInt32LE(skbSize, 52);
  options.writeInt32LE(repeat, 60);
  const result = libbpf().bpf_prog_test_run_opts(fd, options);
  if (result === -os.constants.errno.ENODEV) {
    throw kernelError(`run a program on interface ${context.ifindex ?? 0}`, -result, { ...context });
  }
  check(result, `run a program on a packet of ${packet.length} bytes`);
  return {
    verdict: options.readInt32LE(56),
    packet: Uint8Array.from(output.subarray(0, options.readUInt32LE(28))),
    mark: skbOut.readUInt32LE(8),
    durationNs: options.readUInt32LE(64),
  };
}
