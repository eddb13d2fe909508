import type { StreamName } from '@sluice/contracts';
import {
  accountStorage,
  apiErrorCode,
  bucketStream,
  JS_ERROR,
  topologyOf,
  type BucketSpec,
  type Bus,
  type StreamInfo,
} from '@sluice/messaging';
import type { ConsumerReading, Logger, StreamReading } from '@sluice/telemetry';
import { Pace } from './pace.ts';

/** A stream as the broker sees it, with how fast messages leave it. */
export interface StreamState extends StreamReading {
  readonly name: StreamName;
  /** Messages that left the stream per second, smoothed over some seconds; 0 for streams that keep them. */
  readonly drainPerSecond: number;
  readonly consumers: readonly ConsumerState[];
}
export interface ConsumerState extends ConsumerReading {
  /** Deliveries per second, smoothed. */
  readonly ratePerSecond: number;
  /** Dead letters of this consumer that are kept. */
  readonly deadLetters: number;
}

/** What the broker said last, and when. */
export interface BrokerState {
  readonly atMs: number;
  readonly streams: readonly StreamState[];
  /** The streams under the buckets, some seconds old: they grow slowly. */
  readonly buckets: readonly StreamReading[];
  /** Bytes that one copy of all streams of the account takes, and what it may take; 0 for no limit. */
  readonly storage: { readonly usedBytes: number; readonly limitBytes: number };
}

/** Looks at the broker at an even pace, so that no request ever does: slower while nothing moves there. */
export interface BrokerWatch {
  /** The newest state; undefined until the first answer. */
  state(): BrokerState | undefined;
  /** Looks now: for the metrics, and for callers that need the state after what they did. */
  look(): Promise<BrokerState>;
  /** Work has come in: the next look is not to be late. */
  workArrived(): void;
  onLook(listener: (state: BrokerState) => void): void;
  /** How long ago the broker last answered, in milliseconds; since the start while it never has. */
  silentMs(): number;
  close(): void;
}

// The weight of a new measurement: about five seconds of memory at two looks a second.
const SMOOTHING = 0.2;
const BUCKETS_EVERY_MS = 10_000;
/** Nothing moved for so long: the pace slows down. */
const QUIET_AFTER_MS = 5_000;

export function startBrokerWatch(
  bus: Bus,
  log: Logger,
  options: {
    readonly everyMs?: number;
    readonly now?: () => number;
    readonly replicas?: number;
    /** Streams that jobs are divided over; 1 if absent. */
    readonly partitions?: number;
  } = {},
): BrokerWatch {
  const now = options.now ?? Date.now;
  const topology = topologyOf(options.partitions ?? 1);
  const listeners = new Set<(state: BrokerState) => void>();
  let current: BrokerState | undefined;
  let asking: Promise<BrokerState> | undefined;
  let answeredAt = performance.now();
  const pace = new Pace(QUIET_AFTER_MS);
  let seen = '';
  let buckets: { readonly atMs: number; readonly readings: readonly StreamReading[] } | undefined;

  const look = (): Promise<BrokerState> => {
    asking ??= ask().finally(() => {
      asking = undefined;
    });
    return asking;
  };

  async function ask(): Promise<BrokerState> {
    const atMs = now();
    const [dead, storage] = await Promise.all([
      bus.jsm.streams.info('DLQ', { subjects_filter: 'dlq.>' }).catch(unlessMissing),
      accountStorage(bus.jsm, options.replicas ?? 1),
    ]);
    const streams = await each(topology.streams, ({ name }) => readStream(bus, name));
    if (buckets === undefined || atMs - buckets.atMs >= BUCKETS_EVERY_MS) {
      buckets = { atMs, readings: await each(topology.buckets, (spec) => readBucket(bus, spec)) };
    }
    const seconds = current === undefined ? 0 : (atMs - current.atMs) / 1000;
    const before = new Map(current?.streams.map((stream) => [stream.name, stream]));
    answeredAt = performance.now();
    current = {
      atMs,
      storage,
      buckets: buckets.readings,
      streams: streams.map((stream) => withRates(stream, before.get(stream.name), seconds, dead?.state.subjects ?? {})),
    };
    const sees = movement(current);
    if (sees !== seen) pace.moved();
    seen = sees;
    for (const listener of listeners) listener(current);
    return current;
  }

  const timer = setInterval(() => {
    if (!pace.isDue()) return;
    look().catch((error: unknown) => log.debug({ err: error }, 'the broker did not say how it is'));
  }, options.everyMs ?? 500);
  timer.unref();
  look().catch(() => undefined);

  return {
    state: () => current,
    look,
    workArrived: () => pace.moved(),
    onLook: (listener) => void listeners.add(listener),
    silentMs: () => performance.now() - answeredAt,
    close: () => clearInterval(timer),
  };
}

/** What differs once a message came, was delivered, settled or removed. */
const movement = ({ streams }: BrokerState): string =>
  streams
    .map(({ messages, lastSequence, consumers }) => {
      const settled = consumers.map((each) => `${each.pending},${each.ackPending},${each.deliveredSequence}`);
      return `${messages},${lastSequence},${settled.join(';')}`;
    })
    .join('|');

/** The topology says what is missing, and a stream that is missing hides none of the others. */
function unlessMissing(error: unknown): undefined {
  if (apiErrorCode(error) !== JS_ERROR.streamNotFound) throw error;
}

/** What was read of each that is there. */
async function each<Spec, Reading>(
  specs: readonly Spec[],
  read: (spec: Spec) => Promise<Reading>,
): Promise<readonly Reading[]> {
  const found = await Promise.all(specs.map((spec) => read(spec).catch(unlessMissing)));
  return found.filter((reading) => reading !== undefined);
}

const readingOf = ({ config, state }: StreamInfo): Omit<StreamReading, 'consumers'> => ({
  name: config.name,
  retention: config.retention,
  messages: state.messages,
  bytes: state.bytes,
  maxMessages: config.max_msgs,
  maxBytes: config.max_bytes,
  lastSequence: state.last_seq,
  oldestAtMs: state.messages === 0 ? undefined : Date.parse(state.first_ts),
});

const readBucket = async (bus: Bus, spec: BucketSpec): Promise<StreamReading> => ({
  ...readingOf(await bus.jsm.streams.info(bucketStream(spec))),
  consumers: [],
});

async function readStream(bus: Bus, name: StreamName): Promise<StreamReading & { readonly name: StreamName }> {
  const [info, infos] = await Promise.all([bus.jsm.streams.info(name), bus.jsm.consumers.list(name).next()]);
  return {
    ...readingOf(info),
    name,
    consumers: infos
      .filter((info) => info.config.durable_name !== undefined)
      .map((info) => ({
        name: info.name,
        pending: info.num_pending,
        ackPending: info.num_ack_pending,
        maxAckPending: info.config.max_ack_pending ?? 0,
        redelivered: info.num_redelivered,
        waiting: info.num_waiting,
        ackFloorSequence: info.ack_floor.stream_seq,
        deliveredSequence: info.delivered.consumer_seq,
      })),
  };
}

function withRates(
  stream: StreamReading & { readonly name: StreamName },
  before: StreamState | undefined,
  seconds: number,
  dead: Readonly<Record<string, number>>,
): StreamState {
  // What has left a work queue: everything ever stored, minus what is there.
  const left = (reading: StreamReading): number => reading.lastSequence - reading.messages;
  const drained = before === undefined || stream.retention !== 'workqueue' ? 0 : left(stream) - left(before);
  const consumers = stream.consumers.map((consumer) => {
    const earlier = before?.consumers.find((each) => each.name === consumer.name);
    const delivered = earlier === undefined ? 0 : consumer.deliveredSequence - earlier.deliveredSequence;
    return {
      ...consumer,
      ratePerSecond: smooth(earlier?.ratePerSecond, delivered, seconds),
      deadLetters: dead[`dlq.${stream.name}.${consumer.name}`] ?? 0,
    };
  });
  return { ...stream, consumers, drainPerSecond: smooth(before?.drainPerSecond, drained, seconds) };
}

function smooth(before: number | undefined, count: number, seconds: number): number {
  if (before === undefined || seconds <= 0) return before ?? 0;
  const next = before + SMOOTHING * (Math.max(0, count) / seconds - before);
  return next < 0.01 ? 0 : next;
}
