import { connect, type Socket } from 'node:net';

import { IovnError } from '../common/errors.js';

interface Waiter {
  readonly resolve: (result: string) => void;
  readonly reject: (error: Error) => void;
}

interface Answer {
  readonly result?: string | null;
  readonly error?: string | null;
}

/**
 * The control socket of an Open vSwitch or OVN daemon (ovs-appctl(8)), spoken to directly: a command costs
 * milliseconds, not a process. One command at a time.
 */
export class Unixctl {
  readonly #socket: Socket;
  #waiter: Waiter | undefined;
  #received = '';

  private constructor(socket: Socket) {
    this.#socket = socket;
    socket.setEncoding('utf8');
    socket.on('data', (text: string) => this.#take(text));
    socket.on('error', (error) => this.#fail(error));
    socket.on('close', () =>
      this.#fail(new IovnError('unixctl_closed', 'the daemon closed its control socket')),
    );
  }

  static connect(path: string): Promise<Unixctl> {
    return new Promise((resolve, reject) => {
      const socket = connect(path);
      socket.once('error', reject);
      socket.once('connect', () => {
        socket.off('error', reject);
        resolve(new Unixctl(socket));
      });
    });
  }

  /** Runs one command and gives what it printed. Throws IovnError `unixctl_failed` when the daemon refuses it. */
  command(method: string, ...params: string[]): Promise<string> {
    if (this.#waiter !== undefined)
      throw new IovnError('unixctl_busy', 'the command before is not answered yet');
    return new Promise((resolve, reject) => {
      this.#waiter = { resolve, reject };
      this.#socket.write(JSON.stringify({ id: 0, method, params }));
    });
  }

  close(): void {
    this.#socket.destroy();
  }

  /** There is no framing but JSON's own: what parses is the answer. */
  #take(text: string): void {
    this.#received += text;
    if (!this.#received.trimEnd().endsWith('}')) return;
    let answer: Answer;
    try {
      answer = JSON.parse(this.#received) as Answer;
    } catch {
      return;
    }
    this.#received = '';
    const waiter = this.#waiter;
    this.#waiter = undefined;
    if (typeof answer.result === 'string') waiter?.resolve(answer.result);
    else waiter?.reject(new IovnError('unixctl_failed', answer.error?.trim() ?? 'refused'));
  }

  #fail(error: Error): void {
    const waiter = this.#waiter;
    this.#waiter = undefined;
    waiter?.reject(error);
  }
}
