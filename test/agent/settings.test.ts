import test from 'ava';

import { agentOptions } from '../../agent/settings.js';
import { readSettings } from '../../common/config.js';
import { ConfigError } from '../../common/errors.js';

const program = { name: 'iovn-test-nothing-in-etc', description: 'a test' };

function mapSizes(text: string): unknown {
  return readSettings(program, agentOptions, ['node', 'iovn-agent', '--map-size', text], {}).mapSizes;
}

test('map sizes by name', (t) => {
  t.deepEqual(readSettings(program, agentOptions, ['node', 'iovn-agent'], {}).mapSizes, {});
  t.deepEqual(mapSizes('destinations=200000'), { destinations: 200_000 });
  t.deepEqual(mapSizes('neighbours=2, allowed_macs=16777216'), { neighbours: 2, allowed_macs: 16_777_216 });
});

const wrong: Readonly<Record<string, RegExp>> = {
  destinations: /--map-size 'destinations': .*expected MAP=ENTRIES, the map one of destinations, /,
  'ports=100': /'ports=100': expected MAP=ENTRIES, the map one of/,
  'neighbours=-5': /expected MAP=ENTRIES/,
  'neighbours=1': /'neighbours=1': expected from 2 to 16777216 entries/,
  'neighbours=99999999999999999999': /expected from 2 to 16777216 entries/,
  'neighbours=5,neighbours=6': /expected each map once/,
  'neighbours=5,': /'': expected MAP=ENTRIES/,
};

for (const [text, message] of Object.entries(wrong)) {
  test(`a wrong map size: ${text}`, (t) => {
    const error = t.throws(() => mapSizes(text), { instanceOf: ConfigError });
    t.regex(error.message, message);
    t.notRegex(error.message, /\n/);
  });
}
