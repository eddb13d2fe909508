// A bare Connect server that takes the same message and counts its events, in a process of its own: what the library and
// Node's HTTP/2 cost by themselves.
import { createServer } from 'node:http2';
import type { AddressInfo } from 'node:net';
import { connectNodeAdapter } from '@connectrpc/connect-node';
import { EventService } from '@sluice/contracts';

const server = createServer(
  connectNodeAdapter({
    routes: (router) => {
      router.service(EventService, { recordEvents: ({ events }) => ({ accepted: events.length }) });
    },
  }),
);
server.listen(0, '127.0.0.1', () =>
  process.send?.({ url: `http://127.0.0.1:${(server.address() as AddressInfo).port}` }),
);
process.once('disconnect', () => process.exit(0));
