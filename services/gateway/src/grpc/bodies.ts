import { AsyncLocalStorage } from 'node:async_hooks';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { constants, type Http2ServerRequest, type Http2ServerResponse, type ServerHttp2Stream } from 'node:http2';
import { promisify } from 'node:util';
import { brotliDecompress, gunzip } from 'node:zlib';
import { Code, ConnectError, type HandlerContext } from '@connectrpc/connect';
import {
  compressionBrotli,
  compressionGzip,
  universalRequestFromNodeRequest,
  universalResponseToNodeResponse,
} from '@connectrpc/connect-node';
import type { Compression, UniversalHandler, UniversalServerResponse } from '@connectrpc/connect/protocol';
import type { Bodies } from '../http/bodies.ts';
import { toGatewayError } from '../http/answer-problem.ts';
import { InTurn } from '../in-turn.ts';
import type { BodyLease } from '../admission/body-budget.ts';
import { rpcError } from './problem-codes.ts';

/** The body of one call, counted from the moment its account is known. */
interface CallBody {
  account: string;
  lease: BodyLease | undefined;
  /** Bytes taken by the length that the call declared: what arrives within it is counted already. */
  declared: number;
  /** Of the whole body. */
  maxBytes: number;
}

const calls = new AsyncLocalStorage<CallBody>();

/** Begins to count the body of a call that was admitted; takes what it declares before anything of it is read. */
export function countBody(bodies: Bodies, maxBytes: number): (context: HandlerContext, account: string) => void {
  return ({ requestHeader }, account) => {
    const call = calls.getStore();
    if (call === undefined) return;
    call.account = account;
    call.lease = bodies.budget.open(account);
    call.maxBytes = maxBytes;
    takeDeclared(call, Number(requestHeader.get('content-length') ?? 0));
  };
}

function takeDeclared(call: CallBody, bytes: number): void {
  // One over the limit is refused for that, which no repeat changes.
  if (bytes > call.maxBytes || bytes <= call.declared) return;
  call.lease?.grow(bytes - call.declared);
  call.declared = bytes;
}

/** Answers one call: its body counted and watched, its memory given back when the answer is out. */
export async function serveCall(
  bodies: Bodies,
  handler: UniversalHandler,
  request: IncomingMessage | Http2ServerRequest,
  response: ServerResponse | Http2ServerResponse,
): Promise<void> {
  const call: CallBody = { account: '', lease: undefined, declared: 0, maxBytes: 0 };
  response.once('close', () => call.lease?.release());
  const universal = universalRequestFromNodeRequest(request, response, undefined, undefined);
  await calls.run(call, async () => {
    const isEnveloped = ENVELOPED.test(request.headers['content-type'] ?? '');
    const body = countedBody(bodies, call, universal.body as AsyncIterable<Uint8Array>, isEnveloped);
    const answer = await unreadableIsTheirs(await handler({ ...universal, body }));
    if ('stream' in response) watchReader(bodies, response.stream);
    await universalResponseToNodeResponse(answer, response);
  });
  // What was refused before its end is still being sent.
  if ('stream' in request) request.stream.close(constants.NGHTTP2_NO_ERROR);
  else if (!request.complete) request.destroy();
}

/** Ends a stream whose client does not read its answer, which would stay in memory for ever. */
function watchReader({ watch }: Bodies, stream: ServerHttp2Stream): void {
  let most = 0;
  const stop = watch.watch({
    received: () => {
      most = Math.max(most, stream.writableLength);
      return most - stream.writableLength;
    },
    isWaiting: () => stream.writableLength > 0,
    onStall: () => stream.close(constants.NGHTTP2_CANCEL),
  });
  stream.once('close', stop);
}

/**
 * The framework answers 500 `internal` to a message that is no protobuf, over Connect; what is wrong is the request.
 * Streams and gRPC answer in trailers, and keep what the framework says.
 */
async function unreadableIsTheirs(answer: UniversalServerResponse): Promise<UniversalServerResponse> {
  if (answer.status !== 500 || answer.body === undefined) return answer;
  const chunks: Uint8Array[] = [];
  for await (const chunk of answer.body) chunks.push(chunk);
  const text = Buffer.concat(chunks).toString();
  const isUnreadable = text.startsWith('{"code":"internal","message":"parse binary: ');
  const body = isUnreadable ? text.replace('"code":"internal"', '"code":"invalid_argument"') : text;
  const header = new Headers(answer.header);
  header.set('content-length', String(Buffer.byteLength(body)));
  return { ...answer, header, status: isUnreadable ? 400 : 500, body: oneChunk(Buffer.from(body)) };
}

async function* oneChunk(bytes: Uint8Array): AsyncGenerator<Uint8Array<ArrayBuffer>> {
  yield new Uint8Array(bytes);
}

/** Protocols that put each message behind a byte of flags and four of length, instead of declaring the body's length. */
const ENVELOPED = /^application\/(grpc|connect\+)/i;
const ENVELOPE_BYTES = 5;

async function* countedBody(
  { watch }: Bodies,
  call: CallBody,
  body: AsyncIterable<Uint8Array>,
  isEnveloped: boolean,
): AsyncGenerator<Uint8Array> {
  const chunks = body[Symbol.asyncIterator]();
  const stalled = Promise.withResolvers<never>();
  stalled.promise.catch(() => undefined);
  let received = 0;
  let envelope = Buffer.alloc(0);
  let waiting = true;
  const stop = watch.watch({
    received: () => received,
    isWaiting: () => waiting,
    onStall: () => stalled.reject(new ConnectError('the message stopped arriving', Code.DeadlineExceeded)),
  });
  try {
    for (;;) {
      waiting = true;
      const next = await Promise.race([chunks.next(), stalled.promise]);
      waiting = false;
      if (next.done === true) return;
      const before = received;
      received += next.value.length;
      if (isEnveloped && envelope.length < ENVELOPE_BYTES) {
        envelope = Buffer.concat([envelope, next.value.subarray(0, ENVELOPE_BYTES - envelope.length)]);
        // The reader reserves a message at its beginning, however little of it comes.
        if (envelope.length === ENVELOPE_BYTES)
          take(() => takeDeclared(call, ENVELOPE_BYTES + envelope.readUInt32BE(1)));
      }
      const counted = Math.max(before, call.declared);
      if (received > counted) take(() => call.lease?.grow(received - counted));
      yield next.value;
    }
  } finally {
    stop();
  }
}

function take(work: () => void): void {
  try {
    work();
  } catch (error) {
    throw rpcError(toGatewayError(error));
  }
}

/** @throws {ConnectError} when there is no room for them. */
export const growLease = (lease: BodyLease | undefined, bytes: number): void => take(() => lease?.grow(bytes));

/** No text or image worth sending shrinks further; what does is made to fill the memory of who unpacks it. */
const MAX_RATIO = 100;
/** Up to here no ratio is looked at: a short text of one letter is no attack. */
const FREE_BYTES = 2 ** 20;

/** Of output whose length is not known before. Each piece is a turn of the event loop, and memory until it is collected. */
const PIECE_BYTES = { least: 16 * 1024, most: 256 * 1024 };
/** The least that zlib takes for a piece. */
const ZLIB_LEAST_BYTES = 64;

/**
 * The length that a gzip body ends with: that of its content, modulo 2^32 (RFC 1952). zlib refuses a body that says what
 * is not so, but only when it has unpacked it.
 */
function statedByGzip(bytes: Uint8Array): number {
  return bytes.length < 4 ? 0 : new DataView(bytes.buffer, bytes.byteOffset).getUint32(bytes.length - 4, true);
}

type Unzip = (bytes: Uint8Array, options: { maxOutputLength: number; chunkSize: number }) => Promise<Buffer>;

interface Unpacking {
  readonly compression: Compression;
  readonly unzip: Unzip;
  /** What a body says of the length of its content. It is unpacked up to there, into one piece of memory. */
  readonly stated?: (bytes: Uint8Array) => number;
}

/**
 * A compression whose output is bounded by its input, and counted as part of the body it belongs to. The calls of one
 * account are unpacked one after the other: many at once would take the processors and the threads of all accounts.
 */
function bounded({ compression, unzip, stated }: Unpacking, turns: InTurn): Compression {
  return {
    ...compression,
    async decompress(bytes, readMaxBytes) {
      if (bytes.length === 0) return new Uint8Array(0);
      const allowed = Math.min(readMaxBytes, Math.max(FREE_BYTES, bytes.length * MAX_RATIO));
      const tooLong = (): ConnectError =>
        new ConnectError(
          `the message grows over ${allowed} bytes when it is decompressed; it may grow 100 times, to ${readMaxBytes} bytes at most`,
          Code.ResourceExhausted,
        );
      const length = stated?.(bytes);
      if (length !== undefined && length > allowed) throw tooLong();
      const most = length ?? allowed;
      const { least, most: largest } = PIECE_BYTES;
      const chunkSize =
        length === undefined
          ? Math.min(largest, Math.max(least, bytes.length))
          : Math.max(ZLIB_LEAST_BYTES, length + 1); // one more than it should be: a full piece begins another
      const call = calls.getStore();
      const lease = call?.lease;
      // Taken before it is unpacked: many at once would each find room for themselves.
      growLease(lease, most);
      let unpacked = 0;
      try {
        const result = await turns.run(call?.account ?? '', () => {
          growLease(lease, 0); // throws when the client has gone meanwhile
          return unzip(bytes, { maxOutputLength: Math.max(1, most), chunkSize });
        });
        unpacked = result.length;
        return new Uint8Array(result.buffer as ArrayBuffer, result.byteOffset, result.length);
      } catch (error) {
        if (error instanceof ConnectError) throw error;
        const isTooLong = (error as NodeJS.ErrnoException).code === 'ERR_BUFFER_TOO_LARGE';
        if (isTooLong && length === undefined) throw tooLong();
        throw new ConnectError(
          isTooLong ? `the message has more than the ${length} bytes that it states` : 'decompression failed',
          Code.InvalidArgument,
        );
      } finally {
        lease?.shrink(most - unpacked);
      }
    },
  };
}

/** The compressions that calls may use. */
export function boundedCompressions(): Compression[] {
  const turns = new InTurn();
  return [
    bounded(
      {
        compression: compressionGzip,
        unzip: promisify<Uint8Array, object, Buffer>(gunzip),
        stated: statedByGzip,
      },
      turns,
    ),
    bounded({ compression: compressionBrotli, unzip: promisify<Uint8Array, object, Buffer>(brotliDecompress) }, turns),
  ];
}
