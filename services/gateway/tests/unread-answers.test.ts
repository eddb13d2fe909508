import { createServer } from 'node:http';
import { connect, type AddressInfo, type Socket } from 'node:net';
import { afterEach, expect, test } from 'vitest';
import { endUnreadAnswers, type UnreadAnswers, type UnreadRule } from '../src/http/unread-answers.ts';
import { eventually, startRig } from './rig.ts';

const MIB = 2 ** 20;
/** More than the kernel holds for a connection of a machine with itself. */
const answer = Buffer.alloc(24 * MIB);

const stops: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const stop of stops.splice(0)) await stop();
});

interface Client {
  readonly socket: Socket;
  received: number;
  closed: boolean;
}

/** A connection that asks, and reads nothing before it is resumed. */
async function ask(url: string, requests: string): Promise<Client> {
  const socket = connect(Number(new URL(url).port), '127.0.0.1');
  const client: Client = { socket, received: 0, closed: false };
  await new Promise((resolve) => socket.once('connect', resolve));
  socket.on('error', () => undefined);
  socket.on('close', () => (client.closed = true));
  socket.on('data', (piece) => (client.received += piece.length));
  socket.pause();
  socket.write(requests);
  stops.push(async () => socket.destroy());
  return client;
}

const get = (path: string): string => `GET ${path} HTTP/1.1\r\nhost: localhost\r\n\r\n`;

/** A server with an answer of 24 MiB, and how often connections were ended. */
async function serving(rule: Omit<UnreadRule, 'log'>): Promise<{
  readonly url: string;
  readonly unread: UnreadAnswers;
  readonly ended: () => number;
}> {
  let ended = 0;
  const log = { warn: ({ connections }: { connections: number }) => (ended += connections) };
  const server = createServer((_request, response) => response.end(answer));
  const unread = endUnreadAnswers(server, { ...rule, log });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  stops.push(async () => {
    unread.stop();
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  });
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, unread, ended: () => ended };
}

const until = (is: () => boolean): Promise<unknown> =>
  eventually(
    async () => is(),
    (said) => said,
  );

test('a client that reads no answer loses its connection, and what was to be sent with it', async () => {
  const { url, ended } = await serving({ windowMs: 200, minBytesPerWindow: answer.length });
  const client = await ask(url, get('/'));
  await until(() => ended() === 1);
  client.socket.resume();
  await until(() => client.closed);
  expect(client.received).toBeLessThan(answer.length);
});

test('a client that reads late, and in time, gets its answer', async () => {
  const { url, unread, ended } = await serving({ windowMs: 60_000, minBytesPerWindow: 1 });
  const client = await ask(url, get('/'));
  await until(() => unread.share() > 0);
  client.socket.resume();
  await until(() => client.received > answer.length && unread.share() === 0);
  expect([client.closed, ended()]).toEqual([false, 0]);
});

test('of all that stays unread, what is over the bound goes first that was not read for the longest', async () => {
  const { url, unread, ended } = await serving({ windowMs: 60_000, minBytesPerWindow: 1, mostBytes: 30 * MIB });
  const first = await ask(url, get('/'));
  await until(() => unread.share() > 0);
  const second = await ask(url, get('/'));
  await until(() => ended() === 1);
  for (const { socket } of [first, second]) socket.resume();
  await until(() => first.closed && second.received > answer.length);
  expect(first.received).toBeLessThan(answer.length);
});

test('a client that sends a thousand requests ahead is not answered', async () => {
  const rig = await startRig({ settings: { auth: 'off' } });
  stops.push(() => rig.stop());
  const page = await (await fetch(`${rig.gateway.url}/docs/json`)).arrayBuffer();
  const client = await ask(rig.gateway.url, get('/docs/json').repeat(1_000));
  client.socket.resume();
  await until(() => client.closed);
  expect(client.received).toBeLessThan(40 * page.byteLength);
});
