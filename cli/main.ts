import { ConfigError, errorMessage } from '../common/errors.js';
import { exitCodes } from './commands.js';
import { createProgram } from './program.js';

try {
  await createProgram().parseAsync();
} catch (error) {
  process.stderr.write(`iovn: ${errorMessage(error)}\n`);
  process.exitCode = error instanceof ConfigError ? exitCodes.usage : exitCodes.failure;
}
