import { isIPv6 } from 'node:net';

import { ConfigError } from './errors.js';

/** Where to listen, or whom to call. Port 0 lets the kernel choose one when listening. */
export interface ListenAddress {
  /** An address, or a name; IPv6 without brackets. */
  readonly host: string;
  readonly port: number;
}

const bracketed = /^\[([^\]]+)\]:(\d{1,5})$/;
const plain = /^([^:[\]\s]+):(\d{1,5})$/;

/** Reads `HOST:PORT`, an IPv6 address in brackets. Throws ConfigError for anything else. */
export function parseListenAddress(text: string): ListenAddress {
  const six = bracketed.exec(text);
  const match = six ?? plain.exec(text);
  const host = match?.[1] ?? '';
  const port = Number(match?.[2] ?? Number.NaN);
  if (match === null || !(port <= 65535) || (six !== null && !isIPv6(host))) {
    throw new ConfigError('expected HOST:PORT, such as 127.0.0.1:6650 or [::1]:6650');
  }
  return { host, port };
}

/** Reads one or more `HOST:PORT` with commas between them. Throws ConfigError. */
export function parseListenAddresses(text: string): readonly ListenAddress[] {
  return text.split(',').map((part) => parseListenAddress(part.trim()));
}

/** The inverse of `parseListenAddress`. */
export function formatListenAddress({ host, port }: ListenAddress): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
}
