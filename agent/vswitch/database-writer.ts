import type { Logger } from '../../common/log.js';
import { errorMessage } from '../../common/errors.js';
import { assertLock, type Operation } from '../../ovsdb/operations.js';
import type { Lock } from '../../ovsdb/lock.js';
import { vswitchdAnswers } from './answers.js';
import { installedMarks } from './installed-marks.js';
import { integrationBridgeOperations } from './integration-bridge.js';
import { progressMarks } from './progress-marks.js';
import type { Links } from '../links.js';
import type { KernelProgress } from '../local-node.js';
import type { VifInterface } from './interfaces.js';
import type { NodeConfig } from './node-config.js';
import type { VswitchDatabase } from './tables.js';
import type { Topology } from './topology.js';

/** ovs-vswitchd holds this lock while it runs (ovs-vswitchd(8)). */
const vswitchdLock = 'ovs_vswitchd';
const transactTimeoutMs = 2000;
/** A lock that nobody holds is given within a round trip. */
const lockPatienceMs = 2000;

export interface DatabaseRound extends KernelProgress {
  readonly topology: Topology;
  readonly config: NodeConfig;
  readonly links: Links;
  readonly interfaces: readonly VifInterface[];
  readonly nowMs: number;
}

/** Writes the agent's part of the local database: what is always its own, and what is ovs-vswitchd's where none runs. */
export class DatabaseWriter {
  readonly #database: VswitchDatabase;
  readonly #lock: Lock;
  readonly #log: Logger;
  #withoutLockSinceMs: number | undefined;
  #toldOfHolder = false;

  constructor(database: VswitchDatabase, log: Logger) {
    this.#database = database;
    this.#lock = database.lock(vswitchdLock);
    this.#log = log;
  }

  get actsForVswitchd(): boolean {
    return this.#lock.held;
  }

  /** Calls `listener` when the lock is got or lost. Returns how to stop that. */
  onChange(listener: () => void): () => void {
    return this.#lock.onChange((held) => {
      this.#toldOfHolder = false;
      if (held) this.#log.info('acting for ovs-vswitchd in the local database');
      listener();
    });
  }

  /** One transaction with everything that differs, cur_cfg last; none when nothing does. False when it failed. */
  async write(round: DatabaseRound): Promise<boolean> {
    this.#noteLock(round.nowMs);
    const operations = this.#operations(round);
    if (operations.length === 0) return true;
    if (this.#database.status.state !== 'connected') return true;
    try {
      await this.#database.transact(operations, { timeoutMs: transactTimeoutMs });
      return true;
    } catch (error) {
      this.#log.warn('could not write to the local database', { error: errorMessage(error) });
      return false;
    }
  }

  /** Says once that somebody else has the lock; this is also how a second agent on one database is noticed. */
  #noteLock(nowMs: number): void {
    if (this.#lock.held || this.#database.status.state !== 'connected') {
      this.#withoutLockSinceMs = undefined;
      return;
    }
    this.#withoutLockSinceMs ??= nowMs;
    if (this.#toldOfHolder || nowMs - this.#withoutLockSinceMs < lockPatienceMs) return;
    this.#toldOfHolder = true;
    this.#log.warn(
      'leaving the columns of ovs-vswitchd alone: ovs-vswitchd or another agent holds its lock',
      {
        lock: vswitchdLock,
      },
    );
  }

  #operations({
    topology,
    config,
    links,
    interfaces,
    installed,
    progress,
    nowMs,
  }: DatabaseRound): readonly Operation[] {
    const rows = topology.bridges.flatMap((bridge) => bridge.interfaces);
    const marks = [
      ...(installed === undefined ? [] : installedMarks(rows, installed, nowMs)),
      ...(progress ? progressMarks(topology, config.integrationBridge, progress, nowMs) : []),
    ];
    const bridge =
      config.chassis === undefined ? [] : integrationBridgeOperations(topology, config.integrationBridge);
    if (!this.#lock.held) return [...marks, ...bridge];
    const errors = interfaces.flatMap(({ name, error }) =>
      error === undefined ? [] : [[name, error] as const],
    );
    const answers = vswitchdAnswers(topology, links, new Map(errors));
    return answers.length === 0
      ? [...marks, ...bridge]
      : [assertLock(vswitchdLock), ...marks, ...bridge, ...answers];
  }
}
