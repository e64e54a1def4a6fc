import type { Ifindex } from '../../common/addresses.js';
import { Backoff, sleep } from '../../common/backoff.js';
import { errorMessage } from '../../common/errors.js';
import type { Logger } from '../../common/log.js';
import { type NetlinkSocket, openNetlinkSocket } from '../libbpf/netlink-socket.js';
import { Readiness } from '../libbpf/readiness.js';
import { decodeLink, decodeMessages, encodeGetLink, type Link, type Message, messageTypes } from './codec.js';
import { LinkTable } from './link-table.js';
import { readLinks } from './requests.js';

/** The interfaces of this network namespace, kept current by the kernel's notifications. */
export interface LinkMonitor {
  readonly links: ReadonlyMap<string, Link>;
  readonly byIndex: ReadonlyMap<Ifindex, Link>;
  /** Calls `listener` after changes have been taken in, several at once perhaps. Returns how to stop that. */
  onChange(listener: () => void): () => void;
  /** Takes in what the kernel has notified so far: after it `links` are at least as new as anything that was known before. Calls no listener. */
  refresh(): void;
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
/** Between two of these others get their turn. */
const datagramsPerTurn = 256;

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
  readonly #buffer = Buffer.alloc(datagramBytes);
  #sequence = 0;
  /** How often notifications were lost. */
  #lost = 0;
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

  refresh(): void {
    this.#receive(Number.POSITIVE_INFINITY);
  }

  async #run(): Promise<void> {
    const readiness = new Readiness([this.#socket.fd]);
    const wake = (): void => readiness.wake();
    const backoff = new Backoff({ initialMs: 50, maximumMs: 5000 });
    this.#signal.addEventListener('abort', wake);
    try {
      while (!this.#signal.aborted) {
        await readiness.wait();
        const lost = this.#lost;
        if (this.#receive(datagramsPerTurn)) for (const listener of this.#listeners) listener();
        if (this.#lost === lost) backoff.reset();
        else await sleep(backoff.nextMs(), this.#signal);
      }
    } finally {
      this.#signal.removeEventListener('abort', wake);
      readiness.close();
      this.#socket.close();
    }
  }

  /** Takes in what has come, so many datagrams at most. Returns whether anything changed. */
  #receive(datagrams: number): boolean {
    let changed = false;
    for (let taken = 0; taken < datagrams; taken++) {
      let length: number | undefined;
      try {
        length = this.#socket.receiveQueued(this.#buffer);
      } catch (error) {
        /* ENOBUFS: more changed than the socket's buffer holds. */
        this.#lost += 1;
        this.#log.warn('notifications of interfaces were lost, reading all of them', {
          error: errorMessage(error),
        });
        this.#startDump();
        break;
      }
      if (length === undefined) break;
      changed = this.#takeIn(decodeMessages(this.#buffer.subarray(0, length))) || changed;
    }
    return changed;
  }

  #takeIn(messages: readonly Message[] | undefined): boolean {
    if (messages === undefined) {
      this.#startDump();
      return false;
    }
    let changed = false;
    for (const message of messages) changed = this.#takeInOne(message) || changed;
    return changed;
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
