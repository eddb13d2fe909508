import { once } from 'node:events';
import { connect, type AddressInfo, type Socket } from 'node:net';
import { setImmediate as turn } from 'node:timers/promises';
import fastify from 'fastify';
import { afterEach, expect, test, vi } from 'vitest';
import { readRestsSlowly } from './unread-bodies.ts';

const MIB = 2 ** 20;

afterEach(() => void vi.useRealTimers());

test('what is left of a request without a connection is left alone', async () => {
  vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval', 'performance'] });
  const app = fastify();
  readRestsSlowly(app);
  app.addHook('onRequest', (_request, _reply, done) => done(new Error('refused')));
  app.post('/', () => 'never');
  const { statusCode } = await app.inject({ method: 'POST', url: '/', payload: 'x'.repeat(100) });
  expect(statusCode).toBe(500);
  expect(() => vi.advanceTimersByTime(60_000)).not.toThrow();
  await app.close();
});

test('a refused body is not read on at once, also when as much has come as is held of one', async () => {
  vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval', 'performance'] });
  const app = fastify();
  readRestsSlowly(app);
  const sockets: Socket[] = [];
  app.addHook('onRequest', async ({ raw }) => {
    sockets.push(raw.socket);
    while (raw.readableLength < raw.readableHighWaterMark) await turn();
    throw new Error('refused');
  });
  app.post('/', () => 'never');
  await app.listen({ port: 0, host: '127.0.0.1' });
  const client = connect((app.server.address() as AddressInfo).port, '127.0.0.1');
  client.on('error', () => undefined);
  client.write(`POST / HTTP/1.1\r\nhost: x\r\ncontent-length: ${64 * MIB}\r\n\r\n`);
  client.write(Buffer.alloc(16 * MIB));
  const [answer] = (await once(client, 'data')) as [Buffer];
  expect(answer.toString()).toContain('500');
  const [socket] = sockets as [Socket];
  const readNow = socket.bytesRead;
  for (let turns = 0; turns < 500; turns++) await turn();
  expect(socket.bytesRead - readNow).toBeLessThan(MIB);
  // And then a little in each tick, until it is too much.
  const closed = new Promise((resolve) => client.once('close', resolve));
  for (let ticks = 0; !socket.destroyed; ticks++) {
    expect(ticks).toBeLessThan(1_000);
    vi.advanceTimersByTime(25);
    await turn();
    expect(socket.bytesRead - readNow).toBeLessThan((ticks + 20) * 128 * 1024);
  }
  await closed;
  await app.close();
});
