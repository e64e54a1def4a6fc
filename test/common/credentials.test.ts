import { connect } from 'node:tls';
import { readFileSync } from 'node:fs';

import { ChannelCredentials, Server, type ServiceError, status } from '@grpc/grpc-js';
import test, { type ExecutionContext } from 'ava';

import { channelCredentials, serverCredentials, type TlsSettings } from '../../common/credentials.js';
import { ConfigError } from '../../common/errors.js';
import { v1 } from '../../common/proto.js';
import type { TlsFiles } from '../../common/tls.js';
import { Authority } from '../support/certificates.js';

const loopback = { host: '127.0.0.1', port: 0 };
const plain: TlsSettings = { tlsCert: undefined, tlsKey: undefined, tlsCa: undefined, insecure: false };

function settings({ certFile, keyFile, caFile }: TlsFiles): TlsSettings {
  return { tlsCert: certFile, tlsKey: keyFile, tlsCa: caFile, insecure: false };
}

function refused(t: ExecutionContext, read: () => unknown): string {
  const error = t.throws(read, { instanceOf: ConfigError });
  t.notRegex(error.message, /\n/);
  return error.message;
}

/** A server without any method: who gets past TLS is told UNIMPLEMENTED. */
async function serve(t: ExecutionContext, tls: TlsSettings): Promise<number> {
  const server = new Server();
  t.teardown(() => server.forceShutdown());
  return new Promise((resolve, reject) => {
    server.bindAsync('127.0.0.1:0', serverCredentials(tls, loopback), (error, port) => {
      if (error === null) resolve(port);
      else reject(error);
    });
  });
}

function call(
  t: ExecutionContext,
  port: number,
  credentials: ChannelCredentials,
): Promise<status | undefined> {
  const client = new v1.Inspect(`127.0.0.1:${port}`, credentials);
  t.teardown(() => client.close());
  return new Promise((resolve) => {
    client.getStatus({}, { deadline: Date.now() + 5000 }, (error: ServiceError | null) =>
      resolve(error?.code),
    );
  });
}

test('one of TLS and --insecure is needed, and only one', (t) => {
  t.is(
    refused(t, () => serverCredentials(plain, loopback)),
    'give --tls-cert, --tls-key and --tls-ca, or --insecure',
  );
  t.regex(
    refused(t, () => channelCredentials({ ...plain, tlsCert: 'a' }, loopback)),
    /go together: give all three/,
  );
  const both = { tlsCert: 'a', tlsKey: 'b', tlsCa: 'c', insecure: true };
  t.regex(
    refused(t, () => serverCredentials(both, loopback)),
    /^--insecure contradicts/,
  );
});

test('a file that is missing or no certificate is named', (t) => {
  const missing = { ...plain, tlsCert: '/nonexistent', tlsKey: '/nonexistent', tlsCa: '/nonexistent' };
  t.regex(
    refused(t, () => serverCredentials(missing, loopback)),
    /^--tls-cert '\/nonexistent': ENOENT/,
  );
  const self = import.meta.filename;
  const nonsense = { ...plain, tlsCert: self, tlsKey: self, tlsCa: self };
  t.true(refused(t, () => channelCredentials(nonsense, loopback)).includes(`--tls-cert '${self}'`));
});

test('--insecure is for loopback', (t) => {
  const insecure = { ...plain, insecure: true };
  for (const host of ['127.0.0.1', '127.1.2.3', '::1', 'localhost']) {
    t.false(serverCredentials(insecure, { host, port: 1 })._isSecure());
    t.notThrows(() => channelCredentials(insecure, { host, port: 1 }));
  }
});

test('mutual TLS: a client with a certificate of the same authority gets in', async (t) => {
  const authority = new Authority(t);
  const port = await serve(t, settings(authority.issue('controller')));
  const client = channelCredentials(settings(authority.issue('hv1')), { host: '127.0.0.1', port });
  t.is(await call(t, port, client), status.UNIMPLEMENTED);
});

test('mutual TLS: without certificate, with a foreign one, or in clear nobody gets in', async (t) => {
  const authority = new Authority(t);
  const port = await serve(t, settings(authority.issue('controller')));
  const own = authority.issue('hv1');
  const foreign = new Authority(t).issue('hv1');
  const address = { host: '127.0.0.1', port };
  const intruders = [
    ChannelCredentials.createSsl(readFileSync(own.caFile)),
    channelCredentials(settings({ ...foreign, caFile: own.caFile }), address),
    ChannelCredentials.createInsecure(),
  ];
  for (const credentials of intruders) t.is(await call(t, port, credentials), status.UNAVAILABLE);
});

test('a client does not talk to a server of another authority', async (t) => {
  const port = await serve(t, settings(new Authority(t).issue('controller')));
  const client = channelCredentials(settings(new Authority(t).issue('hv1')), { host: '127.0.0.1', port });
  t.is(await call(t, port, client), status.UNAVAILABLE);
});

test('TLS 1.2 is refused', async (t) => {
  const authority = new Authority(t);
  const port = await serve(t, settings(authority.issue('controller')));
  const { certFile, keyFile, caFile } = authority.issue('hv1');
  const pem = { cert: readFileSync(certFile), key: readFileSync(keyFile), ca: readFileSync(caFile) };
  const outcome = (maxVersion: 'TLSv1.2' | 'TLSv1.3') =>
    new Promise<string>((resolve) => {
      const socket = connect({ host: '127.0.0.1', port, ...pem, maxVersion, ALPNProtocols: ['h2'] });
      socket.on('secureConnect', () => {
        resolve(socket.getProtocol() ?? '');
        socket.destroy();
      });
      socket.on('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? error.message));
    });
  t.is(await outcome('TLSv1.3'), 'TLSv1.3');
  t.is(await outcome('TLSv1.2'), 'ERR_SSL_TLSV1_ALERT_PROTOCOL_VERSION');
});
