import { systemClock } from './clock.ts';
import { Engine } from './engine.ts';
import { RequestError } from './errors.ts';
import type { PipelineEvent } from './events.ts';
import { call, consumerInfo, streamInfo } from './nats/jetstream-api.ts';
import type { ConsumerInfo } from './nats/jetstream-api.ts';
import { silentLogger } from './log.ts';
import type { NatsPort } from './nats/port.ts';
import type { ResolvedSpec } from './config/resolve-spec.ts';
import type { Runtime } from './runtime.ts';

export interface ReplayOptions {
  /** Stream to read; the first source's when absent. */
  readonly stream?: string;
  readonly from: 'first' | { readonly sequence: number } | { readonly time: Date };
  /** `now`: ends with the newest message there is when it begins. `follow`: goes on with what comes. */
  readonly until?: 'now' | 'follow';
  /** Subjects to read; all of the stream's when absent. */
  readonly subjects?: readonly string[];
  /** What handlers emit is dropped unless this says `publish`: effects happened when the message was first handled. */
  readonly emits?: 'drop' | 'publish';
  readonly onProgress?: (progress: ReplayProgress) => void;
}

export interface ReplayProgress {
  /** Messages through so far. */
  readonly done: number;
  /** Messages there were when the replay began. */
  readonly total: number;
  /** Messages given up on: what would have been a dead letter. */
  readonly failed: number;
  /** Newest position that has been reached. */
  readonly sequence: number;
}

export interface Replay {
  progress(): ReplayProgress;
  /** Resolves when `until` is reached or `stop` was called; rejects with a `PipelineFault`. */
  readonly done: Promise<ReplayProgress>;
  stop(): Promise<ReplayProgress>;
}

const NS = 1_000_000;
const ACK_WAIT_MS = 30_000;
const INACTIVE_MS = 300_000;
const CHECK_EVERY_MS = 2000;

/**
 * Runs a pipeline's handler over history through a consumer of its own: the live durable is not touched, nothing is
 * dead-lettered, and the idempotency store is not asked (it would call everything done).
 */
export async function startReplay<T, D>(
  spec: ResolvedSpec<T, D>,
  runtime: Runtime<D>,
  options: ReplayOptions,
): Promise<Replay> {
  const { nats } = runtime;
  const clock = runtime.clock ?? systemClock;
  const stream = options.stream ?? spec.sources[0].stream;
  const consumer = `replay-${spec.name}-${crypto.randomUUID().slice(0, 8)}`;
  const { state } = await streamInfo(nats, stream);
  const target = options.until === 'follow' ? Number.POSITIVE_INFINITY : state.last_seq;
  const created = await create(nats, stream, consumer, spec, startOf(options.from), options.subjects);

  const open = new Set<number>();
  const handled = new Handled();
  let done = 0;
  let failed = 0;
  let reached = 0;
  const total = created.num_pending;
  const progress = (): ReplayProgress => ({ done, total, failed, sequence: reached });
  const finished = Promise.withResolvers<void>();
  const count = (event: PipelineEvent): void => {
    runtime.observe?.(event);
    if (event.type === 'message.received') open.add(event.message.sequence);
    else if (
      event.type === 'message.settled' &&
      (event.as === 'ack' || event.as === 'skip' || event.as === 'deadLetter')
    ) {
      const { sequence } = event.message;
      open.delete(sequence);
      // A consumer that was lost is made again at the oldest message in hand: what follows it is delivered twice.
      const again = !handled.add(sequence, open);
      if (again || sequence > target) return;
      done++;
      if (event.as === 'deadLetter') failed++;
      reached = Math.max(reached, sequence);
      options.onProgress?.(progress());
      if (done >= total && target !== Number.POSITIVE_INFINITY) finished.resolve();
    } else if (event.type === 'source.missing') {
      // The consumer was removed while this process was not connected: go on after the last message handled.
      const from = Math.min(reached + 1, ...open);
      create(
        nats,
        stream,
        consumer,
        spec,
        { deliver_policy: 'by_start_sequence', opt_start_seq: from },
        options.subjects,
      ).catch(() => undefined);
    }
  };
  const engine = new Engine(
    {
      ...spec,
      idempotency: undefined,
      onDeadLetter: undefined,
      sources: [{ stream, consumer, weight: 1, reserve: 0, body: 'full', declared: 0, partition: undefined }],
    },
    { ...runtime, observe: count },
    clock,
    runtime.log ?? silentLogger,
    [{ ackWaitMs: ACK_WAIT_MS, maxBatch: undefined, maxExpiresMs: undefined, maxAckPending: undefined, filters: '' }],
    { deadLetters: 'drop', emits: options.emits ?? 'drop' },
  );
  if (total === 0 && target !== Number.POSITIVE_INFINITY) finished.resolve();
  // Messages can leave the stream while it is read, so the count alone is no proof of the end.
  const check = clock.every(CHECK_EVERY_MS, () => {
    consumerInfo(nats, stream, consumer).then(
      (info) => {
        const drained = info.num_pending === 0 && info.num_ack_pending === 0;
        if ((drained && target !== Number.POSITIVE_INFINITY) || info.ack_floor.stream_seq >= target) finished.resolve();
      },
      () => undefined,
    );
  });
  engine.done.catch((error: unknown) => finished.reject(error));
  const end = async (): Promise<ReplayProgress> => {
    try {
      await finished.promise;
    } finally {
      check.cancel();
      await engine.drain();
      await call(nats, `CONSUMER.DELETE.${stream}.${consumer}`).catch(() => undefined);
    }
    return progress();
  };
  const ended = end();
  return {
    progress,
    done: ended,
    stop() {
      finished.resolve();
      return ended;
    },
  };
}

/** Sequences that were handled, each once; forgets those before the oldest message in hand. */
class Handled {
  readonly #above = new Set<number>();
  /** Everything up to here was handled, or passed over by the filter. */
  #upTo = 0;
  #highest = 0;

  /** False: it was handled before. */
  add(sequence: number, open: ReadonlySet<number>): boolean {
    if (sequence <= this.#upTo || this.#above.has(sequence)) return false;
    this.#above.add(sequence);
    this.#highest = Math.max(this.#highest, sequence);
    // Deliveries come in order, so what is older than every message in hand is through.
    const upTo = Math.min(...open, this.#highest + 1) - 1;
    if (upTo > this.#upTo) {
      this.#upTo = upTo;
      for (const each of this.#above) if (each <= upTo) this.#above.delete(each);
    }
    return true;
  }
}

type Start =
  | { readonly deliver_policy: 'all' }
  | { readonly deliver_policy: 'by_start_sequence'; readonly opt_start_seq: number }
  | { readonly deliver_policy: 'by_start_time'; readonly opt_start_time: string };

function startOf(from: ReplayOptions['from']): Start {
  if (from === 'first') return { deliver_policy: 'all' };
  return 'sequence' in from
    ? { deliver_policy: 'by_start_sequence', opt_start_seq: from.sequence }
    : { deliver_policy: 'by_start_time', opt_start_time: from.time.toISOString() };
}

async function create<T, D>(
  nats: NatsPort,
  stream: string,
  consumer: string,
  spec: ResolvedSpec<T, D>,
  start: Start,
  subjects: readonly string[] | undefined,
): Promise<ConsumerInfo> {
  const perSlot = spec.work.kind === 'batch' ? spec.work.batch.maxSize : 1;
  const config = {
    name: consumer,
    ack_policy: 'explicit',
    ack_wait: ACK_WAIT_MS * NS,
    max_deliver: -1,
    max_ack_pending: Math.max(2000, 2 * spec.flow.concurrency * perSlot),
    inactive_threshold: INACTIVE_MS * NS,
    mem_storage: true,
    ...start,
    ...(subjects === undefined ? {} : { filter_subjects: subjects }),
  };
  try {
    return await call<ConsumerInfo>(nats, `CONSUMER.CREATE.${stream}.${consumer}`, {
      stream_name: stream,
      config,
      action: 'create',
    });
  } catch (error) {
    if (error instanceof RequestError && (error.apiCode === 10_099 || error.apiCode === 10_100)) {
      const hint = `${stream} is a work queue: its messages belong to one consumer and are gone when acknowledged, there is no history to replay`;
      throw new RequestError('API', hint, error.apiCode, { cause: error });
    }
    throw error;
  }
}
