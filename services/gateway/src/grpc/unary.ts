import { constants, type IncomingHttpHeaders, type OutgoingHttpHeaders, type ServerHttp2Stream } from 'node:http2';
import { create, fromBinary, toBinary, type Message } from '@bufbuild/protobuf';
import { Code, ConnectError } from '@connectrpc/connect';
import { contentTypeProto, parseTimeout, setTrailerStatus } from '@connectrpc/connect/protocol-grpc';
import type { Logger } from '@sluice/telemetry';
import type { Account } from '../accounts/account.ts';
import { beforeRefusal, countRequest, type AccessSettings } from '../accounts/access.ts';
import type { BodyLease } from '../admission/body-budget.ts';
import type { Bodies } from '../http/bodies.ts';
import { admitCaller, inCallSpan, isCounted, refusal, type AnswerHeaders, type Caller } from './access.ts';
import { growLease } from './bodies.ts';
import type { UnaryMethod } from './services.ts';

export interface UnarySettings {
  readonly access: AccessSettings;
  readonly bodies: Bodies;
  readonly readMaxBytes: number;
  readonly log: Logger;
}

/** Answers unary calls of gRPC straight on the streams of HTTP/2. */
export interface UnaryServer {
  /**
   * Takes a call.
   *
   * @returns false for one that is the framework's, of which nothing was touched.
   */
  take(stream: ServerHttp2Stream, headers: IncomingHttpHeaders): boolean;
}

/**
 * The plain form of a call, which client libraries send, costs a tenth here of what the framework takes for it: no
 * request and response objects of Node's compatibility layer, no `Headers`, no signals, no chain of iterators. What is
 * checked and answered is the same, and a test compares the two frame by frame. Everything else is the framework's:
 * compressed calls, JSON, gRPC-web, Connect, streams, and what is no call.
 */
export function unaryServer(methods: readonly UnaryMethod[], settings: UnarySettings): UnaryServer {
  const byPath = new Map(methods.map((method) => [`/${method.desc.parent.typeName}/${method.desc.name}`, method]));
  return {
    take(stream, headers) {
      const method = byPath.get(headers[':path'] ?? '');
      if (method === undefined || headers[':method'] !== 'POST' || !isPlain(headers)) return false;
      new UnaryCall(method, settings, stream, headers).begin();
      return true;
    },
  };
}

function isPlain(headers: IncomingHttpHeaders): boolean {
  const type = headers['content-type'];
  if (type !== 'application/grpc' && type !== contentTypeProto) return false;
  const encoding = headers['grpc-encoding'];
  return (encoding === undefined || encoding === 'identity') && headers.expect === undefined;
}

/** One byte of flags, four of length. */
const PREFIX_BYTES = 5;
const COMPRESSED = 1;
/** The most that a timer of Node waits. */
const MAX_TIMER_MS = 2 ** 31 - 1;

const nothing = (): void => undefined;
const noBytes = Buffer.alloc(0);

/**
 * One call: admitted by its headers, then read, then worked on, then answered. It is answered once, by its result, by
 * what was wrong with it, or because its deadline has passed; what comes after that is dropped.
 */
class UnaryCall implements AnswerHeaders {
  readonly #method: UnaryMethod;
  readonly #settings: UnarySettings;
  readonly #stream: ServerHttp2Stream;
  readonly #headers: IncomingHttpHeaders;
  /** Headers of the answer. */
  readonly #said: Record<string, string> = {};
  /** What has come of the message, `#received` bytes of it. */
  #bytes: Buffer = noBytes;
  #received = 0;
  /** Bytes that the call or its message declared, which are counted already. */
  #declared = 0;
  /** Bytes of the message with its prefix, once that has come. */
  #expected = Infinity;
  #isRead = false;
  #isAnswered = false;
  /** True while the message is in the hands of what answers it, which goes on when the client has gone. */
  #isWorking = false;
  #lease: BodyLease | undefined;
  #deadline: NodeJS.Timeout | undefined;
  #stopWatching: () => void = nothing;

  constructor(method: UnaryMethod, settings: UnarySettings, stream: ServerHttp2Stream, headers: IncomingHttpHeaders) {
    this.#method = method;
    this.#settings = settings;
    this.#stream = stream;
    this.#headers = headers;
  }

  getHeader(name: string): string | undefined {
    return this.#said[name.toLowerCase()];
  }

  header(name: string, value: string): void {
    this.#said[name.toLowerCase()] = value;
  }

  all(): Readonly<Record<string, string>> {
    return this.#said;
  }

  begin(): void {
    const { access, log } = this.#settings;
    this.#stream.on('error', (error) => log.debug({ err: error, rpc: this.#headers[':path'] }, 'a call broke off'));
    this.#stream.once('close', () => this.#close());
    const { timeoutMs, error } = parseTimeout(this.#header('grpc-timeout') ?? null, Infinity);
    if (timeoutMs !== undefined && timeoutMs <= MAX_TIMER_MS) {
      const passed = (): void => this.#fail(new ConnectError('the operation timed out', Code.DeadlineExceeded));
      this.#deadline = setTimeout(passed, timeoutMs);
    }
    try {
      const service = this.#method.desc.parent.typeName;
      const account = admitCaller(access, service, this.#header('authorization'), this);
      if (isCounted(access, service)) void this.#count(account, error);
      else this.#read(account, error);
    } catch (refused) {
      void this.#refuse(refused);
    }
  }

  #header(name: string): string | undefined {
    const value = this.#headers[name];
    return Array.isArray(value) ? value.join(', ') : value;
  }

  async #count(account: Account, malformed: ConnectError | undefined): Promise<void> {
    try {
      await countRequest(this.#settings.access, account, this);
      this.#read(account, malformed);
    } catch (refused) {
      await this.#refuse(refused, account);
    }
  }

  /** Reads the message of a call that was admitted; takes what it declares before anything of it is read. */
  #read(account: Account, malformed: ConnectError | undefined): void {
    // Gone, or late, while it was counted.
    if (this.#isAnswered) return;
    const { bodies, readMaxBytes } = this.#settings;
    this.#lease = bodies.budget.open(account.id);
    const declared = Number(this.#headers['content-length'] ?? 0);
    // One over the limit is refused for that, which no repeat changes.
    if (declared <= readMaxBytes) {
      this.#lease.grow(declared);
      this.#declared = declared;
    }
    if (malformed !== undefined) {
      this.#fail(malformed);
      return;
    }
    this.#stopWatching = bodies.watch.watch({
      received: () => this.#received,
      isWaiting: () => true,
      onStall: () => this.#fail(new ConnectError('the message stopped arriving', Code.DeadlineExceeded)),
    });
    this.#stream.on('data', (chunk: Buffer) => this.#take(chunk));
    this.#stream.on('end', () => this.#end(account));
  }

  #take(chunk: Buffer): void {
    if (this.#isAnswered) return;
    this.#append(chunk);
    try {
      const more = this.#received - this.#declared;
      if (more > 0) growLease(this.#lease, Math.min(chunk.length, more));
      if (this.#expected === Infinity && this.#received >= PREFIX_BYTES) this.#readPrefix();
      if (this.#received > this.#expected) {
        throw new ConnectError('protocol error: received extra input message for unary method', Code.Unimplemented);
      }
    } catch (error) {
      this.#fail(error);
    }
  }

  /** Most messages come in one piece, and are not copied. Many small pieces would take far more than their bytes. */
  #append(chunk: Buffer): void {
    const before = this.#received;
    this.#received += chunk.length;
    if (before === 0) {
      this.#bytes = holdsLittleOf(chunk) ? copyOf(chunk) : chunk;
      return;
    }
    if (this.#received > this.#bytes.length) {
      const room = Math.max(this.#received, Math.min(2 * this.#received, this.#expected));
      const larger = Buffer.allocUnsafeSlow(room);
      this.#bytes.copy(larger, 0, 0, before);
      this.#bytes = larger;
    }
    this.#bytes.set(chunk, before);
  }

  #readPrefix(): void {
    const { readMaxBytes } = this.#settings;
    const size = this.#bytes.readUInt32BE(1);
    if (size > readMaxBytes) {
      throw new ConnectError(
        `message size ${size} is larger than configured readMaxBytes ${readMaxBytes}`,
        Code.ResourceExhausted,
      );
    }
    if ((this.#bytes.readUInt8(0) & COMPRESSED) !== 0) {
      throw new ConnectError('received compressed envelope, but do not know how to decompress', Code.Internal);
    }
    this.#expected = PREFIX_BYTES + size;
    // A message counts from its beginning: what is not there yet will be, and there must be room for it.
    const counted = Math.max(this.#declared, this.#received);
    if (this.#expected > counted) growLease(this.#lease, this.#expected - counted);
    this.#declared = Math.max(this.#declared, this.#expected);
  }

  #end(account: Account): void {
    this.#isRead = true;
    this.#stopWatching();
    // The end of a stream that was reset is none of its message: the client has taken its call back.
    if (this.#isAnswered || this.#stream.closed || this.#stream.destroyed) return;
    let request: Message;
    try {
      if (this.#received === 0) {
        throw new ConnectError('protocol error: missing input message for unary method', Code.Unimplemented);
      }
      if (this.#received < this.#expected) {
        throw new ConnectError('protocol error: incomplete envelope', Code.InvalidArgument);
      }
      request = this.#parse(this.#bytes.subarray(PREFIX_BYTES, this.#received));
      this.#bytes = noBytes;
    } catch (error) {
      this.#fail(error);
      return;
    }
    this.#isWorking = true;
    this.#work(request, account)
      .catch((error: unknown) => this.#fail(error))
      .finally(() => {
        this.#isWorking = false;
        this.#release();
      });
  }

  #parse(bytes: Uint8Array): Message {
    try {
      return fromBinary(this.#method.desc.input, bytes);
    } catch (error) {
      throw new ConnectError(`parse binary: ${(error as Error).message}`, Code.Internal);
    }
  }

  async #work(request: Message, account: Account): Promise<void> {
    const { desc } = this.#method;
    const answer = await this.#inSpan(async (_, trace) => {
      this.#said['x-trace-id'] = trace.traceId;
      this.#said['traceresponse'] = trace.traceparent;
      return this.#method.answer(request, {
        account,
        trace,
        headers: this,
        requestHeader: (name) => this.#header(name),
      });
    });
    this.#send(toBinary(desc.output, create(desc.output, answer)));
  }

  /** Runs the work of the call inside its span; what it throws comes out as the error that the caller gets. */
  #inSpan<R>(work: (name: string, trace: Caller['trace']) => Promise<R>): Promise<R> {
    const { desc } = this.#method;
    return inCallSpan(desc, this.#headers, async (name, trace) => {
      try {
        return await work(name, trace);
      } catch (error) {
        throw refusal(error, { said: this, trace, name, log: this.#settings.log });
      }
    });
  }

  /** A call that is refused has its span, too. */
  async #refuse(error: unknown, account?: Account): Promise<void> {
    await beforeRefusal(this.#settings.access, error, account);
    try {
      await this.#inSpan(() => {
        throw error;
      });
    } catch (refused) {
      this.#fail(refused);
    }
  }

  #send(message: Uint8Array): void {
    if (!this.#answerOnce()) return;
    const framed = Buffer.allocUnsafe(PREFIX_BYTES + message.length);
    framed[0] = 0;
    framed.writeUInt32BE(message.length, 1);
    framed.set(message, PREFIX_BYTES);
    const head: OutgoingHttpHeaders = { ':status': 200, 'content-type': contentTypeProto, ...this.#said };
    this.#write(() => {
      this.#stream.respond(head, { waitForTrailers: true });
      this.#stream.once('wantTrailers', sendOk);
      this.#stream.end(framed);
      // A client that opens no window would keep its stream, and the answer in memory, for ever.
      this.#stopWatching = this.#settings.bodies.watch.watch({
        received: () => framed.length - this.#stream.writableLength,
        isWaiting: () => true,
        onStall: () => this.#stream.close(constants.NGHTTP2_CANCEL),
      });
    });
  }

  /** Answers with a status alone, which is all that there is to say: headers that end the stream. */
  #fail(error: unknown): void {
    if (!this.#answerOnce()) return;
    const known = error instanceof ConnectError;
    if (!known) this.#settings.log.error({ err: error, rpc: this.#headers[':path'] }, 'a call failed');
    const head: OutgoingHttpHeaders = { ':status': 200, 'content-type': contentTypeProto };
    this.#write(() => {
      const status = setTrailerStatus(new Headers(), known ? error : new ConnectError('internal error', Code.Internal));
      this.#stream.respond(Object.assign(head, Object.fromEntries(status)), { endStream: true });
      // What was refused before its end is still being sent.
      if (!this.#isRead) this.#stream.close(constants.NGHTTP2_NO_ERROR);
    });
  }

  /** A header that cannot be written must not leave the client without an answer, nor end the process. */
  #write(write: () => void): void {
    try {
      write();
    } catch (error) {
      this.#settings.log.error({ err: error, rpc: this.#headers[':path'] }, 'an answer could not be written');
      this.#stream.close(constants.NGHTTP2_INTERNAL_ERROR);
    }
  }

  /** Whether the call waits for its answer still, which is then on its way. */
  #answerOnce(): boolean {
    if (this.#isAnswered || this.#stream.destroyed || this.#stream.closed) return false;
    this.#isAnswered = true;
    this.#dropMessage();
    return true;
  }

  /** Answered to its end, or left by its client. */
  #close(): void {
    this.#isAnswered = true;
    this.#dropMessage();
  }

  #dropMessage(): void {
    this.#bytes = noBytes;
    this.#stopWatching();
    clearTimeout(this.#deadline);
    this.#release();
  }

  /** The memory of the message is counted until nothing holds it, however long its answer stays unread. */
  #release(): void {
    if (this.#isAnswered && !this.#isWorking) this.#lease?.release();
  }
}

/** A piece keeps all that was read from the socket with it, which no lease counts. */
const holdsLittleOf = (chunk: Buffer): boolean => chunk.buffer.byteLength > 2 * chunk.length;

function copyOf(chunk: Buffer): Buffer {
  const copy = Buffer.allocUnsafeSlow(chunk.length);
  copy.set(chunk);
  return copy;
}

function sendOk(this: ServerHttp2Stream): void {
  this.sendTrailers({ 'grpc-status': '0' });
}
