import { Server, ServerCredentials, status } from '@grpc/grpc-js';

import { v1 } from '../../common/proto.js';
import type { FdbStatusInput } from '../../generated/proto/iovn/v1/FdbStatus.js';
import type { FleetInspectHandlers } from '../../generated/proto/iovn/v1/FleetInspect.js';
import type { InspectHandlers } from '../../generated/proto/iovn/v1/Inspect.js';
import type { NodeInput } from '../../generated/proto/iovn/v1/Node.js';
import type { NodeReplyInput } from '../../generated/proto/iovn/v1/NodeReply.js';
import type { PortStatusInput } from '../../generated/proto/iovn/v1/PortStatus.js';
import type { StatusInput } from '../../generated/proto/iovn/v1/Status.js';
import type { SupportPartInput } from '../../generated/proto/iovn/v1/SupportPart.js';
import type { SwitchStatusInput } from '../../generated/proto/iovn/v1/SwitchStatus.js';

/** What nodes answer to any question that it fits; a text is why one does not. */
export type FleetData = Readonly<Record<string, readonly NodeReplyInput[] | string>>;

export interface InspectData {
  readonly status: StatusInput;
  readonly nodes: readonly NodeInput[];
  readonly ports: readonly PortStatusInput[];
  readonly switches: readonly SwitchStatusInput[];
  readonly fdb: readonly FdbStatusInput[];
  readonly fleet?: FleetData;
  readonly supportParts?: readonly SupportPartInput[];
}

/** Where a reply is not called as its question. */
const replyKinds: Readonly<Record<string, string>> = { verify: 'verification', monitor: 'event' };

/** The replies that answer a question of this kind. */
export function answering(kind: string, replies: readonly NodeReplyInput[]): readonly NodeReplyInput[] {
  return replies.filter((reply) => (replyKinds[kind] ?? kind) in reply);
}

/** A controller's Inspect and FleetInspect services on loopback that answers with what it is given. */
export async function serveInspect(
  data: InspectData,
): Promise<{ readonly target: string; readonly close: () => void }> {
  const handlers: InspectHandlers = {
    GetStatus: (_call, callback) => callback(null, data.status),
    ListNodes: ({ request }, callback) => {
      const nodes = data.nodes.filter(({ chassis }) =>
        ['', chassis?.name, chassis?.hostname].includes(request.node),
      );
      callback(null, { nodes });
    },
    ListPorts: ({ request }, callback) => {
      if (request.switch === 'refuse me') {
        callback({ code: status.PERMISSION_DENIED, details: 'not for you' });
        return;
      }
      const ports = data.ports.filter(
        (port) => ['', port.switch].includes(request.switch) && ['', port.chassis].includes(request.node),
      );
      callback(null, { ports });
    },
    ListSwitches: ({ request }, callback) => {
      const switches = data.switches.filter(({ name, nb_uuid: uuid }) =>
        ['', name, uuid].includes(request.switch),
      );
      callback(null, {
        switches: switches.map((each) => ({
          ...each,
          ports: request.switch === '' ? [] : (each.ports ?? []),
        })),
      });
    },
    ListFdb: ({ request }, callback) => {
      callback(null, { entries: data.fdb.filter((entry) => ['', entry.switch].includes(request.switch)) });
    },
  };
  const fleet: FleetInspectHandlers = {
    Ask: (call) => {
      const { node: filter, query } = call.request;
      for (const [node, replies] of Object.entries(data.fleet ?? {})) {
        if (filter !== '' && filter !== node) continue;
        if (typeof replies === 'string') call.write({ node, error: replies });
        else for (const reply of answering(query?.query ?? '', replies)) call.write({ node, reply });
      }
      call.end();
    },
    Level: ({ request }, callback) => callback(null, { level: request.level || 'info' }),
    Support: (call) => {
      for (const part of data.supportParts ?? []) call.write(part);
      call.end();
    },
  };
  const server = new Server();
  server.addService(v1.Inspect.service, handlers);
  server.addService(v1.FleetInspect.service, fleet);
  const port = await new Promise<number>((resolve, reject) => {
    server.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (error, bound) => {
      if (error === null) resolve(bound);
      else reject(error);
    });
  });
  return { target: `127.0.0.1:${port}`, close: () => server.forceShutdown() };
}
