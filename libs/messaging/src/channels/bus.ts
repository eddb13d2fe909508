import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import type { DescMessage, MessageShape } from '@bufbuild/protobuf';
import { jetstreamManager, type JetStreamManager, type MsgRequest } from '@nats-io/jetstream';
import type { NatsConnection } from '@nats-io/transport-node';
import { subject as fill, type Channel, type StreamName } from '@sluice/contracts';
import { RequestError, type HeaderInput, type NatsPort, type PubAck } from '@sluice/pipeline';
import { natsPort } from '@sluice/pipeline/nats';
import { apiErrorCode, JS_ERROR } from '../nats/api-error.ts';
import { createDirectRead, type DirectMessage } from '../nats/direct-read.ts';
import { StallWatch, type Stalls } from './stalls.ts';
import { decoder, encode } from './wire.ts';

/**
 * Runs a publish inside the span that tracing puts around it, and gives it the headers (`traceparent`) to send.
 * `@sluice/telemetry` has one; without it a publish carries no trace.
 */
export type TracePublish = <R>(
  info: { readonly destination: string; readonly template: string; readonly id: string; readonly bytes: number },
  send: (headers: HeaderInput) => Promise<R>,
) => Promise<R>;

export interface PublishSettings {
  /** Values of the subject's placeholders. */
  readonly values?: Readonly<Record<string, string>>;
  /** `Nats-Msg-Id`. Required: a publish whose PubAck was lost is repeated, and only the id tells the two apart. */
  readonly id: string;
  readonly headers?: HeaderInput;
  /** Compare-and-set on the subject's last sequence; 0 for "nothing there yet". */
  readonly expectLastSubjectSequence?: number;
  readonly timeoutMs?: number;
}

/** One message of a batch. */
export interface BatchMessage<Desc extends DescMessage = DescMessage> {
  readonly channel: Channel<Desc>;
  /** A message, or the bytes of one. */
  readonly message: MessageShape<Desc> | Uint8Array;
  /** Values of the subject's placeholders. */
  readonly values?: Readonly<Record<string, string>>;
  /** Compare-and-set on the subject's last sequence; 0 for "nothing there yet". */
  readonly expectLastSubjectSequence?: number;
  /** The server deletes the message after this long; the stream needs `messageTtl`. Whole seconds. */
  readonly ttlMs?: number;
}

/** A message read back from a stream. */
export interface Stored<T> {
  readonly data: T;
  readonly subject: string;
  readonly sequence: number;
  readonly storedAt: Date;
  readonly headers: ReadonlyMap<string, readonly string[]>;
}

/** Typed access to the system's streams over one connection. */
export interface Bus {
  readonly nc: NatsConnection;
  /** What the engine runs on. */
  readonly port: NatsPort;
  readonly jsm: JetStreamManager;
  /** The streams that confirm nothing of what this bus publishes. */
  readonly stalls: Stalls;
  /**
   * Publishes a message and waits until the stream has it.
   *
   * @throws {PublishError} of `@sluice/pipeline`: its code says whether the outcome is known. After `TIMEOUT` repeat
   * with the same id.
   */
  publish<Desc extends DescMessage>(
    channel: Channel<Desc>,
    message: MessageShape<Desc>,
    settings: PublishSettings,
  ): Promise<PubAck>;
  /**
   * Publishes messages of one stream as one: all of them are stored, one behind the other, or none is. The stream needs
   * `atomicBatches`, and at most 50 batches may be on their way to it at once (nats-server's default).
   *
   * @returns the sequence of the last message.
   * @throws {PublishError} like {@link Bus.publish}. After `TIMEOUT` only a compare-and-set tells whether it was stored.
   */
  publishBatch(
    messages: readonly [BatchMessage, ...BatchMessage[]],
    settings?: { readonly timeoutMs?: number },
  ): Promise<number>;
  /**
   * The last message of a channel's subject, or undefined. `from: 'any'` may be answered by a replica that lags;
   * `'leader'` is for decisions.
   */
  last<Desc extends DescMessage>(
    channel: Channel<Desc>,
    values: Readonly<Record<string, string>>,
    from?: 'any' | 'leader',
  ): Promise<Stored<MessageShape<Desc>> | undefined>;
  /**
   * A message as the leader of its stream has it: the one at a sequence, or the oldest of a subject. Undefined when there
   * is none, or no such stream.
   */
  find(
    stream: StreamName,
    wanted: { readonly at: number } | { readonly oldestOf: string },
  ): Promise<Omit<Stored<unknown>, 'data'> | undefined>;
  /**
   * Takes a message out of its stream for good: the server overwrites its bytes on the disk. One that is gone already is
   * no error.
   */
  erase(stream: string, sequence: number): Promise<void>;
  /** Every message of a channel's subject, oldest first, from a sequence on. `*` may stand for a placeholder. */
  history<Desc extends DescMessage>(
    channel: Channel<Desc>,
    values: Readonly<Record<string, string>>,
    fromSequence?: number,
  ): AsyncGenerator<Stored<MessageShape<Desc>>>;
  /**
   * Sends what is buffered and closes the connection. Pipelines must have been drained before.
   *
   * @throws {RequestError} `TIMEOUT` when the server does not answer; the connection is closed all the same.
   */
  close(): Promise<void>;
}

/** How long closing waits for the server to take what is buffered. */
const CLOSE_TIMEOUT_MS = 2_000;
/** Messages of a history that are read one by one. */
const READ_ALONE = 12;

/** Makes a bus of a connection. */
export async function createBus(
  nc: NatsConnection,
  options: { readonly tracePublish?: TracePublish } = {},
): Promise<Bus> {
  const port = natsPort(nc);
  const jsm = await jetstreamManager(nc, { checkAPI: false });
  const directRead = createDirectRead(port);
  const trace: TracePublish = options.tracePublish ?? ((_, send) => send({}));
  const stalls = new StallWatch();
  port.onConnection((event) => {
    if (event.type === 'reconnected') stalls.forget();
  });

  return {
    nc,
    port,
    jsm,
    stalls,
    publish(channel, message, { values, id, headers, ...rest }) {
      const destination = fill(channel, values);
      const body = encode(channel, message);
      return trace({ destination, template: channel.template, id, bytes: body.length }, (traced) =>
        stalls.follow(
          channel.stream,
          port.publish(destination, body, { id, headers: { ...headers, ...traced }, ...rest }),
        ),
      );
    },
    async publishBatch(messages, { timeoutMs } = {}) {
      const batch = randomUUID();
      const parts = messages.map(({ channel, message, values, ...expected }, index) => ({
        destination: fill(channel, values),
        body: message instanceof Uint8Array ? message : encode(channel, message),
        headers: {
          'Nats-Batch-Id': batch,
          'Nats-Batch-Sequence': String(index + 1),
          ...(index === messages.length - 1 ? { 'Nats-Batch-Commit': '1' } : {}),
          ...expectationsOf(expected),
        },
      }));
      const commit = parts.pop()!;
      const { destination, body } = commit;
      const { template, stream } = messages.at(-1)!.channel;
      return trace({ destination, template, id: batch, bytes: body.length }, async (traced) => {
        for (const part of parts) port.send(part.destination, part.body, { headers: { ...part.headers, ...traced } });
        // Only the commit is answered: it fails when a message before it was refused.
        const headers = { ...commit.headers, ...traced };
        const settings = timeoutMs === undefined ? { headers } : { headers, timeoutMs };
        const ack = await stalls.follow(stream, port.publish(destination, body, settings));
        return ack.sequence;
      });
    },
    async last(channel, values, from = 'any') {
      const lastOf = fill(channel, values);
      const found =
        from === 'leader'
          ? await leaderRead(jsm, channel.stream, { last_by_subj: lastOf })
          : await directRead.one(channel.stream, { lastOf });
      return found === undefined ? undefined : stored(found, decoder(channel));
    },
    async find(stream, wanted) {
      const query = 'at' in wanted ? { seq: wanted.at } : { seq: 1, next_by_subj: wanted.oldestOf };
      return leaderRead(jsm, stream, query).catch((error: unknown) => {
        if (apiErrorCode(error) === JS_ERROR.streamNotFound) return undefined;
        throw error;
      });
    },
    async erase(stream, sequence) {
      try {
        await jsm.streams.deleteMessage(stream, sequence, true);
      } catch (error) {
        // Others may be at it: gone is gone.
        if ((await leaderRead(jsm, stream, { seq: sequence })) !== undefined) throw error;
      }
    },
    async *history(channel, values, fromSequence = 1) {
      const matching = channel.template.replace(/\{(\w+)\}/g, (_, name: string) => values[name] ?? '*');
      const decode = decoder(channel);
      // One direct get a message, because a job has a handful, and it needs no consumer on the server. Beyond that a
      // batch at a time: one that was tried for a day has thousands.
      let sequence = fromSequence;
      for (let read = 0; read < READ_ALONE; read += 1) {
        const found = await directRead.one(channel.stream, { fromSequence: sequence, matching });
        if (found === undefined) return;
        yield stored(found, decode);
        sequence = found.sequence + 1;
      }
      for (;;) {
        const batch = await directRead.many(channel.stream, { fromSequence: sequence, matching });
        for (const found of batch) yield stored(found, decode);
        const last = batch.at(-1);
        if (last === undefined) return;
        sequence = last.sequence + 1;
      }
    },
    async close() {
      const timer = new AbortController();
      // A drain waits for the answer to a flush, which a server that does not answer never sends.
      const late = sleep(CLOSE_TIMEOUT_MS, 'late', { signal: timer.signal }).catch(() => 'late');
      const how = await Promise.race([nc.drain().then(() => 'sent'), late]);
      timer.abort();
      if (how === 'sent') return;
      await nc.close();
      throw new RequestError('TIMEOUT', `the server did not take what was buffered within ${CLOSE_TIMEOUT_MS} ms`);
    },
  };
}

function expectationsOf({
  expectLastSubjectSequence: last,
  ttlMs,
}: Pick<BatchMessage, 'expectLastSubjectSequence' | 'ttlMs'>): Record<string, string> {
  return {
    ...(last === undefined ? {} : { 'Nats-Expected-Last-Subject-Sequence': String(last) }),
    ...(ttlMs === undefined ? {} : { 'Nats-TTL': `${Math.ceil(ttlMs / 1000)}s` }),
  };
}

/** Asks the stream's leader, which knows of every write that was confirmed; on a stream of one replica every server does. */
async function leaderRead(
  jsm: JetStreamManager,
  stream: string,
  query: MsgRequest,
): Promise<DirectMessage | undefined> {
  const found = await jsm.streams.getMessage(stream, query).catch((error: unknown) => {
    const { code, status } = error as { code?: unknown; status?: unknown };
    if (code === JS_ERROR.noMessageFound || code === 404 || status === 404) return null;
    throw error;
  });
  if (found === null) return undefined;
  const headers = new Map<string, readonly string[]>();
  for (const name of found.header?.keys() ?? []) headers.set(name, found.header.values(name));
  return { data: found.data, subject: found.subject, sequence: found.seq, storedAt: found.time, headers };
}

function stored<T>(message: DirectMessage, decode: (bytes: Uint8Array) => T): Stored<T> {
  const { subject, sequence, storedAt } = message;
  let decoded: T | undefined;
  return {
    // Who knows this sequence already has no need of it.
    get data() {
      decoded ??= decode(message.data);
      return decoded;
    },
    subject,
    sequence,
    storedAt,
    get headers() {
      return message.headers;
    },
  };
}
