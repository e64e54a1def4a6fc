import { read } from 'node:fs';
import { promisify } from 'node:util';

import type { Ifindex } from '../../common/addresses.js';
import { Backoff, sleep } from '../../common/backoff.js';
import { errorMessage } from '../../common/errors.js';
import type { Logger } from '../../common/log.js';
import { type NetlinkSocket, openNetlinkSocket } from '../libbpf/netlink-socket.js';
import { decodeLink, decodeMessages, encodeGetLink, type Link, type Message, messageTypes } from './codec.js';
import { LinkTable } from './link-table.js';
import { readLinks } from './requests.js';

/** The interfaces of this network namespace, kept current by the kernel's notifications. */
export interface LinkMonitor {
  readonly links: ReadonlyMap<string, Link>;
  readonly byIndex: ReadonlyMap<Ifindex, Link>;
  /** Calls `listener` after changes have been taken in, several at once perhaps. Returns how to stop that. */
  onChange(listener: () => void): () => void;
  /** Resolves when the monitor has stopped after its signal's abort. */
  readonly stopped: Promise<void>;
}

export interface LinkMonitorOptions {
  readonly signal: AbortSignal;
  readonly log: Logger;
}

/** RTMGRP_*: interfaces, and addresses and routes of both families, of which it is only told that they changed. */
const groups = { link: 0x1, ip4Address: 0x10, ip4Route: 0x40, ip6Address: 0x100, ip6Route: 0x400 } as const;
const allGroups = Object.values(groups).reduce((sum, bit) => sum | bit, 0);
const routingMessages: ReadonlySet<number> = new Set([
  messageTypes.newAddress,
  messageTypes.deleteAddress,
  messageTypes.newRoute,
  messageTypes.deleteRoute,
]);
const datagramBytes = 64 * 1024;
const loopbackIfindex = 1 as Ifindex;
const readAsync = promisify(read);

/** Reads all interfaces before it returns. Throws KernelError when there is no netlink. */
export function openLinkMonitor(options: LinkMonitorOptions): LinkMonitor {
  return new NetlinkLinkMonitor(options);
}

class NetlinkLinkMonitor implements LinkMonitor {
  readonly stopped: Promise<void>;
  readonly #log: Logger;
  readonly #signal: AbortSignal;
  readonly #socket: NetlinkSocket;
  readonly #table: LinkTable;
  readonly #listeners = new Set<() => void>();
  #sequence = 0;
  /** Sequence of the dump under way, and the interfaces that it has shown so far. */
  #dump: { readonly sequence: number; readonly seen: Set<Ifindex>; repeat: boolean } | undefined;

  constructor({ signal, log }: LinkMonitorOptions) {
    this.#log = log;
    this.#signal = signal;
    /* Subscribed before the first dump: what changes in between is notified. */
    this.#socket = openNetlinkSocket({ groups: allGroups, timeout: false });
    try {
      this.#table = new LinkTable(readLinks());
    } catch (error) {
      this.#socket.close();
      throw error;
    }
    this.stopped = this.#run();
  }

  get links(): ReadonlyMap<string, Link> {
    return this.#table.byName;
  }

  get byIndex(): ReadonlyMap<Ifindex, Link> {
    return this.#table.byIndex;
  }

  onChange(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }

  /**
   * Reads in a thread of libuv's pool, which sleeps in the kernel. It has to be woken for the process to end, since
   * libuv waits for its threads: any answer of the kernel does that.
   */
  async #run(): Promise<void> {
    const wake = (): void => this.#socket.send(encodeGetLink(++this.#sequence, loopbackIfindex));
    const buffer = Buffer.alloc(datagramBytes);
    const backoff = new Backoff({ initialMs: 50, maximumMs: 5000 });
    this.#signal.addEventListener('abort', wake);
    process.on('exit', wake);
    try {
      while (!this.#signal.aborted) {
        try {
          const { bytesRead } = await readAsync(this.#socket.fd, buffer, 0, buffer.length, null);
          this.#takeIn(decodeMessages(buffer.subarray(0, bytesRead)));
          backoff.reset();
        } catch (error) {
          /* ENOBUFS: more changed than the socket's buffer holds. */
          this.#log.warn('notifications of interfaces were lost, reading all of them', {
            error: errorMessage(error),
          });
          this.#startDump();
          await sleep(backoff.nextMs(), this.#signal);
        }
      }
    } finally {
      process.off('exit', wake);
      this.#signal.removeEventListener('abort', wake);
      this.#socket.close();
    }
  }

  #takeIn(messages: readonly Message[] | undefined): void {
    if (messages === undefined) {
      this.#startDump();
      return;
    }
    let changed = false;
    for (const message of messages) changed = this.#takeInOne(message) || changed;
    if (changed) for (const listener of this.#listeners) listener();
  }

  #takeInOne(message: Message): boolean {
    const { type, sequence, payload, interrupted } = message;
    const dump = this.#dump?.sequence === sequence ? this.#dump : undefined;
    if (dump !== undefined && interrupted) dump.repeat = true;
    if (type === messageTypes.done && dump !== undefined) return this.#endDump(dump.seen, dump.repeat);
    if (routingMessages.has(type)) return true;
    if (type !== messageTypes.newLink && type !== messageTypes.deleteLink) return false;
    const link = decodeLink(payload);
    if (link === undefined) return false;
    if (type === messageTypes.deleteLink) {
      this.#dump?.seen.delete(link.ifindex);
      this.#refresh(this.#table.stalePeers(link.ifindex, undefined));
      return this.#table.remove(link.ifindex);
    }
    this.#dump?.seen.add(link.ifindex);
    this.#refresh(this.#table.stalePeers(link.ifindex, link));
    return this.#table.put(link);
  }

  /** The kernel does not notify of the end that stays when the other end of a veth moves: ask. */
  #refresh(ifindices: readonly Ifindex[]): void {
    for (const ifindex of ifindices) this.#socket.send(encodeGetLink(++this.#sequence, ifindex));
  }

  #startDump(): void {
    if (this.#dump !== undefined) {
      this.#dump.repeat = true;
      return;
    }
    this.#dump = { sequence: ++this.#sequence, seen: new Set(), repeat: false };
    this.#socket.send(encodeGetLink(this.#dump.sequence));
  }

  #endDump(seen: ReadonlySet<Ifindex>, repeat: boolean): boolean {
    this.#dump = undefined;
    if (repeat) {
      this.#startDump();
      return false;
    }
    return this.#table.keepOnly(seen);
  }
}
