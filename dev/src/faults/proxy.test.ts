import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { startFaultProxy, type FaultProxy } from './proxy.ts';

let echo: Server;
let proxy: FaultProxy;
let serverSide: Socket[];
const clients: Socket[] = [];

beforeEach(async () => {
  serverSide = [];
  echo = createServer({ allowHalfOpen: true }, (socket) => {
    serverSide.push(socket);
    socket.on('error', () => {});
    socket.pipe(socket);
  });
  echo.listen(0, '127.0.0.1');
  await once(echo, 'listening');
  proxy = await startFaultProxy({ targetPort: (echo.address() as AddressInfo).port });
});

afterEach(async () => {
  for (const client of clients.splice(0)) client.destroy();
  await proxy.close();
  echo.close();
});

interface Client {
  socket: Socket;
  text(): string;
  /** Resolves when this many characters have come back. */
  received(count: number): Promise<string>;
}

async function dial(): Promise<Client> {
  const socket = connect(proxy.port, '127.0.0.1');
  clients.push(socket);
  socket.on('error', () => {});
  let text = '';
  socket.on('data', (chunk: Buffer) => (text += chunk.toString('latin1')));
  await once(socket, 'connect');
  return {
    socket,
    text: () => text,
    async received(count) {
      while (text.length < count) await once(socket, 'data');
      return text;
    },
  };
}

async function errorOf(socket: Socket): Promise<string> {
  const [error] = (await once(socket, 'error')) as [NodeJS.ErrnoException];
  return error.code ?? '';
}

describe('the fault proxy', () => {
  it('passes everything both ways, and the end', async () => {
    const client = await dial();
    const sent = 'x'.repeat(3_000_000);
    client.socket.end(sent);
    await once(client.socket, 'end');
    expect(client.text()).toBe(sent);
  });

  it('holds bytes back by the latency and keeps their order', async () => {
    proxy.set({ both: { latencyMs: 20 } });
    const client = await dial();
    for (let i = 0; i < 10; i++) client.socket.write(String(i));
    expect(client.text()).toBe('');
    expect(await client.received(10)).toBe('0123456789');
  });

  it('is a black hole in one direction only, until that is lifted', async () => {
    const client = await dial();
    proxy.set({ down: { blackhole: true } });
    client.socket.write('lost?');
    while (serverSide[0] === undefined || serverSide[0].bytesRead < 5) await sleep(5);
    await sleep(20);
    expect(client.text()).toBe('');
    proxy.set();
    expect(await client.received(5)).toBe('lost?');
  });

  it('keeps the end of a connection in the black hole', async () => {
    const client = await dial();
    client.socket.write('x');
    await client.received(1);
    proxy.set({ both: { blackhole: true } });
    client.socket.resetAndDestroy();
    await sleep(30);
    expect(serverSide[0]?.closed).toBe(false);
    const error = errorOf(serverSide[0] as Socket);
    proxy.set();
    expect(await error).toBe('ECONNRESET');
  });

  it('cuts after so many bytes, orderly', async () => {
    proxy.set({ down: { cutAfterBytes: 4 } });
    const client = await dial();
    client.socket.write('123456');
    await once(client.socket, 'end');
    expect(client.text()).toBe('1234');
  });

  it('cuts by a reset', async () => {
    proxy.set({ down: { cutAfterBytes: 0, reset: true } });
    const client = await dial();
    client.socket.write('123456');
    expect(await errorOf(client.socket)).toBe('ECONNRESET');
  });

  it('flips one byte', async () => {
    proxy.set({ up: { corruptAtByte: 2 } });
    const client = await dial();
    client.socket.write('a');
    client.socket.write('bcd');
    expect(await client.received(4)).toBe('ab\x9cd');
  });

  it('limits the bandwidth without losing anything', async () => {
    proxy.set({ down: { bytesPerSecond: 200_000 } });
    const client = await dial();
    client.socket.write('y'.repeat(10_000));
    expect(await client.received(10_000)).toBe('y'.repeat(10_000));
  });

  it('resets what is open and accepts what comes', async () => {
    const client = await dial();
    client.socket.write('x');
    await client.received(1);
    const error = errorOf(client.socket);
    proxy.resetAll();
    expect(await error).toBe('ECONNRESET');
    const second = await dial();
    second.socket.write('y');
    expect(await second.received(1)).toBe('y');
  });

  it('is down for a while and comes back on its port', async () => {
    await proxy.down();
    await expect(dial()).rejects.toMatchObject({ code: 'ECONNREFUSED' });
    await proxy.up();
    const client = await dial();
    client.socket.write('x');
    expect(await client.received(1)).toBe('x');
    expect(proxy.connections).toBe(1);
  });

  it('passes a dead server on to its client', async () => {
    const client = await dial();
    client.socket.write('x');
    await client.received(1);
    const closed = once(client.socket, 'close');
    serverSide[0]?.destroy();
    await closed;
  });
});
