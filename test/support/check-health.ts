// Asks a gRPC server the standard health question: check-health.ts HOST:PORT SERVICE. Prints the status.
import { credentials, makeGenericClientConstructor, type ServiceError } from '@grpc/grpc-js';
import { service } from 'grpc-health-check';

const [, , target = '', name = ''] = process.argv;
const Client = makeGenericClientConstructor(service, 'Health');
const client = new Client(target, credentials.createInsecure());
client['check']?.(
  { service: name },
  { deadline: Date.now() + 5000 },
  (error: ServiceError | null, reply?: { readonly status: string }) => {
    console.log(error === null ? reply?.status : error.details);
    client.close();
  },
);
