import type { ExpectStatic } from 'vitest';
import type { NatsPort, PipelineEvent, PipelineSpec, RunningPipeline } from '../index.ts';

/** Something that behaves like JetStream: memory, or a real server. The conformance suite runs against each. */
export interface Source {
  readonly name: string;
  /** Whether its streams take message schedules, as nats-server does from 2.12 on. */
  readonly schedules: boolean;
  /** Whether its consumers can be pinned to one client, as those of nats-server can from 2.11 on. */
  readonly pinning: boolean;
  /** A fresh stream with a consumer and a connection of its own. */
  place(options?: PlaceOptions): Promise<Place>;
  close(): Promise<void>;
}

export interface PlaceOptions {
  readonly ackWaitMs?: number;
  readonly maxAckPending?: number;
  readonly maxDeliver?: number;
  /** With a stream for `later.<stream>.>`, whose messages wait for their time, and a consumer `due` of what is. */
  readonly delayed?: boolean;
  /** With a bucket `limits_<stream>` in which replicas share limits. */
  readonly limits?: boolean;
  /** Further consumers, each with the subject it reads: `<stream>.<name>`. */
  readonly lanes?: readonly string[];
  /**
   * The stream takes `<stream>.<key>` and is divided by the key into so many partitions, each with a consumer
   * `worker-<number>`.
   */
  readonly partitions?: number;
  /** With partitions: how long a client that is pinned may be silent; 20 s when absent. */
  readonly pinTtlMs?: number;
}

/** What one test works on: a work queue with the consumer `worker`, its dead letters, and a stream for what it emits. */
export interface Place {
  readonly stream: string;
  readonly consumer: string;
  readonly port: NatsPort;
  /** A second connection, as another replica has. */
  connect(): Promise<NatsPort>;
  /** Stores JSON bodies in order; resolves with their sequences. */
  send(...bodies: readonly Job[]): Promise<number[]>;
  store(
    body: string,
    options?: { id?: string; headers?: Readonly<Record<string, string>>; lane?: string },
  ): Promise<number>;
  /** Stores a message whose header block has this line, as a client may that checks no header names. */
  storeForeign(headerLine: string, body: string): Promise<void>;
  /** Messages still in the work queue. */
  left(): Promise<number>;
  /** Delivered and not settled, by the server's count. */
  ackPending(): Promise<number>;
  deadLetters(): Promise<readonly Stored[]>;
  /** What was emitted to `out.<stream>.>`. */
  emitted(): Promise<readonly Stored[]>;
  /** Takes the dead letters' stream away. */
  loseDeadLetters(): Promise<void>;
  restoreDeadLetters(): Promise<void>;
  /** Breaks the pipeline's connection until it is restored. */
  cut(): Promise<void>;
  restore(): Promise<void>;
  /** Lets nothing through without breaking the connection. */
  partition(on: boolean): void;
  closeConnection(): Promise<void>;
  deleteConsumer(): Promise<void>;
  /** Deletes the stream and makes it again with its consumer: sequences begin at 1. */
  makeStreamAgain(): Promise<void>;
  /** Changes the live consumer as an operator would. */
  setAckWait(ackWaitMs: number): Promise<void>;
  /** Makes the consumer (again), with another ack_wait if given. */
  makeConsumer(ackWaitMs?: number): Promise<void>;
  close(): Promise<void>;
}

export interface Stored {
  readonly sequence: number;
  readonly subject: string;
  readonly body: string;
  readonly headers: ReadonlyMap<string, string>;
}

/** What the body of one row gets. */
export interface RowContext {
  readonly place: Place;
  /** Starts a pipeline on the place's own connection (or another); it is drained when the test is over. */
  readonly start: (
    spec: PipelineSpec<Job, undefined>,
    observe?: (event: PipelineEvent) => void,
    nats?: NatsPort,
  ) => Promise<RunningPipeline>;
  readonly expect: ExpectStatic;
}

/** Registers one behaviour as a test that runs against a fresh place. */
export type Row = (name: string, body: (context: RowContext) => Promise<void>, options?: PlaceOptions) => void;

export type Job = { readonly n: number; readonly key?: string };

export const decodeJson = (bytes: Uint8Array): Job => JSON.parse(new TextDecoder().decode(bytes)) as Job;

/** The deps of a spec most tests share: four slots, quick pulls and quick retries. */
export const base = (
  place: Pick<Place, 'stream' | 'consumer'>,
): Required<Pick<PipelineSpec<Job, undefined>, 'name' | 'sources' | 'decode' | 'flow' | 'retry' | 'timeout'>> => ({
  name: 'conformance',
  sources: [{ stream: place.stream, consumer: place.consumer }],
  decode: decodeJson,
  flow: { concurrency: 4, prefetch: 0, expiresMs: 400, idleHeartbeatMs: 100 },
  retry: { maxAttempts: 3, baseMs: 20, maxMs: 100 },
  timeout: { handlerMs: 10_000, graceMs: 100 },
});

/** Events of a pipeline, kept to be asked. */
export interface EventLog {
  readonly all: PipelineEvent[];
  readonly observe: (event: PipelineEvent) => void;
  of<K extends PipelineEvent['type']>(type: K): Extract<PipelineEvent, { type: K }>[];
}

export function recordEvents(): EventLog {
  const all: PipelineEvent[] = [];
  return {
    all,
    observe: (event) => void all.push(event),
    of: <K extends PipelineEvent['type']>(type: K) =>
      all.filter((event): event is Extract<PipelineEvent, { type: K }> => event.type === type),
  };
}

/** Something a test opens by hand, and handlers wait for. */
export interface Gate {
  readonly opened: Promise<void>;
  open(): void;
}

export function gate(): Gate {
  const { promise, resolve } = Promise.withResolvers<void>();
  return { opened: promise, open: resolve };
}

/**
 * Has `times` deliveries of the first message come to nothing: each is given back at once, or with `end`, which does nothing,
 * left to ack_wait, as workers do that crash.
 */
export async function wasteDeliveries(
  place: Place,
  times: number,
  end = (port: NatsPort, reply: string): void => port.send(reply, '-NAK'),
): Promise<void> {
  const port = await place.connect();
  const inbox = port.inbox();
  await new Promise<void>((resolve) => {
    let seen = 0;
    const subscription = port.subscribe(inbox, (message) => {
      if (message.reply === undefined) return;
      end(port, message.reply);
      seen++;
      if (seen < times) request();
      else {
        subscription.unsubscribe();
        resolve();
      }
    });
    const request = (): void =>
      port.send(
        `${port.apiPrefix}.CONSUMER.MSG.NEXT.${place.stream}.${place.consumer}`,
        '{"batch":1,"expires":5000000000}',
        {
          reply: inbox,
        },
      );
    request();
  });
  await port.flush();
}

/** Makes the server redeliver a message that is being worked on, as an ack_wait that ran out would. */
export async function redeliver(place: Place, sequence: number): Promise<void> {
  const port = await place.connect();
  port.send(`$JS.ACK.${place.stream}.${place.consumer}.1.${sequence}.1.1700000000000000000.0`, '-NAK');
  await port.flush();
}
