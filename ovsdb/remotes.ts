import { isIP, isIPv6 } from 'node:net';

import { ConfigError } from '../common/errors.js';

/** One server to connect to (ovsdb(7), "Active Connections"). `text` is how the user wrote it. */
export type Remote =
  | { readonly kind: 'unix'; readonly text: string; readonly path: string }
  | { readonly kind: 'tcp' | 'ssl'; readonly text: string; readonly host: string; readonly port: number };

/** OVSDB's registered port, where a remote names none. */
const defaultPort = 6640;

/** Reads `unix:PATH`, `tcp:IP[:PORT]`, `ssl:IP[:PORT]` (IPv6 in brackets, host names allowed), comma separated. Throws ConfigError. */
export function parseRemotes(text: string): readonly Remote[] {
  return text.split(',').map((part) => parseRemote(part.trim(), text));
}

function parseRemote(part: string, whole: string): Remote {
  const colon = part.indexOf(':');
  const kind = part.slice(0, Math.max(colon, 0));
  const rest = part.slice(colon + 1);
  if (kind === 'unix') {
    if (rest === '') throw malformed(part, whole, 'the path is missing');
    return { kind, text: part, path: rest };
  }
  if (kind === 'tcp' || kind === 'ssl') return { kind, text: part, ...parseAddress(rest, part, whole) };
  throw malformed(part, whole, 'expected unix:PATH, tcp:IP:PORT or ssl:IP:PORT');
}

function parseAddress(address: string, part: string, whole: string): { host: string; port: number } {
  const match = /^(?:\[([^\]]*)\]|([^:[\]]*))(?::(.*))?$/.exec(address);
  if (match === null) throw malformed(part, whole, 'an IPv6 address must be in brackets');
  const [, bracketed, plain, portText] = match;
  const host = bracketed ?? plain ?? '';
  const isHost = bracketed === undefined ? isIP(host) === 4 || isHostName(host) : isIPv6(host);
  if (!isHost) throw malformed(part, whole, `"${host}" is not an address`);
  const port = portText === undefined ? defaultPort : parsePort(portText);
  if (port === undefined) throw malformed(part, whole, `"${portText ?? ''}" is not a port`);
  return { host, port };
}

function isHostName(text: string): boolean {
  return /^[A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9_])?$/.test(text) && /[A-Za-z]/.test(text);
}

function parsePort(text: string): number | undefined {
  const port = /^\d{1,5}$/.test(text) ? Number(text) : 0;
  return port >= 1 && port <= 65_535 ? port : undefined;
}

function malformed(part: string, whole: string, reason: string): ConfigError {
  return new ConfigError(`OVSDB remote "${part}": ${reason}`, { remote: whole, part });
}
