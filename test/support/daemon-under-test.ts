// A daemon that behaves as its first argument says; test/common/daemon.test.ts runs it.
import { runDaemon } from '../../common/daemon.js';
import { ConfigError, IovnError } from '../../common/errors.js';

const behaviours: Record<string, (signal: AbortSignal) => Promise<void>> = {
  returns: () => Promise.resolve(),
  refuses: () => Promise.reject(new ConfigError("--nb 'x': is nonsense")),
  fails: () => Promise.reject(new IovnError('broken', 'it broke', { thing: 7 }, new Error('deeper'))),
  rejects: async (signal) => {
    void Promise.reject(new Error('nobody listens'));
    await aborted(signal);
  },
  stops: async (signal) => {
    await aborted(signal);
  },
  throwsAbort: async (signal) => {
    await aborted(signal);
    signal.throwIfAborted();
  },
  hangs: async () => {
    await new Promise((resolve) => setTimeout(resolve, 3_600_000));
  },
};

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const idle = setInterval(() => undefined, 1000);
    signal.addEventListener('abort', () => {
      clearInterval(idle);
      resolve();
    });
  });
}

runDaemon(
  (signal) => {
    const running = behaviours[process.argv[2] ?? '']?.(signal) ?? Promise.resolve();
    process.stdout.write('ready\n');
    return running;
  },
  { name: 'iovn-test' },
);
