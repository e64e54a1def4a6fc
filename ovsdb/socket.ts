import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import net from 'node:net';
import tls from 'node:tls';

import { errorMessage } from '../common/errors.js';
import type { TlsFiles } from '../common/tls.js';
import { SessionError } from './errors.js';
import type { Remote } from './remotes.js';

/** Connects to `remote`, TLS handshake included. Throws SessionError (connect_failed), also after `timeoutMs` and on abort. */
export async function openSocket(
  remote: Remote,
  tlsFiles: TlsFiles | undefined,
  timeoutMs: number,
  signal: AbortSignal,
): Promise<net.Socket> {
  const deadline = new AbortController();
  const onAbort = (): void => deadline.abort();
  const timer = setTimeout(onAbort, timeoutMs);
  signal.addEventListener('abort', onAbort);
  let socket: net.Socket | undefined;
  try {
    socket = remote.kind === 'ssl' ? await startTls(remote, tlsFiles) : startPlain(remote);
    await once(socket, remote.kind === 'ssl' ? 'secureConnect' : 'connect', {
      signal: deadline.signal,
    });
    socket.setNoDelay(true);
    socket.setKeepAlive(true, 30_000);
    return socket;
  } catch (error) {
    socket?.destroy();
    const reason =
      deadline.signal.aborted && !signal.aborted
        ? `no connection within ${timeoutMs} ms`
        : errorMessage(error);
    throw new SessionError('connect_failed', `${remote.text}: ${reason}`, error);
  } finally {
    clearTimeout(timer);
    signal.removeEventListener('abort', onAbort);
  }
}

function startPlain(remote: Remote): net.Socket {
  return remote.kind === 'unix'
    ? net.connect({ path: remote.path })
    : net.connect({ host: remote.host, port: remote.port });
}

/**
 * The files are read anew for each connection, so that renewed certificates take effect. As in OVS, the peer's
 * certificate must be signed by the authority, and its name is not compared with the address: OVS's certificates
 * name no host.
 */
async function startTls(
  remote: Remote & { readonly kind: 'ssl' | 'tcp' },
  files: TlsFiles | undefined,
): Promise<tls.TLSSocket> {
  if (files === undefined) throw new Error('an ssl: remote needs a certificate, a key and a CA certificate');
  const [cert, key, ca] = await Promise.all([
    readFile(files.certFile),
    readFile(files.keyFile),
    readFile(files.caFile),
  ]);
  return tls.connect({
    host: remote.host,
    port: remote.port,
    cert,
    key,
    ca,
    minVersion: 'TLSv1.2',
    rejectUnauthorized: true,
    checkServerIdentity: () => undefined,
  });
}
