// What Fastify itself costs: a route that reads and one that validates the same body as the gateway's, with nothing else,
// in a process of its own. And a server that answers without reading, which shows what the load generator can do.
import { createServer, type AddressInfo } from 'node:net';
import Fastify from 'fastify';

const app = Fastify({ logger: false });
const text = { type: 'string' };
const answer = { type: 'object', properties: { id: text, state: text, createdAt: text } };
app.get('/v1/static', { schema: { response: { 200: answer } } }, async () => ({
  id: 'job_aaaaaaaaaaaaaaaaaaaaaaaaaa',
  state: 'succeeded',
  createdAt: '2026-01-01T00:00:00.000Z',
}));
const name = { type: 'string', minLength: 1, maxLength: 128 };
app.post(
  '/v1/events',
  {
    schema: {
      body: {
        type: 'object',
        additionalProperties: false,
        required: ['app_id', 'message_id', 'event', 'created_at'],
        properties: {
          app_id: name,
          message_id: name,
          event: name,
          created_at: { type: 'string', format: 'date-time' },
        },
      },
      response: { 202: { type: 'object', properties: { accepted: { type: 'integer' } } } },
    },
  },
  async (_request, reply) => {
    reply.code(202);
    return { accepted: 1 };
  },
);
await app.listen({ host: '127.0.0.1', port: 0 });

const fixed = Buffer.from('HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 2\r\n\r\nok');
const unread = createServer((socket) => {
  socket.on('data', () => socket.write(fixed));
  socket.on('error', () => socket.destroy());
});
unread.listen(0, '127.0.0.1', () => {
  const at = ({ port }: AddressInfo): string => `http://127.0.0.1:${port}`;
  process.send?.({
    url: at(app.server.address() as AddressInfo),
    unreadUrl: at(unread.address() as AddressInfo),
  });
});
process.once('disconnect', () => process.exit(0));
