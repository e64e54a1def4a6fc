import { complete } from './completion.js';
import { networkNames } from './network-names.js';
import { createProgram } from './program.js';
import { runIovn } from './run.js';

/** What the scripts of `iovn completion` ask: a line for each word that the last of `words` can become. */
async function offer(words: readonly string[]): Promise<void> {
  const before = words.slice(0, -1);
  const offered = await complete(createProgram(), words, (kind) => networkNames(before, kind));
  process.stdout.write(offered.map((each) => `${each}\n`).join(''), () => process.exit());
}

const words = process.argv.slice(2);
if (words[0] === '--complete') await offer(words.slice(1));
else process.exitCode = await runIovn(words);
