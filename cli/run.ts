import { ConfigError, errorMessage, IovnError } from '../common/errors.js';
import { exitCodes } from './commands.js';
import { createProgram, type Output } from './program.js';

/** Runs `iovn` with these arguments; returns its exit code. --help and --version end the process. */
export async function runIovn(words: readonly string[], output?: Output): Promise<number> {
  const program = createProgram(output);
  try {
    await program.parseAsync([...words], { from: 'user' });
    return program.status;
  } catch (error) {
    program.output.warn(`iovn: ${errorMessage(error)}\n`);
    const isUsage = error instanceof ConfigError || (error instanceof IovnError && error.code === 'usage');
    return isUsage ? exitCodes.usage : exitCodes.failure;
  }
}
