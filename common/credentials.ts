import { readFileSync } from 'node:fs';
import { createSecureContext, type SecureContextOptions } from 'node:tls';

import { ChannelCredentials, ServerCredentials } from '@grpc/grpc-js';

import { option } from './config.js';
import { ConfigError, errorMessage } from './errors.js';
import { formatListenAddress, type ListenAddress } from './listen-address.js';
import type { TlsFiles } from './tls.js';
import {
  inOwnNetworkNamespace,
  interfaceTowards,
  interfaceWithAddress,
  isLoopback,
  isVirtualLink,
} from './virtual-link.js';

function fileOption(flag: `--${string}`, description: string) {
  return option({ flag, argument: 'FILE', description, parse: (text) => text });
}

/** The settings that decide how gRPC is protected, shared by every executable. */
export const tlsOptions = {
  tlsCert: fileOption('--tls-cert', 'PEM file with the certificate of this side'),
  tlsKey: fileOption('--tls-key', 'PEM file with its private key'),
  tlsCa: fileOption('--tls-ca', "PEM file with the authority that signs the peers' certificates"),
  insecure: option({
    flag: '--insecure',
    description: 'no TLS: on loopback, or inside a network namespace or a virtual link only',
  }),
};

export interface TlsSettings {
  readonly tlsCert: string | undefined;
  readonly tlsKey: string | undefined;
  readonly tlsCa: string | undefined;
  readonly insecure: boolean;
}

/** The three files, undefined when none is set. Throws ConfigError when only some are. */
export function tlsFiles({ tlsCert, tlsKey, tlsCa }: TlsSettings): TlsFiles | undefined {
  if (tlsCert === undefined && tlsKey === undefined && tlsCa === undefined) return undefined;
  if (tlsCert === undefined || tlsKey === undefined || tlsCa === undefined) {
    throw new ConfigError('--tls-cert, --tls-key and --tls-ca go together: give all three');
  }
  return { certFile: tlsCert, keyFile: tlsKey, caFile: tlsCa };
}

/**
 * How a gRPC server on `listen` protects itself: TLS 1.3 with a certificate demanded from the client, or nothing
 * with --insecure. Throws ConfigError when that is not clear, not allowed there, or a file can't be used.
 */
export function serverCredentials(settings: TlsSettings, listen: ListenAddress): ServerCredentials {
  const files = chosenFiles(settings);
  if (files !== undefined) return new MutualTlsServerCredentials(secureContextOptions(files));
  const allowed =
    isLoopback(listen.host) || inOwnNetworkNamespace() || isVirtual(interfaceWithAddress(listen.host));
  if (!allowed) throw insecureRefused(`listen on ${formatListenAddress(listen)}`);
  return ServerCredentials.createInsecure();
}

/** How a gRPC client that calls `address` protects itself; otherwise as `serverCredentials`. */
export function channelCredentials(settings: TlsSettings, address: ListenAddress): ChannelCredentials {
  const files = chosenFiles(settings);
  if (files !== undefined) {
    return ChannelCredentials.createFromSecureContext(createSecureContext(secureContextOptions(files)));
  }
  const allowed =
    isLoopback(address.host) || inOwnNetworkNamespace() || isVirtual(interfaceTowards(address.host));
  if (!allowed) throw insecureRefused(`connect to ${formatListenAddress(address)}`);
  return ChannelCredentials.createInsecure();
}

/** grpc-js asks for client certificates, too, but has no setting for the lowest TLS version. */
class MutualTlsServerCredentials extends ServerCredentials {
  constructor(context: SecureContextOptions) {
    super({ requestCert: true, rejectUnauthorized: true }, context);
  }

  override _equals(other: ServerCredentials): boolean {
    return this === other;
  }
}

/** undefined stands for --insecure. */
function chosenFiles(settings: TlsSettings): TlsFiles | undefined {
  const files = tlsFiles(settings);
  if (files === undefined && !settings.insecure) {
    throw new ConfigError('give --tls-cert, --tls-key and --tls-ca, or --insecure');
  }
  if (files !== undefined && settings.insecure) {
    throw new ConfigError('--insecure contradicts --tls-cert, --tls-key and --tls-ca: leave one of them out');
  }
  return files;
}

function secureContextOptions(files: TlsFiles): SecureContextOptions {
  const context: SecureContextOptions = {
    cert: readPem('--tls-cert', files.certFile),
    key: readPem('--tls-key', files.keyFile),
    ca: readPem('--tls-ca', files.caFile),
    minVersion: 'TLSv1.3',
  };
  try {
    createSecureContext(context);
  } catch (error) {
    const names = `--tls-cert '${files.certFile}', --tls-key '${files.keyFile}', --tls-ca '${files.caFile}'`;
    throw new ConfigError(`${names}: ${errorMessage(error)}`);
  }
  return context;
}

function readPem(flag: string, file: string): Buffer {
  try {
    return readFileSync(file);
  } catch (error) {
    throw new ConfigError(`${flag} '${file}': ${errorMessage(error)}`, { file });
  }
}

function isVirtual(interfaceName: string | undefined): boolean {
  return interfaceName !== undefined && isVirtualLink(interfaceName);
}

function insecureRefused(what: string): ConfigError {
  return new ConfigError(
    `--insecure: will not ${what} without TLS: that is neither loopback, nor inside a network namespace, ` +
      'nor a veth or bridge without hardware behind it; give --tls-cert, --tls-key and --tls-ca',
  );
}
