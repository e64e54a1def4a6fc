import { readFileSync } from 'node:fs';
import path from 'node:path';

import test, { type ExecutionContext } from 'ava';

import { ConfigError } from '../../common/errors.js';
import { insertNamed, names, open, prepareFolder, startServer } from './real-server.js';
import { command, eventually, until } from './support.js';

test('tcp', async (t) => {
  const { folder } = await startServer(t, '--remote=ptcp:0:127.0.0.1');
  const database = open(t, `tcp:127.0.0.1:${await listeningPort(folder)}`);
  await database.populated();
  await insertNamed(database, 'a');
  await until(database, 'the row is there', () => names(database)[0] === 'a');
  t.is(database.status.state, 'connected');
});

/** The port that the kernel chose for a remote with port 0, from the server's log. */
async function listeningPort(folder: string): Promise<string> {
  let port: string | undefined;
  await eventually('the server listens', () => {
    const log = readFileSync(path.join(folder, 'log'), 'utf8');
    port = /0:127\.0\.0\.1: listening on port (\d+)/.exec(log)?.[1];
    return port !== undefined;
  });
  return port ?? '';
}

/** An authority in `folder` with certificates for "server" and "client"; each is NAME.pem and NAME.key. */
async function createCertificates(folder: string, authority: string, ...subjects: string[]): Promise<void> {
  const file = (name: string) => path.join(folder, name);
  const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'];
  await command(
    'openssl',
    'req',
    '-x509',
    ...key,
    '-days',
    '2',
    '-subj',
    `/CN=${authority}`,
    '-keyout',
    file(`${authority}.key`),
    '-out',
    file(`${authority}.pem`),
  );
  for (const subject of subjects) {
    await command(
      'openssl',
      'req',
      ...key,
      '-subj',
      `/CN=${subject} id:4711`,
      '-keyout',
      file(`${subject}.key`),
      '-out',
      file(`${subject}.csr`),
    );
    await command(
      'openssl',
      'x509',
      '-req',
      '-days',
      '2',
      '-in',
      file(`${subject}.csr`),
      '-CAcreateserial',
      '-CA',
      file(`${authority}.pem`),
      '-CAkey',
      file(`${authority}.key`),
      '-out',
      file(`${subject}.pem`),
    );
  }
}

function tlsFiles(folder: string, subject: string, authority: string) {
  return {
    certFile: path.join(folder, `${subject}.pem`),
    keyFile: path.join(folder, `${subject}.key`),
    caFile: path.join(folder, `${authority}.pem`),
  };
}

async function startTlsServer(
  t: ExecutionContext,
): Promise<{ readonly folder: string; readonly remote: string }> {
  const { folder } = prepareFolder(t);
  await createCertificates(folder, 'ca', 'server', 'client');
  await createCertificates(folder, 'stranger', 'intruder');
  const { folder: serverFolder } = await startServer(
    t,
    '--remote=pssl:0:127.0.0.1',
    `--private-key=${path.join(folder, 'server.key')}`,
    `--certificate=${path.join(folder, 'server.pem')}`,
    `--ca-cert=${path.join(folder, 'ca.pem')}`,
  );
  return { folder, remote: `ssl:127.0.0.1:${await listeningPort(serverFolder)}` };
}

test('ssl: both sides check the other', async (t) => {
  const { folder, remote } = await startTlsServer(t);
  const database = open(t, remote, { tls: tlsFiles(folder, 'client', 'ca') });
  await database.populated();
  await insertNamed(database, 'a');
  await until(database, 'the row is there', () => names(database)[0] === 'a');
  const wrongServer = open(t, remote, { tls: tlsFiles(folder, 'client', 'stranger') });
  await until(wrongServer, 'refuses the server', ({ status }) => status.state === 'backoff');
  t.regex(wrongServer.status.error ?? '', /certificate/);
  const wrongClient = open(t, remote, { tls: tlsFiles(folder, 'intruder', 'ca') });
  await until(wrongClient, 'is refused', ({ status }) => status.state === 'backoff');
  t.false(wrongClient.status.populated);
  const noFiles = open(t, remote, { tls: tlsFiles(folder, 'nobody', 'ca') });
  await until(noFiles, 'names the file', ({ status }) => status.error?.includes('nobody') ?? false);
  t.throws(() => open(t, remote), { instanceOf: ConfigError });
});
