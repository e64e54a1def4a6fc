import { logLevelOption, option } from '../common/config.js';
import { tlsOptions } from '../common/credentials.js';
import { parseListenAddress } from '../common/listen-address.js';
import { parseRemotes } from '../ovsdb/index.js';

/** The command line of iovn-controller. */
export const controllerOptions = {
  nb: option({
    flag: '--nb',
    argument: 'REMOTE',
    description: 'northbound database: unix:PATH, tcp:IP:PORT or ssl:IP:PORT, several with commas between',
    parse: parseRemote,
    default: 'unix:/var/run/ovn/ovnnb_db.sock',
    env: 'OVN_NB_DB',
  }),
  sb: option({
    flag: '--sb',
    argument: 'REMOTE',
    description: 'southbound database, likewise',
    parse: parseRemote,
    default: 'unix:/var/run/ovn/ovnsb_db.sock',
    env: 'OVN_SB_DB',
  }),
  listen: option({
    flag: '--listen',
    argument: 'HOST:PORT',
    description: 'where agents and the iovn command connect',
    parse: parseListenAddress,
  }),
  metrics: option({
    flag: '--metrics',
    argument: 'HOST:PORT',
    description: 'where to serve /metrics and /healthz; not at all when absent',
    parse: parseListenAddress,
  }),
  web: option({
    flag: '--web',
    argument: 'HOST:PORT',
    description: 'where to serve the web page, which asks for no password; beside the metrics when not set',
    negation: 'serve no web page',
    parse: parseListenAddress,
  }),
  ...tlsOptions,
  logLevel: logLevelOption,
};

/** Throws ConfigError. */
function parseRemote(text: string): string {
  parseRemotes(text);
  return text;
}
