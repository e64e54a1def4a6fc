import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';

import type { ExecutionContext } from 'ava';

import type { TlsFiles } from '../../common/tls.js';

/** A certificate authority in a folder of its own, gone after the test. */
export class Authority {
  readonly #folder: string;

  constructor(t: ExecutionContext) {
    this.#folder = mkdtempSync(path.join(tmpdir(), 'iovn-ca-'));
    t.teardown(() => rmSync(this.#folder, { recursive: true }));
    openssl(
      ...['req', '-x509', ...newKey, '-subj', '/CN=test authority', '-days', '2'],
      ...['-keyout', this.#file('ca.key'), '-out', this.#file('ca.pem')],
    );
  }

  /** A certificate for `name`, valid for loopback addresses, too. */
  issue(name: string): TlsFiles {
    const [key, request, certificate, extensions] = ['key', 'csr', 'pem', 'ext'].map((kind) =>
      this.#file(`${name}.${kind}`),
    ) as [string, string, string, string];
    writeFileSync(extensions, `subjectAltName=DNS:${name},DNS:localhost,IP:127.0.0.1,IP:::1\n`);
    openssl('req', ...newKey, '-subj', `/CN=${name}`, '-keyout', key, '-out', request);
    openssl(
      ...['x509', '-req', '-in', request, '-out', certificate, '-days', '2', '-extfile', extensions],
      ...['-CA', this.#file('ca.pem'), '-CAkey', this.#file('ca.key'), '-CAcreateserial'],
    );
    return { certFile: certificate, keyFile: key, caFile: this.#file('ca.pem') };
  }

  #file(name: string): string {
    return path.join(this.#folder, name);
  }
}

const newKey = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'] as const;

function openssl(...args: string[]): void {
  execFileSync('openssl', args, { stdio: ['ignore', 'ignore', 'pipe'] });
}
