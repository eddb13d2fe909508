import { request as requestHttp1 } from 'node:http';
import {
  connect,
  constants,
  type ClientHttp2Session,
  type ClientHttp2Stream,
  type IncomingHttpHeaders,
} from 'node:http2';
import { connect as connectSocket, type Socket } from 'node:net';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { gzipSync } from 'node:zlib';
import { create, fromBinary, toBinary, type MessageInitShape } from '@bufbuild/protobuf';
import { Code, ConnectError } from '@connectrpc/connect';
import { EventService, RecordEventsRequestSchema, RecordEventsResponseSchema } from '@sluice/contracts';
import { buckets, openBucket } from '@sluice/messaging';
import { silentLogger } from '@sluice/pipeline';
import type { Logger } from '@sluice/telemetry';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { createKey } from '../src/accounts/api-keys.ts';
import { RateLimiter } from '../src/accounts/rate-limiter.ts';
import { BodyBudget } from '../src/admission/body-budget.ts';
import { BodyWatch } from '../src/admission/body-watch.ts';
import { GatewayError } from '../src/errors.ts';
import { startRpcServer, type RpcServer } from '../src/grpc/server.ts';
import type { UnaryMethod } from '../src/grpc/services.ts';
import { unaryServer } from '../src/grpc/unary.ts';
import { eventually, startRig, type Rig } from './rig.ts';

const RECORD = '/sluice.v1.EventService/RecordEvents';
const GET_JOB = '/sluice.v1.JobService/GetJob';

interface Answer {
  readonly status: string | undefined;
  /** Of the answer's head and of its trailers, together. */
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Buffer;
}

const framed = (message: Uint8Array, flags = 0): Buffer => {
  const prefix = Buffer.alloc(5);
  prefix[0] = flags;
  prefix.writeUInt32BE(message.length, 1);
  return Buffer.concat([prefix, message]);
};
const events = (list: MessageInitShape<typeof RecordEventsRequestSchema>['events']): Uint8Array =>
  toBinary(RecordEventsRequestSchema, create(RecordEventsRequestSchema, { events: list! }));
const oneEvent = (messageId = 'm1', appId = 'frames'): Uint8Array => events([{ appId, messageId, event: 'published' }]);
const acceptedOf = ({ body }: Answer): number => fromBinary(RecordEventsResponseSchema, body.subarray(5)).accepted;

const textOf = (headers: Readonly<Record<string, string | string[] | undefined>>): Record<string, string> =>
  Object.fromEntries(Object.entries(headers).map(([name, value]) => [name, String(value)]));

interface Asked {
  readonly path?: string;
  readonly headers?: Readonly<Record<string, string>>;
}

function openCall(session: ClientHttp2Session, { path = RECORD, headers = {} }: Asked = {}): ClientHttp2Stream {
  return session.request({
    ':method': 'POST',
    ':path': path,
    'content-type': 'application/grpc',
    te: 'trailers',
    ...headers,
  });
}

/** What a call on HTTP/2 is answered. */
function answerOf(call: ClientHttp2Stream): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const headers: Record<string, string> = {};
    const chunks: Buffer[] = [];
    call.on('response', (head) => Object.assign(headers, textOf(head as IncomingHttpHeaders)));
    call.on('trailers', (trailers: IncomingHttpHeaders) => Object.assign(headers, textOf(trailers)));
    call.on('data', (chunk: Buffer) => chunks.push(chunk));
    call.on('error', reject);
    call.on('close', () => resolve({ status: headers['grpc-status'], headers, body: Buffer.concat(chunks) }));
  });
}

async function callOn(session: ClientHttp2Session, body: Buffer, asked?: Asked): Promise<Answer> {
  const call = openCall(session, asked);
  const answer = answerOf(call);
  call.end(body);
  return answer;
}

/** The same on the HTTP port, where the framework answers. */
function callOnHttp1(url: string, body: Buffer, { path = RECORD, headers = {} }: Asked = {}): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const asked = { method: 'POST', headers: { 'content-type': 'application/grpc', te: 'trailers', ...headers } };
    const request = requestHttp1(`${url}${path}`, asked, (response) => {
      const chunks: Buffer[] = [];
      response.on('data', (chunk: Buffer) => chunks.push(chunk));
      response.on('error', reject);
      response.on('end', () => {
        const all = { ...textOf(response.headers), ...textOf(response.trailers) };
        resolve({ status: all['grpc-status'], headers: all, body: Buffer.concat(chunks) });
      });
    });
    request.on('error', reject);
    request.end(body);
  });
}

/** A frame of HTTP/2, as no client library would send it. */
function frame(
  type: 'data' | 'headers' | 'reset' | 'settings' | 'unknown',
  flags: number,
  stream: number,
  payload: Buffer,
): Buffer {
  const head = Buffer.alloc(9);
  head.writeUIntBE(payload.length, 0, 3);
  head[3] = { data: 0, headers: 1, reset: 3, settings: 4, unknown: 0xfa }[type];
  head[4] = flags;
  head.writeUInt32BE(stream, 5);
  return Buffer.concat([head, payload]);
}
const END_HEADERS = 4;
const headersOf = (path: string): Buffer =>
  Buffer.concat([
    // POST and http are in the static table of HPACK.
    Buffer.from([0x83, 0x86]),
    ...[
      [':path', path],
      [':authority', 'frames'],
      ['content-type', 'application/grpc'],
      ['te', 'trailers'],
    ].map(([name, value]) => {
      const text = (of: string): Buffer => Buffer.concat([Buffer.from([of.length]), Buffer.from(of)]);
      return Buffer.concat([Buffer.from([0]), text(name!), text(value!)]);
    }),
  ]);
/** The beginning of a call: its headers and some of its bytes, without an end. */
const begunCall = (stream: number, path: string, bytes: Buffer): Buffer =>
  Buffer.concat([frame('headers', END_HEADERS, stream, headersOf(path)), frame('data', 0, stream, bytes)]);

async function rawConnection(port: number): Promise<Socket> {
  const socket = connectSocket(port, '127.0.0.1');
  socket.on('error', () => undefined).resume();
  await new Promise((resolve) => socket.once('connect', resolve));
  socket.write('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n');
  socket.write(frame('settings', 0, 0, Buffer.alloc(0)));
  return socket;
}

let rig: Rig;
let session: ClientHttp2Session;
beforeAll(async () => {
  rig = await startRig({ settings: { rpcPort: 0 } });
  session = connect(`http://127.0.0.1:${rig.gateway.rpcPort}`);
});
afterAll(async () => {
  session?.destroy();
  await rig?.stop();
});

/** Headers of HTTP itself, and of a trace that differs each time. */
const ofTransport = new Set([
  ':status',
  'connection',
  'date',
  'keep-alive',
  'traceresponse',
  'trailer',
  'transfer-encoding',
  'x-trace-id',
  // What the framework says where it would compress an answer, which has none of a size worth it here.
  'grpc-encoding',
]);

const said = ({ headers, body }: Answer) => ({
  headers: Object.fromEntries(Object.entries(headers).filter(([name]) => !ofTransport.has(name))),
  traced: 'x-trace-id' in headers && 'traceresponse' in headers,
  body: body.toString('hex'),
});

describe('a call straight on HTTP/2 is answered as the framework answers it', () => {
  const cases: readonly (readonly [what: string, status: string, body: Buffer, asked?: Asked])[] = [
    ['a whole message', '0', framed(oneEvent())],
    ['the longer content type', '0', framed(oneEvent()), { headers: { 'content-type': 'application/grpc+proto' } }],
    ['a message of no bytes', '3', framed(new Uint8Array())],
    ['nothing', '12', Buffer.alloc(0)],
    ['a part of a prefix', '3', framed(oneEvent()).subarray(0, 4)],
    ['a part of a message', '3', framed(oneEvent()).subarray(0, 9)],
    ['two messages', '12', Buffer.concat([framed(oneEvent()), framed(oneEvent())])],
    ['a message over the limit', '8', Buffer.from([0, 0xff, 0xff, 0xff, 0xff, 1, 2, 3])],
    ['a compressed message of no encoding', '13', framed(gzipSync(oneEvent()), 1)],
    ['what is no protobuf', '13', framed(Buffer.from([0xff, 0xff, 0xff]))],
    ['a text that is no UTF-8', '13', framed(Buffer.from([0x0a, 0x04, 0x0a, 0x02, 0xff, 0xfe]))],
    ['a field that is not known', '0', framed(Buffer.concat([oneEvent(), Buffer.from([0xf8, 0x07, 1])]))],
    ['an event that is refused', '3', framed(events([{ appId: 'image', messageId: 'm', event: 'e' }]))],
    ['a job that is not there', '5', framed(new Uint8Array()), { path: GET_JOB }],
    ['a deadline', '0', framed(oneEvent()), { headers: { 'grpc-timeout': '20S' } }],
    ['a deadline in years', '0', framed(oneEvent()), { headers: { 'grpc-timeout': '99999999H' } }],
    ['a deadline that is none', '3', framed(oneEvent()), { headers: { 'grpc-timeout': 'soon' } }],
    ['a deadline of too many digits', '3', framed(oneEvent()), { headers: { 'grpc-timeout': '123456789S' } }],
    ['an encoding that is none', '0', framed(oneEvent()), { headers: { 'grpc-encoding': 'identity' } }],
    ['a compressed message', '0', framed(gzipSync(oneEvent()), 1), { headers: { 'grpc-encoding': 'gzip' } }],
    ['an encoding that is not known', '12', framed(oneEvent(), 1), { headers: { 'grpc-encoding': 'snappy' } }],
    ['a key that is malformed', '3', framed(oneEvent()), { headers: { 'idempotency-key': 'é'.repeat(300) } }],
    [
      'JSON',
      '0',
      framed(Buffer.from('{"events":[{"appId":"a","messageId":"m","event":"e"}]}')),
      {
        headers: { 'content-type': 'application/grpc+json' },
      },
    ],
  ];

  const named = cases.map(([what, status, body, asked]) => ({ what, status, body, asked }));
  test.each(named)('$what: $status', async ({ status, body, asked }) => {
    const direct = await callOn(session, body, asked);
    const framework = await callOnHttp1(rig.gateway.url, body, asked);
    expect(direct.status).toBe(status);
    expect(said(direct)).toEqual(said(framework));
  });

  test('but a prefix without its message, which the framework takes for no message', async () => {
    expect((await callOn(session, framed(oneEvent()).subarray(0, 5))).status).toBe('3');
  });

  test('who may not call, and who calls too often', async () => {
    const keys = await openBucket(rig.bus.nc, buckets.apiKeys);
    const { key } = await createKey(keys, 'counted', ['events:write']);
    const nowMs = Date.now();
    const guarded = await rig.replica({
      now: () => nowMs,
      settings: { rpcPort: 0, auth: 'keys', rates: { globalPerSecond: 100, accountPerSecond: 4, recipientPerHour: 0 } },
    });
    const own = connect(`http://127.0.0.1:${guarded.rpcPort}`);
    const both = async (asked: Asked): Promise<readonly [direct: Answer, framework: Answer]> => [
      await callOn(own, framed(oneEvent('m1', 'counted')), asked),
      await callOnHttp1(guarded.url, framed(oneEvent('m1', 'counted')), asked),
    ];
    const bearer = { authorization: `Bearer ${key}` };
    for (const [asked, status] of [
      [{}, '16'],
      [{ headers: { authorization: 'Bearer sk_wrong' } }, '16'],
      [{ headers: bearer, path: GET_JOB }, '7'],
    ] as const) {
      const [direct, framework] = await both(asked);
      expect(direct.status).toBe(status);
      expect(said(direct)).toEqual(said(framework));
    }
    // Of four in the window, two are taken; the framework's answer counts what ours has left.
    const [direct, framework] = await both({ headers: bearer });
    expect([direct.status, framework.status]).toEqual(['0', '0']);
    expect(direct.headers['ratelimit']).toMatch(/"account";r=3/);
    expect(framework.headers['ratelimit']).toMatch(/"account";r=2/);
    await both({ headers: bearer });
    const [over, overToo] = await both({ headers: bearer });
    expect(over.status).toBe('8');
    expect(Number(over.headers['retry-after'])).toBeGreaterThan(0);
    expect(said(over)).toEqual(said(overToo));
    own.destroy();
  });
});

describe('what is no plain call', () => {
  test('of an unknown path is told so', async () => {
    for (const path of ['/sluice.v1.EventService/Nothing', '/', '/sluice.v1.EventService']) {
      const { headers } = await callOn(session, framed(oneEvent()), { path });
      expect([headers[':status'], headers['grpc-status']]).toEqual(['404', undefined]);
    }
  });

  test('is the call nonetheless when its path carries a query', async () => {
    expect((await callOn(session, framed(oneEvent()), { path: `${RECORD}?x=1` })).status).toBe('0');
  });

  test.each(['text/plain', 'application/grpc+thrift', 'application/grpc; charset=utf-8', 'application/grpcx'])(
    'of type %s is not taken',
    async (type) => {
      const { headers } = await callOn(session, framed(oneEvent()), { headers: { 'content-type': type } });
      expect(headers[':status']).toBe('415');
    },
  );

  test('is answered as Connect where it is that', async () => {
    const headers = { 'content-type': 'application/json', 'connect-protocol-version': '1' };
    const json = JSON.stringify({ events: [{ appId: 'frames', messageId: 'c1', event: 'published' }] });
    const answer = await callOn(session, Buffer.from(json), { headers });
    expect([answer.headers[':status'], answer.body.toString()]).toEqual(['200', '{"accepted":1}']);
  });

  test('is a method that calls do not have', async () => {
    for (const method of ['GET', 'PUT']) {
      const call = session.request({ ':method': method, ':path': RECORD, 'content-type': 'application/grpc' });
      const answer = answerOf(call);
      call.end();
      expect((await answer).headers[':status']).toBe('405');
    }
  });
});

describe('a message', () => {
  test('may come in any pieces', async () => {
    const whole = framed(oneEvent('pieces'));
    await Promise.all(
      Array.from({ length: whole.length - 1 }, async (_, at) => {
        const call = openCall(session);
        const answer = answerOf(call);
        call.write(whole.subarray(0, at + 1));
        await new Promise((resolve) => setImmediate(resolve));
        call.end(whole.subarray(at + 1));
        expect((await answer).status).toBe('0');
      }),
    );
    const slow = openCall(session);
    const answer = answerOf(slow);
    for (const byte of whole) await new Promise((resolve) => slow.write(Buffer.from([byte]), resolve));
    slow.end();
    expect(acceptedOf(await answer)).toBe(1);
  });

  test('of many at once has its own answer', async () => {
    const counts = Array.from({ length: 150 }, (_, at) => (at % 7) + 1);
    const answers = await Promise.all(
      counts.map((count, at) =>
        callOn(
          session,
          framed(
            events(
              Array.from({ length: count }, (__, n) => ({ appId: 'frames', messageId: `b${at}-${n}`, event: 'e' })),
            ),
          ),
        ),
      ),
    );
    expect(answers.filter(({ status }) => status !== '0').map(({ headers }) => headers)).toEqual([]);
    expect(answers.map(acceptedOf)).toEqual(counts);
  });

  test('with a key that was used is stored once', async () => {
    const headers = { 'idempotency-key': 'frames-1' };
    const twice = [await callOn(session, framed(oneEvent('keyed')), { headers })];
    twice.push(await callOn(session, framed(oneEvent('keyed')), { headers }));
    expect(twice.map(acceptedOf)).toEqual([1, 1]);
    const { body } = await rig.call<{ events: unknown[] }>('/v1/messages/frames/keyed');
    expect(body.events).toHaveLength(1);
    const other = await callOn(session, framed(oneEvent('another')), { headers });
    expect(other.status).toBe('6');
  });

  test('that was refused is not read on: its stream ends, and the connection takes the next call', async () => {
    const call = openCall(session);
    const answer = answerOf(call);
    // More would come for ever.
    call.write(Buffer.from([0, 0xff, 0xff, 0xff, 0xff]));
    expect((await answer).status).toBe('8');
    expect(call.rstCode).toBe(constants.NGHTTP2_NO_ERROR);
    expect((await callOn(session, framed(oneEvent()))).status).toBe('0');
  });

  test.each([
    ['', constants.NGHTTP2_NO_ERROR],
    ['', constants.NGHTTP2_CANCEL],
    ['?by=the-framework', constants.NGHTTP2_NO_ERROR],
    ['?by=the-framework', constants.NGHTTP2_CANCEL],
  ])('that came whole is not worked on when its call is reset before its end (%s, %s)', async (query, code) => {
    const messageId = `reset-${query.length}-${code}`;
    const socket = await rawConnection(rig.gateway.rpcPort!);
    const codeBytes = Buffer.alloc(4);
    codeBytes.writeUInt32BE(code);
    socket.write(begunCall(1, `${RECORD}${query}`, framed(oneEvent(messageId))));
    await eventually(
      async () => rig.gateway.bodyBytes(),
      (bytes) => bytes >= framed(oneEvent(messageId)).length,
    );
    socket.write(frame('reset', 0, 1, codeBytes));
    await eventually(
      async () => rig.gateway.bodyBytes(),
      (bytes) => bytes === 0,
    );
    // Behind all that it would have stored.
    expect((await callOn(session, framed(oneEvent(`${messageId}-next`)))).status).toBe('0');
    const found = await rig.call<{ events?: unknown[] }>(`/v1/messages/frames/${messageId}`);
    expect(found.status).toBe(404);
    socket.destroy();
  });

  test('may be followed by trailers', async () => {
    const call = session.request(
      { ':method': 'POST', ':path': RECORD, 'content-type': 'application/grpc', te: 'trailers' },
      { waitForTrailers: true },
    );
    call.on('wantTrailers', () => call.sendTrailers({ 'x-checksum': 'abc' }));
    const answer = answerOf(call);
    call.end(framed(oneEvent()));
    expect((await answer).status).toBe('0');
  });
});

test('a body that finds no room in memory is refused, and the room comes back', async () => {
  const bodies = { totalBytes: 100_000, windowMs: 60_000, minBytesPerWindow: 1 };
  const small = await rig.replica({ settings: { rpcPort: 0, bodies } });
  const own = connect(`http://127.0.0.1:${small.rpcPort}`);
  const held = openCall(own, { headers: { 'content-length': '90000' } });
  held.on('error', () => undefined);
  held.write(framed(Buffer.alloc(89_995)).subarray(0, 10));
  await eventually(
    async () => small.bodyBytes(),
    (bytes) => bytes === 90_000,
  );
  const declared = openCall(own, { headers: { 'content-length': '20000' } });
  expect((await answerOf(declared)).status).toBe('14');
  // Nothing is declared here: what comes is counted as it comes.
  const growing = openCall(own);
  const answer = answerOf(growing);
  growing.write(framed(Buffer.alloc(60_000)).subarray(0, 30_000));
  expect((await answer).status).toBe('14');
  held.close(constants.NGHTTP2_CANCEL);
  await eventually(
    async () => small.bodyBytes(),
    (bytes) => bytes === 0,
  );
  expect((await callOn(own, framed(oneEvent()))).status).toBe('0');
  own.destroy();
});

describe('work', () => {
  const off = { name: 'off', limit: 0, windowMs: 1_000 };
  let stops: (() => Promise<void>)[] = [];
  afterEach(async () => {
    for (const stop of stops) await stop();
    stops = [];
  });

  /** A server of one method that does what a test says. */
  async function serving(
    answer: UnaryMethod['answer'],
    rule = { windowMs: 60_000, minBytesPerWindow: 1 },
  ): Promise<{
    readonly server: RpcServer;
    readonly own: ClientHttp2Session;
    readonly budget: BodyBudget;
  }> {
    const budget = new BodyBudget(2 ** 20, false);
    const watch = new BodyWatch(rule);
    const bodies = { budget, watch };
    const access = {
      keys: undefined,
      limiter: new RateLimiter(undefined as never),
      limits: { global: off, account: off, recipient: off },
    };
    const log = silentLogger as unknown as Logger;
    const methods = [{ desc: EventService.method.recordEvents, answer }];
    const unary = unaryServer(methods, { access, bodies, readMaxBytes: 2 ** 19, log });
    const server = await startRpcServer({ handlers: [], unary, bodies }, { host: '127.0.0.1', port: 0 }, log);
    const own = connect(`http://127.0.0.1:${server.port}`);
    stops.push(async () => {
      own.destroy();
      await server.stop(0);
      watch.close();
    });
    return { server, own, budget };
  }

  test('that goes on past its deadline is answered for, once', async () => {
    const work = Promise.withResolvers<Record<string, unknown>>();
    const { own, budget } = await serving(() => work.promise);
    const late = await callOn(own, framed(oneEvent()), { headers: { 'grpc-timeout': '20m' } });
    expect([late.status, late.headers['grpc-message']]).toEqual(['4', 'the%20operation%20timed%20out']);
    expect(budget.heldBytes).toBeGreaterThan(0);
    work.resolve({ accepted: 1 });
    await eventually(
      async () => budget.heldBytes,
      (bytes) => bytes === 0,
    );
    expect(acceptedOf(await callOn(own, framed(oneEvent())))).toBe(1);
  });

  test('of a message that never ends is over with its deadline', async () => {
    const { own, budget } = await serving(() => expect.fail('was called'));
    const call = openCall(own, { headers: { 'grpc-timeout': '30m' } });
    const answer = answerOf(call);
    call.write(framed(oneEvent()));
    expect((await answer).status).toBe('4');
    await eventually(
      async () => budget.heldBytes,
      (bytes) => bytes === 0,
    );
  });

  /** A call whose work has begun, and ends when the test says so. */
  const workedOn = async () => {
    const work = Promise.withResolvers<Record<string, unknown>>();
    const begun = Promise.withResolvers<void>();
    const { own, budget } = await serving(() => {
      begun.resolve();
      return work.promise;
    });
    const call = openCall(own);
    call.on('error', () => undefined);
    call.end(framed(oneEvent()));
    await begun.promise;
    return { own, budget, call, work };
  };

  test('whose client has gone is dropped, its message counted until nothing holds it', async () => {
    const { own, budget, call, work } = await workedOn();
    const held = budget.heldBytes;
    expect(held).toBeGreaterThan(0);
    const gone = new Promise((resolve) => call.once('close', resolve));
    call.close(constants.NGHTTP2_CANCEL);
    await gone;
    const late = await callOn(own, framed(oneEvent()), { headers: { 'grpc-timeout': '20m' } });
    expect([late.status, budget.heldBytes]).toEqual(['4', 2 * held]);
    work.resolve({ accepted: 1 });
    await eventually(
      async () => budget.heldBytes,
      (bytes) => bytes === 0,
    );
    expect(acceptedOf(await callOn(own, framed(oneEvent())))).toBe(1);
  });

  test('whose answer is not read holds nothing of its message, and its stream ends', async () => {
    const { server, budget } = await serving(async () => ({ accepted: 1 }), { windowMs: 100, minBytesPerWindow: 1 });
    const deaf = connect(`http://127.0.0.1:${server.port}`, { settings: { initialWindowSize: 0 } });
    const call = openCall(deaf);
    const answered = new Promise((resolve) => call.once('response', resolve));
    const ended = new Promise((resolve) => call.once('close', resolve));
    call.on('error', () => undefined);
    call.end(framed(oneEvent()));
    await answered;
    expect(budget.heldBytes).toBe(0);
    await ended;
    expect(call.rstCode).toBe(constants.NGHTTP2_CANCEL);
    deaf.destroy();
  });

  test('of a message that has begun keeps what has come of it, and nothing that came with it', async () => {
    const { server, budget } = await serving(() => expect.fail('was called'));
    setFlagsFromString('--expose-gc');
    const collect = runInNewContext('gc') as () => void;
    collect();
    const before = process.memoryUsage().arrayBuffers;
    const socket = await rawConnection(server.port);
    const noise = Buffer.concat(Array.from({ length: 4 }, () => frame('unknown', 0, 0, Buffer.alloc(15_000))));
    const calls = 150;
    for (let at = 0; at < calls; at += 1) {
      socket.write(Buffer.concat([begunCall(2 * at + 1, RECORD, Buffer.from([0])), noise]));
      await eventually(
        async () => budget.heldBytes,
        (bytes) => bytes > at,
      );
    }
    // Nine megabytes came.
    await eventually(
      async () => {
        collect();
        return process.memoryUsage().arrayBuffers - before;
      },
      (bytes) => bytes < 2 ** 20,
    );
    socket.destroy();
  });

  test('of a client that goes at once is not begun', async () => {
    const { own, budget } = await serving(async () => ({ accepted: 1 }));
    for (let at = 0; at < 50; at += 1) {
      const call = openCall(own);
      call.on('error', () => undefined);
      if (at % 2 === 0) call.write(framed(oneEvent()).subarray(0, at % 8));
      call.close(constants.NGHTTP2_CANCEL);
    }
    expect(acceptedOf(await callOn(own, framed(oneEvent())))).toBe(1);
    await eventually(
      async () => budget.heldBytes,
      (bytes) => bytes === 0,
    );
  });

  test('whose connection breaks gives its memory back', async () => {
    const { own, budget, work } = await workedOn();
    own.destroy();
    work.resolve({ accepted: 1 });
    await eventually(
      async () => budget.heldBytes,
      (bytes) => bytes === 0,
    );
  });

  test('that fails says nothing of the inside', async () => {
    for (const thrown of [new Error('password is 1234'), new TypeError('x is undefined')]) {
      const { own } = await serving(() => Promise.reject(thrown));
      const { status, headers } = await callOn(own, framed(oneEvent()));
      expect([status, JSON.stringify(headers).includes(thrown.message)]).toEqual(['13', false]);
    }
    const { own } = await serving(() => {
      throw new GatewayError('overloaded', 'Später: 100 % voll.', { retryAfterSeconds: 3 });
    });
    const refused = await callOn(own, framed(oneEvent()));
    expect([refused.status, refused.headers['retry-after']]).toEqual(['14', '3']);
    expect(decodeURIComponent(refused.headers['grpc-message']!)).toBe('Später: 100 % voll.');
  });

  test('that is refused in half a character says so nonetheless', async () => {
    const { own } = await serving(() => {
      throw new GatewayError('overloaded', 'cut here: \ud83d');
    });
    const { status, headers } = await callOn(own, framed(oneEvent()));
    expect([status, decodeURIComponent(headers['grpc-message']!)]).toEqual(['14', 'cut here: \ufffd']);
  });

  test('whose answer cannot be written ends its stream with an error, and the connection goes on', async () => {
    const messages = ['\ud83d', 'whole'];
    const { own } = await serving(() => {
      throw new ConnectError(messages.shift()!, Code.Aborted);
    });
    await expect(callOn(own, framed(oneEvent()))).rejects.toThrow('NGHTTP2_INTERNAL_ERROR');
    expect((await callOn(own, framed(oneEvent()))).status).toBe('10');
  });

  test('whose result cannot be written is a failure of ours', async () => {
    const { own } = await serving(async () => ({ accepted: -1 }));
    expect((await callOn(own, framed(oneEvent()))).status).toBe('13');
  });

  test('under way is answered when the server stops', async () => {
    const work = Promise.withResolvers<Record<string, unknown>>();
    const begun = Promise.withResolvers<void>();
    const { server, own } = await serving(() => {
      begun.resolve();
      return work.promise;
    });
    const answer = callOn(own, framed(oneEvent()));
    await begun.promise;
    const stopped = server.stop(60_000);
    work.resolve({ accepted: 5 });
    expect(acceptedOf(await answer)).toBe(5);
    await stopped;
  });

  test('knows the headers of its request by their names in lower case', async () => {
    const seen: (string | undefined)[] = [];
    const { own } = await serving(async (_, { requestHeader }) => {
      seen.push(requestHeader('x-many'), requestHeader('x-none'));
      return { accepted: 1 };
    });
    await callOn(own, framed(oneEvent()), { headers: { 'X-Many': 'a' } });
    expect(seen).toEqual(['a', undefined]);
  });
});
