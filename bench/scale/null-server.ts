// Answers every request with 202 and a job of its own, and says at once that it has ended: what the load generator can do.
import { once } from 'node:events';
import { createServer, type AddressInfo } from 'node:net';
import { create } from '@bufbuild/protobuf';
import { channels, JobFinishedSchema } from '@sluice/contracts';
import { startNats } from '@sluice/dev';
import { connectNats, encode } from '@sluice/messaging';

const nats = await startNats();
const nc = await connectNats({ url: nats.url, name: 'bench-null-server' });
let count = 0;
const server = createServer((socket) => {
  socket.setNoDelay(true);
  socket.on('error', () => socket.destroy());
  socket.on('data', () => {
    const id = `job_${(count += 1)}`;
    const body = `{"id":"${id}"}`;
    socket.write(`HTTP/1.1 202 Accepted\r\ncontent-length: ${body.length}\r\n\r\n${body}`);
    const finished = create(JobFinishedSchema, { job: { id } });
    nc.publish(channels.clientEmailSent.template, encode(channels.clientEmailSent, finished));
  });
}).listen(0, '127.0.0.1');
await once(server, 'listening');
process.send?.({ gatewayUrl: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, natsUrl: nats.url });
process.once('disconnect', () => void nats.stop().then(() => process.exit(0)));
