import { connect as connectHttp2, constants, type ClientHttp2Stream, type IncomingHttpHeaders } from 'node:http2';
import { connect, type Socket } from 'node:net';
import { gzipSync } from 'node:zlib';
import { create, toBinary } from '@bufbuild/protobuf';
import { ConvertImageRequestSchema } from '@sluice/contracts';
import { buckets, openBucket } from '@sluice/messaging';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createKey } from '../src/accounts/api-keys.ts';
import type { Gateway } from '../src/gateway.ts';
import { png } from './pictures.ts';
import { eventually, startRig, type Rig } from './rig.ts';

const MIB = 2 ** 20;
const CONVERT = '/sluice.v1.UserService/ConvertImage';

let rig: Rig;
beforeAll(async () => {
  rig = await startRig();
});
afterAll(() => rig?.stop());

/** What a server writes back on a connection of our own until it ends it, or until the text is complete. */
function answerOn(socket: Socket, enough: (text: string) => boolean = () => false): Promise<string> {
  return new Promise((resolve) => {
    let text = '';
    socket.setEncoding('latin1');
    socket.on('data', (piece: string) => {
      text += piece;
      if (enough(text)) resolve(text);
    });
    socket.on('error', () => resolve(text));
    socket.on('close', () => resolve(text));
  });
}

async function open(gateway: Gateway): Promise<Socket> {
  const { port } = new URL(gateway.url);
  const socket = connect(Number(port), '127.0.0.1');
  await new Promise((resolve) => socket.once('connect', resolve));
  return socket;
}

const head = (path: string, headers: readonly string[]): string =>
  [`POST ${path} HTTP/1.1`, 'host: localhost', ...headers, '', ''].join('\r\n');
const statusOf = (answer: string): number => Number(answer.split(' ', 2)[1]);

/** The status of a gRPC call, which comes in its trailers, or at once in its headers. */
function grpcStatus(call: ClientHttp2Stream): Promise<unknown> {
  return new Promise((resolve) => {
    call.on('response', (headers) => {
      if (headers['grpc-status'] !== undefined) resolve(headers['grpc-status']);
    });
    call.on('trailers', (trailers: IncomingHttpHeaders) => resolve(trailers['grpc-status']));
    call.on('error', () => undefined);
    call.resume();
  });
}

describe('a call without a key', () => {
  let guarded: Gateway;
  beforeAll(async () => {
    guarded = await rig.replica({ settings: { auth: 'keys', rpcPort: 0 } });
  });

  test('is refused before its body is read, over HTTP/1.1', async () => {
    const socket = await open(guarded);
    const answer = answerOn(socket, (text) => text.includes('unauthenticated'));
    // The body never comes. An answer shows that it was not waited for.
    socket.write(head(CONVERT, ['content-type: application/proto', 'content-length: 40000000']));
    expect(statusOf(await answer)).toBe(401);
    socket.destroy();
  });

  test('is refused before its body is read, over gRPC', async () => {
    const session = connectHttp2(`http://127.0.0.1:${guarded.rpcPort}`);
    const call = session.request({ ':method': 'POST', ':path': CONVERT, 'content-type': 'application/grpc' });
    const status = await grpcStatus(call);
    expect(status).toBe('16');
    session.destroy();
  });

  test('over its rate is refused before its body is read', async () => {
    const { key } = await createKey(await openBucket(rig.bus.nc, buckets.apiKeys), 'slow', ['jobs:write']);
    const nowMs = Date.now();
    const limited = await rig.replica({
      now: () => nowMs,
      settings: { auth: 'keys', rates: { globalPerSecond: 0, accountPerSecond: 1, recipientPerHour: 0 } },
    });
    const headers = [`authorization: Bearer ${key}`, 'content-type: application/proto', 'content-length: 40000000'];
    const first = await open(limited);
    first.write(head(CONVERT, headers));
    const refused = async (): Promise<string> => {
      const socket = await open(limited);
      const answer = answerOn(socket, (text) => text.includes('"code"'));
      socket.write(head(CONVERT, headers));
      return answer.finally(() => socket.destroy());
    };
    expect(statusOf(await refused())).toBe(429);
    first.destroy();
  });
});

describe('a compressed call', () => {
  const bomb = (): Buffer => {
    const message = create(ConvertImageRequestSchema, {
      sources: [{ from: { case: 'content', value: Buffer.alloc(48 * MIB) } }],
    });
    return gzipSync(toBinary(ConvertImageRequestSchema, message));
  };
  const send = (gateway: Gateway, body: Buffer) =>
    fetch(`${gateway.url}${CONVERT}`, {
      method: 'POST',
      headers: { 'content-type': 'application/proto', 'content-encoding': 'gzip', 'connect-protocol-version': '1' },
      body,
    });

  test('that grows a thousandfold is refused, and not written out to be so', async () => {
    const body = bomb();
    expect(body.length).toBeLessThan(60_000);
    const answer = await send(rig.gateway, body);
    expect(await answer.json()).toMatchObject({
      code: 'resource_exhausted',
      message: expect.stringContaining('100 times') as string,
    });
  });

  test('is refused by the length that it states, before it is unpacked', async () => {
    const body = gzipSync(Buffer.alloc(1_000));
    body.writeUInt32LE(48 * MIB, body.length - 4);
    const answer = await send(rig.gateway, body);
    expect(await answer.json()).toMatchObject({
      code: 'resource_exhausted',
      message: expect.stringContaining('100 times') as string,
    });
  });

  test('is unpacked no further than it states', async () => {
    const body = Buffer.concat([gzipSync(Buffer.alloc(100_000)), gzipSync(Buffer.alloc(10))]);
    const answer = await send(rig.gateway, body);
    expect(await answer.json()).toMatchObject({
      code: 'invalid_argument',
      message: expect.stringContaining('10 bytes that it states') as string,
    });
  });

  test('holds as much memory as it states, and not as much as it may grow to', async () => {
    const small = await rig.replica({
      settings: { bodies: { totalBytes: 900_000, windowMs: 60_000, minBytesPerWindow: 1 } },
    });
    const message = create(ConvertImageRequestSchema, {
      sources: [{ from: { case: 'content', value: png(8, 6, 400_000) } }],
    });
    const answer = await send(small, gzipSync(toBinary(ConvertImageRequestSchema, message)));
    expect(answer.status).toBe(200);
  });

  test('of an image is taken', async () => {
    const message = create(ConvertImageRequestSchema, {
      sources: [{ from: { case: 'content', value: png(8, 6, 400_000) } }],
    });
    const answer = await send(rig.gateway, gzipSync(toBinary(ConvertImageRequestSchema, message)));
    expect(answer.status).toBe(200);
  });
});

describe('the bytes of all bodies together', () => {
  // Two uploads fit, at 16.25 MiB each, and next to nothing else.
  const bodies = { totalBytes: Math.round(32.6 * MIB), windowMs: 60_000, minBytesPerWindow: 1 };

  test('are bounded over HTTP and RPC: one more is refused before it is read, and room comes back', async () => {
    const small = await rig.replica({ settings: { bodies } });
    const held: Socket[] = [];
    for (let i = 0; i < 2; i += 1) {
      const socket = await open(small);
      socket.write(head('/v1/images', ['content-type: image/png', `content-length: ${100 * MIB}`]));
      socket.write(png().subarray(0, 40));
      held.push(socket);
    }
    await eventually(
      async () => small.bodyBytes(),
      (bytes) => bytes > 31 * MIB,
    );
    const answers: string[] = [];
    for (const [path, type] of [
      ['/v1/images', 'image/png'],
      [CONVERT, 'application/proto'],
      ['/v1/emails', 'application/json'],
    ] as const) {
      const socket = await open(small);
      const answer = answerOn(socket, (text) => text.includes('"code"'));
      socket.write(head(path, [`content-type: ${type}`, 'content-length: 200000']));
      answers.push(await answer);
      socket.destroy();
    }
    expect(answers.map(statusOf)).toEqual([503, 503, 503]);
    for (const answer of answers) expect(answer.toLowerCase()).toContain('retry-after: ');
    for (const socket of held) socket.destroy();
    await eventually(
      async () => small.bodyBytes(),
      (bytes) => bytes === 0,
    );
    expect((await rig.call(`${small.url}/v1/images`, { body: png() })).status).toBe(202);
  });

  test('count a gRPC message by the length that it begins with', async () => {
    const small = await rig.replica({ settings: { bodies, rpcPort: 0 } });
    const session = connectHttp2(`http://127.0.0.1:${small.rpcPort}`);
    const begin = (): ClientHttp2Stream => {
      const call = session.request({ ':method': 'POST', ':path': CONVERT, 'content-type': 'application/grpc' });
      const envelope = Buffer.alloc(5);
      envelope.writeUInt32BE(20 * MIB, 1);
      // In two pieces: a frame may end anywhere.
      call.write(envelope.subarray(0, 3), () => call.write(envelope.subarray(3)));
      return call;
    };
    begin().on('error', () => undefined);
    await eventually(
      async () => small.bodyBytes(),
      (bytes) => bytes >= 20 * MIB,
    );
    expect(await grpcStatus(begin())).toBe('14');
    session.destroy();
    await eventually(
      async () => small.bodyBytes(),
      (bytes) => bytes === 0,
    );
  });

  test('of one account leave room for another', async () => {
    const kv = await openBucket(rig.bus.nc, buckets.apiKeys);
    const greedy = (await createKey(kv, 'greedy', ['jobs:write'])).key;
    const modest = (await createKey(kv, 'modest', ['jobs:write'])).key;
    const small = await rig.replica({ settings: { bodies: { ...bodies, totalBytes: 66 * MIB }, auth: 'keys' } });
    const held: Socket[] = [];
    for (let i = 0; i < 8; i += 1) {
      const socket = await open(small);
      socket.write(
        head('/v1/images', [
          `authorization: Bearer ${greedy}`,
          'content-type: image/png',
          `content-length: ${100 * MIB}`,
        ]),
      );
      held.push(socket);
    }
    await eventually(
      async () => small.bodyBytes(),
      (bytes) => bytes > 30 * MIB,
    );
    const headers = { authorization: `Bearer ${modest}` };
    expect((await rig.call(`${small.url}/v1/images`, { body: png(8, 6, 400_000), headers })).status).toBe(202);
    for (const socket of held) socket.destroy();
  });
});

describe('what is left of a body whose request is answered', () => {
  let guarded: Gateway;
  beforeAll(async () => {
    guarded = await rig.replica({ settings: { auth: 'keys' } });
  });

  test('is not read when it is large: its connection is closed after the answer', async () => {
    const accepted = new Promise<Socket>((resolve) => guarded.app.server.once('connection', resolve));
    const mine = await open(guarded);
    const theirs = await accepted;
    const answer = answerOn(mine);
    mine.write(head('/v1/images', ['content-type: image/png', `content-length: ${64 * MIB}`]));
    for (let sent = 0; sent < 64; sent += 1) mine.write(Buffer.alloc(MIB));
    expect(statusOf(await answer)).toBe(401);
    expect(theirs.bytesRead).toBeLessThan(8 * MIB);
  });

  test.each([
    ['refused before it was read', 401, () => guarded],
    ['larger than its route takes', 413, () => rig.gateway],
  ])('is read when it is small, of one %s: the connection takes the next request', async (_, status, gateway) => {
    const mine = await open(gateway());
    const answer = answerOn(mine, (text) => text.includes('"status":"ok"'));
    mine.write(head('/v1/emails', ['content-type: application/json', `content-length: ${2 * MIB}`]));
    mine.write(Buffer.alloc(2 * MIB));
    mine.write('GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n');
    const statuses = [...(await answer).matchAll(/HTTP\/1.1 (\d+)/g)].map(([, text]) => Number(text));
    expect(statuses).toEqual([status, 200]);
    mine.destroy();
  });
});

describe('a body that stalls', () => {
  const bodies = { totalBytes: 64 * MIB, windowMs: 400, minBytesPerWindow: 1_000 };
  let hasty: Gateway;
  beforeAll(async () => {
    hasty = await rig.replica({ settings: { bodies, rpcPort: 0 } });
  });

  test.each([
    ['/v1/images', 'image/png', png().subarray(0, 40)],
    ['/v1/emails', 'application/json', Buffer.from('{"to":')],
  ])('of %s is cut, and its memory given back', async (path, type, begin) => {
    const socket = await open(hasty);
    const answer = answerOn(socket);
    socket.write(head(path, [`content-type: ${type}`, 'content-length: 100000']));
    socket.write(begin);
    const text = await answer;
    expect([statusOf(text), text.includes('request_timeout')]).toEqual([408, true]);
    await eventually(
      async () => hasty.bodyBytes(),
      (bytes) => bytes === 0,
    );
  });

  test('leaves no answer unread for long, either', async () => {
    const deaf = connectHttp2(`http://127.0.0.1:${hasty.rpcPort}`, { settings: { initialWindowSize: 0 } });
    const call = deaf.request({ ':method': 'POST', ':path': CONVERT, 'content-type': 'application/json' });
    const ended = new Promise((resolve) => call.once('close', resolve));
    call.on('error', () => undefined);
    call.end('no JSON');
    await ended;
    expect(call.rstCode).toBe(constants.NGHTTP2_CANCEL);
    deaf.destroy();
  });

  test('of a call is cut, over HTTP/1.1 and over gRPC', async () => {
    const socket = await open(hasty);
    const answer = answerOn(socket, (text) => text.includes('"code"'));
    socket.write(head(CONVERT, ['content-type: application/proto', 'content-length: 100000']));
    socket.write('x');
    expect(await answer).toContain('deadline_exceeded');
    socket.destroy();
    const session = connectHttp2(`http://127.0.0.1:${hasty.rpcPort}`);
    const call: ClientHttp2Stream = session.request({
      ':method': 'POST',
      ':path': CONVERT,
      'content-type': 'application/grpc',
    });
    call.write(Buffer.from([0, 0, 1, 0, 0]));
    const status = await grpcStatus(call);
    expect(status).toBe('4');
    session.destroy();
    await eventually(
      async () => hasty.bodyBytes(),
      (bytes) => bytes === 0,
    );
  });
});

test('an RPC connection without a call is closed', async () => {
  const idle = await rig.replica({ settings: { rpcPort: 0, rpcIdleMs: 200 } });
  const session = connectHttp2(`http://127.0.0.1:${idle.rpcPort}`);
  // Pings are no work.
  const pings = setInterval(() => !session.closed && session.ping(() => undefined), 50);
  await new Promise((resolve) => session.once('close', resolve));
  clearInterval(pings);
});
