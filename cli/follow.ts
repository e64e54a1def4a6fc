import { toPlain } from './json.js';
import type { NodeClient } from './node-client.js';
import { eventLine } from './node-views.js';

export const eventTypes = ['drop', 'mac', 'link', 'intent', 'applied'] as const;

export interface FollowFilter {
  readonly node?: string;
  readonly port?: string;
  /** None = all. */
  readonly types: readonly string[];
}

/** What happens, line by line as it does, until nobody is left to tell. `json`: an object per line. */
export async function* follow(
  client: NodeClient,
  { node, port = '', types }: FollowFilter,
  json: boolean,
): AsyncGenerator<string> {
  for await (const answer of client.ask({ monitor: { port, types: [...types] } }, node)) {
    const { outcome } = answer;
    if ('error' in outcome) {
      yield json
        ? oneLine({ node: answer.node, error: outcome.error })
        : `node ${answer.node}: ${outcome.error}`;
    } else if (outcome.reply.event) {
      const event = outcome.reply.event;
      yield json
        ? oneLine({ node: answer.node, ...toPlain('NodeEvent', event) })
        : eventLine(answer.node, event);
    }
  }
}

function oneLine(value: object): string {
  return JSON.stringify(value);
}
