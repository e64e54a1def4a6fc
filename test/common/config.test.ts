import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';

import test, { type ExecutionContext } from 'ava';

import { logLevelOption, option, readSettings } from '../../common/config.js';
import { ConfigError } from '../../common/errors.js';
import { parseListenAddress } from '../../common/listen-address.js';

const program = { name: 'iovn-test-nothing-in-etc', description: 'a test' };
const options = {
  nb: option({
    flag: '--nb',
    argument: 'REMOTE',
    description: 'database',
    parse: (text) => text,
    default: 'unix:/default',
    env: 'OVN_NB_DB',
  }),
  listen: option({
    flag: '--listen',
    argument: 'HOST:PORT',
    description: 'where',
    parse: parseListenAddress,
  }),
  page: option({
    flag: '--page',
    argument: 'HOST:PORT',
    description: 'where too',
    negation: 'nowhere',
    parse: parseListenAddress,
  }),
  insecure: option({ flag: '--insecure', description: 'no TLS' }),
  logLevel: logLevelOption,
};

function read(args: readonly string[], env: Record<string, string> = {}) {
  return readSettings(program, options, ['node', 'iovn-test', ...args], env);
}

function configFile(t: ExecutionContext, content: string): string {
  const folder = mkdtempSync(path.join(tmpdir(), 'iovn-config-'));
  t.teardown(() => rmSync(folder, { recursive: true }));
  const file = path.join(folder, 'config.yaml');
  writeFileSync(file, content);
  return file;
}

function refused(t: ExecutionContext, args: readonly string[], env: Record<string, string> = {}): string {
  const error = t.throws(() => read(args, env), { instanceOf: ConfigError });
  t.notRegex(error.message, /\n/, 'one line');
  return error.message;
}

test('defaults hold where nothing is said', (t) => {
  t.deepEqual(read([]), {
    nb: 'unix:/default',
    listen: undefined,
    page: undefined,
    insecure: false,
    logLevel: 'info',
  });
});

test('what can be turned off is, in each of the three places', (t) => {
  const file = configFile(t, 'page: false\n');
  t.is(read(['--no-page']).page, false);
  t.is(read([], { IOVN_PAGE: 'off' }).page, false);
  t.is(read(['--config', file]).page, false);
  t.deepEqual(read(['--config', file, '--page', '[::1]:7']).page, { host: '::1', port: 7 });
  t.is(read(['--no-page'], { IOVN_PAGE: '127.0.0.1:7' }).page, false);
  t.is(
    refused(t, ['--page', 'here']),
    "--page 'here': expected HOST:PORT, such as 127.0.0.1:6650 or [::1]:6650",
  );
});

test('flag wins over environment, environment over file, file over default', (t) => {
  const file = configFile(t, 'nb: unix:/file\n');
  t.is(read(['--config', file]).nb, 'unix:/file');
  t.is(read(['--config', file], { OVN_NB_DB: 'unix:/extra' }).nb, 'unix:/extra');
  t.is(read(['--config', file], { OVN_NB_DB: 'unix:/extra', IOVN_NB: 'unix:/env' }).nb, 'unix:/env');
  t.is(read(['--config', file, '--nb', 'unix:/flag'], { IOVN_NB: 'unix:/env' }).nb, 'unix:/flag');
});

test('an empty environment variable is not set', (t) => {
  t.is(read([], { IOVN_NB: '' }).nb, 'unix:/default');
});

test('the file may be named in the environment, its values numbers, booleans and lists', (t) => {
  const file = configFile(t, 'nb: [tcp:1.1.1.1:6641, tcp:1.1.1.2:6641]\ninsecure: true\nlog-level: warn\n');
  t.deepEqual(read([], { IOVN_CONFIG: file }), {
    nb: 'tcp:1.1.1.1:6641,tcp:1.1.1.2:6641',
    listen: undefined,
    page: undefined,
    insecure: true,
    logLevel: 'warn',
  });
});

test('an empty file says nothing', (t) => {
  t.is(read(['--config', configFile(t, '# nothing\n')]).nb, 'unix:/default');
});

test('booleans in the environment', (t) => {
  t.true(read([], { IOVN_INSECURE: 'yes' }).insecure);
  t.false(read([], { IOVN_INSECURE: '0' }).insecure);
  t.is(refused(t, [], { IOVN_INSECURE: 'perhaps' }), "IOVN_INSECURE 'perhaps': expected true or false");
});

test('what is wrong is named by where it comes from', (t) => {
  t.regex(refused(t, ['--listen', 'x']), /^--listen 'x': expected HOST:PORT/);
  t.regex(refused(t, [], { IOVN_LISTEN: 'x' }), /^IOVN_LISTEN 'x': expected HOST:PORT/);
  const file = configFile(t, 'listen: x\n');
  t.is(refused(t, ['--config', file]).slice(0, file.length + 13), `${file}: listen 'x':`);
});

test('what is not known is refused', (t) => {
  t.is(refused(t, ['--log-leve', 'x']), "unknown option '--log-leve' (Did you mean --log-level?)");
  t.is(refused(t, ['stray']), "unexpected argument 'stray'");
  t.is(refused(t, ['--nb']), "option '--nb <REMOTE>' argument missing");
  const file = configFile(t, 'nbb: unix:/x\n');
  t.is(refused(t, ['--config', file]), `${file}: unknown key 'nbb'`);
});

test('a file that is no good is named', (t) => {
  t.regex(refused(t, ['--config', '/nonexistent']), /^--config '\/nonexistent': ENOENT/);
  t.regex(refused(t, [], { IOVN_CONFIG: '/nonexistent' }), /^IOVN_CONFIG '\/nonexistent': ENOENT/);
  t.regex(refused(t, ['--config', configFile(t, 'a: [')]), /: not YAML: /);
  t.regex(refused(t, ['--config', configFile(t, '- a\n')]), /: expected one 'key: value' a line$/);
  t.regex(
    refused(t, ['--config', configFile(t, 'nb: {a: 1}\n')]),
    /: nb: expected a text or a list of texts$/,
  );
});
