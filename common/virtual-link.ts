import { execFileSync } from 'node:child_process';
import { existsSync, readdirSync, readlinkSync, statSync } from 'node:fs';
import { isIP } from 'node:net';
import { networkInterfaces } from 'node:os';

/**
 * True in any network namespace but that of process 1. Where that one can't be read (a sandbox), true in those that
 * have a name (ip-netns(8)).
 */
export function inOwnNetworkNamespace(): boolean {
  try {
    return readlinkSync('/proc/self/ns/net') !== readlinkSync('/proc/1/ns/net');
  } catch {
    return hasName(statSync('/proc/self/ns/net').ino);
  }
}

function hasName(namespaceInode: number): boolean {
  const folder = '/run/netns';
  if (!existsSync(folder)) return false;
  return readdirSync(folder).some(
    (name) => statSync(`${folder}/${name}`, { throwIfNoEntry: false })?.ino === namespaceInode,
  );
}

/** 127.0.0.0/8, ::1 and `localhost`. */
export function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || (isIP(host) === 4 && host.startsWith('127.'));
}

/** The interface of this machine that has the address, undefined when none has. */
export function interfaceWithAddress(address: string): string | undefined {
  const found = Object.entries(networkInterfaces()).find(([, addresses]) =>
    addresses?.some((each) => each.address === address),
  );
  return found?.[0];
}

/** The interface through which packets to an address (not a name) leave, undefined when there is no route. */
export function interfaceTowards(address: string): string | undefined {
  if (isIP(address) === 0) return undefined;
  return /\bdev (\S+)/.exec(ip('route', 'get', address))?.[1];
}

/**
 * Whether what is sent on the interface can't leave this machine by itself: a veth, or a bridge that has nothing but
 * veths as members. Everything else counts as a way out, a tap included: a VPN may be behind it.
 */
export function isVirtualLink(name: string): boolean {
  if (existsSync(`/sys/class/net/${name}/device`)) return false;
  const kind = linkKind(name);
  if (kind !== 'bridge') return kind === 'veth';
  return readdirSync(`/sys/class/net/${name}/brif`).every((member) => linkKind(member) === 'veth');
}

/** sysfs does not tell a veth from other virtual devices; `ip -details` does. */
function linkKind(name: string): string | undefined {
  return /^\s+(veth|bridge)\b/m.exec(ip('-details', 'link', 'show', 'dev', name))?.[1];
}

function ip(...args: string[]): string {
  try {
    return execFileSync('ip', args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] });
  } catch {
    return '';
  }
}
