import { createServer } from 'node:http';
import { connect, type AddressInfo, type Socket } from 'node:net';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Gateway } from '../src/gateway.ts';
import { endUnreadAnswers } from '../src/http/unread-answers.ts';
import { eventually, startRig, type Rig } from './rig.ts';

let rig: Rig;
let gateway: Gateway;
beforeAll(async () => {
  rig = await startRig({ settings: { auth: 'off' } });
  gateway = await rig.replica({
    settings: { auth: 'off', bodies: { totalBytes: 2 ** 24, windowMs: 400, minBytesPerWindow: 2 ** 22 } },
  });
});
afterAll(() => rig?.stop());

interface Client {
  readonly socket: Socket;
  received: number;
  closed: boolean;
}

/** A connection that has asked for the same page so often, without waiting for an answer. */
async function ask(path: string, times: number, pauseMs: number, url = gateway.url): Promise<Client> {
  const { port } = new URL(url);
  const socket = connect(Number(port), '127.0.0.1');
  const client: Client = { socket, received: 0, closed: false };
  await new Promise((resolve) => socket.once('connect', resolve));
  socket.on('error', () => undefined);
  socket.on('close', () => (client.closed = true));
  socket.on('data', (piece) => (client.received += piece.length));
  socket.pause();
  for (let n = 0; n < times; n += 1) {
    socket.write(`GET ${path} HTTP/1.1\r\nhost: localhost\r\n\r\n`);
    if (pauseMs > 0) await new Promise((resolve) => setTimeout(resolve, pauseMs));
  }
  return client;
}

const PAGE = '/docs/json';
const pageBytes = async (): Promise<number> => (await (await fetch(`${gateway.url}${PAGE}`)).arrayBuffer()).byteLength;

describe('a client that reads no answer', () => {
  test('loses its connection, and what was to be sent with it', async () => {
    const times = Math.ceil((16 * 2 ** 20) / (await pageBytes()));
    const client = await ask(PAGE, times, 2);
    await new Promise((resolve) => setTimeout(resolve, 3_000));
    client.socket.resume();
    await eventually(
      async () => client.closed,
      (closed) => closed,
    );
    expect(client.received).toBeLessThan(times * (await pageBytes()));
  });

  test('is let be as long as it reads, however late', async () => {
    const client = await ask(PAGE, 3, 2);
    await new Promise((resolve) => setTimeout(resolve, 2_000));
    client.socket.resume();
    const whole = 3 * (await pageBytes());
    await eventually(
      async () => client.received,
      (received) => received >= whole,
    );
    expect(client.closed).toBe(false);
    client.socket.destroy();
  });
});

test('of all that stays unread, what is over the bound goes first that was not read for the longest', async () => {
  const answer = Buffer.alloc(24 * 2 ** 20);
  const server = createServer((_request, response) => response.end(answer));
  const stop = endUnreadAnswers(server, { windowMs: 60_000, minBytesPerWindow: 1, mostBytes: 30 * 2 ** 20 });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const first = await ask('/', 1, 0, url);
  await new Promise((resolve) => setTimeout(resolve, 700));
  const second = await ask('/', 1, 0, url);
  await new Promise((resolve) => setTimeout(resolve, 1_500));
  for (const { socket } of [first, second]) socket.resume();
  await eventually(
    async () => [first.closed, second.received > answer.length],
    (said) => said.every(Boolean),
  );
  expect(first.received).toBeLessThan(answer.length);
  second.socket.destroy();
  stop();
  await new Promise((resolve) => server.close(resolve));
});

test('a client that sends a thousand requests ahead is not answered', async () => {
  const client = await ask(PAGE, 0, 0);
  client.socket.write(`GET ${PAGE} HTTP/1.1\r\nhost: localhost\r\n\r\n`.repeat(1_000));
  client.socket.resume();
  await eventually(
    async () => client.closed,
    (closed) => closed,
  );
  expect(client.received).toBeLessThan(40 * (await pageBytes()));
});
