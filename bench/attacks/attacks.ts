import { createServer } from 'node:http';
import { connect as connectHttp2 } from 'node:http2';
import { connect, type AddressInfo, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { gzipSync } from 'node:zlib';
import { create, toBinary } from '@bufbuild/protobuf';
import { ConvertImageRequestSchema } from '@sluice/contracts';
import { jobIdFor } from '@sluice/jobs';
import type { StackUrls } from '@sluice/cli';

/** Where an attack goes, and the key of the account behind it. */
export interface Target {
  readonly urls: StackUrls;
  readonly key: string;
  readonly account: string;
  /** A picture that is converted in no time. */
  readonly picture: Buffer;
  /** Aborted when the attack is to end. */
  readonly signal: AbortSignal;
}

const MIB = 2 ** 20;
const CONVERT = '/sluice.v1.UserService/ConvertImage';
const DAY_MS = 86_400_000;
const json = { 'content-type': 'application/json' };

const post = async (
  { urls, key, signal }: Target,
  path: string,
  body: string | Uint8Array<ArrayBuffer>,
  headers: Record<string, string>,
): Promise<void> => {
  try {
    const answer = await fetch(`${urls.gateway}${path}`, {
      method: 'POST',
      body,
      headers: { authorization: `Bearer ${key}`, ...headers },
      signal,
    });
    await answer.arrayBuffer();
  } catch {
    // Refused and cut off is what an attacker has to expect.
  }
};

/** Runs a step again and again, so many at once, until the attack is to end. */
async function repeat(atOnce: number, { signal }: Target, step: (n: number) => Promise<unknown>): Promise<void> {
  let next = 0;
  const worker = async (): Promise<void> => {
    while (!signal.aborted) await step((next += 1));
  };
  await Promise.all(Array.from({ length: atOnce }, worker));
}

const untilAborted = ({ signal }: Target): Promise<unknown> =>
  sleep(3_600_000, undefined, { signal }).catch(() => undefined);

async function openSocket(host: string): Promise<Socket> {
  const { hostname, port } = new URL(host.includes('://') ? host : `tcp://${host}`);
  const socket = connect(Number(port), hostname);
  socket.on('error', () => undefined);
  await new Promise((resolve) => socket.once('connect', resolve).once('error', resolve));
  return socket;
}

const mailTo = (to: string, more: object = {}): string =>
  JSON.stringify({ to, template: 'welcome', variables: { name: 'Ada' }, ...more });

/** Mails whose keys look like those of the system's own jobs, and the images whose notices would have them. */
const takenIds = (target: Target): Promise<void> => {
  const generation = Math.floor(Date.now() / DAY_MS);
  return repeat(4, target, async (n) => {
    const imageId = jobIdFor(target.account, `image-${n}`, generation);
    const mail = mailTo(`a${n}@example.com`);
    await post(target, '/v1/emails', mail, { ...json, 'idempotency-key': `notify:${imageId}` });
    const headers = { 'content-type': 'image/png', 'idempotency-key': `image-${n}` };
    await post(target, `/v1/images?notify=b${n}@example.com`, new Uint8Array(target.picture), headers);
  });
};

/** Commands over NATS whose header blocks the client library refuses to parse. */
async function badHeaders(target: Target): Promise<void> {
  const socket = await openSocket(target.urls.nats);
  socket.resume();
  socket.write('CONNECT {"verbose":false,"headers":true,"no_responders":true}\r\n');
  const blocks = ['NATS/1.0\r\n : x\r\n\r\n', 'NATS/1.0\r\nKöpfe: x\r\n\r\n', 'NATS/1.0\r\n: x\r\n\r\n'];
  for (let n = 0; n < 300; n += 1) {
    const head = blocks[n % blocks.length] ?? '';
    const body = n % 2 === 0 ? 'no command' : '';
    const headBytes = Buffer.byteLength(head);
    socket.write(`HPUB user.send.email ${headBytes} ${headBytes + body.length}\r\n${head}${body}\r\n`);
  }
  await untilAborted(target);
  socket.destroy();
}

/** Webhooks of receivers that take 14 s to answer. */
async function slowReceivers(target: Target): Promise<void> {
  const server = createServer((_request, response) => void setTimeout(() => response.end(), 14_000).unref());
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  await repeat(8, target, (n) =>
    post(target, '/v1/emails', mailTo(`w${n}@example.com`, { callbackUrl: `http://127.0.0.1:${port}/${n}` }), json),
  );
  server.closeAllConnections();
  server.close();
}

/** Compressed calls that grow a thousandfold, without a key and with one, and calls that never end. */
async function growingCalls(target: Target): Promise<void> {
  const sources = [{ from: { case: 'content' as const, value: Buffer.alloc(48 * MIB) } }];
  const message = create(ConvertImageRequestSchema, { sources });
  const compressed = new Uint8Array(gzipSync(toBinary(ConvertImageRequestSchema, message)));
  const headers = { 'content-type': 'application/proto', 'content-encoding': 'gzip', 'connect-protocol-version': '1' };
  const session = connectHttp2(`http://${target.urls.grpc}`);
  session.on('error', () => undefined);
  const beginning = Buffer.concat([Buffer.from([0, 3, 0, 0, 0]), Buffer.alloc(2 * MIB)]);
  for (let n = 0; n < 20; n += 1) {
    const call = session.request({
      ':method': 'POST',
      ':path': CONVERT,
      'content-type': 'application/grpc',
      authorization: `Bearer ${target.key}`,
    });
    call.on('error', () => undefined);
    call.write(beginning);
  }
  await repeat(20, target, (n) =>
    post(n % 2 === 0 ? target : { ...target, key: 'none' }, CONVERT, compressed, headers),
  );
  session.destroy();
}

/** Uploads that stand still after their first megabytes. */
async function stalledUploads(target: Target): Promise<void> {
  const sockets: Socket[] = [];
  const head = [
    'POST /v1/images HTTP/1.1',
    'host: localhost',
    `authorization: Bearer ${target.key}`,
    'content-type: image/png',
    `content-length: ${100 * MIB}`,
  ].join('\r\n');
  const piece = Buffer.alloc(16 * MIB);
  for (let n = 0; n < 60 && !target.signal.aborted; n += 1) {
    const socket = await openSocket(target.urls.gateway);
    socket.write(`${head}\r\n\r\n`);
    socket.write(target.picture);
    socket.write(piece);
    sockets.push(socket);
  }
  await untilAborted(target);
  for (const socket of sockets) socket.destroy();
}

/** Events of a thousand apps, a thousand at a time. */
const floodOfEvents = (target: Target): Promise<void> =>
  repeat(8, target, (n) => {
    const events = Array.from({ length: 1_000 }, (_, i) => ({
      app_id: `flood_${n}_${i}`,
      message_id: `m${i}`,
      event: 'seen',
    }));
    return post(target, '/v1/events', JSON.stringify({ events }), json);
  });

/** Every attack, by name. Each goes on until it is to end. */
export const attacks: Readonly<Record<string, (target: Target) => Promise<void>>> = {
  'taken-ids': takenIds,
  'bad-headers': badHeaders,
  'slow-receivers': slowReceivers,
  'growing-calls': growingCalls,
  'stalled-uploads': stalledUploads,
  'flood-of-events': floodOfEvents,
};
