import { resolveSpec } from '../config/resolve-spec.ts';
import { definePipeline } from '../define-pipeline.ts';
import type { Pipeline } from '../define-pipeline.ts';
import type { PipelineEvent } from '../events.ts';
import { MemoryJetStream } from '../memory/index.ts';
import type { MemoryMessage } from '../memory/index.ts';
import type { Settlement } from '../process/outcome.ts';
import type { RunningPipeline } from '../running.ts';
import type { Runtime } from '../runtime.ts';
import { manualClock } from './manual-clock.ts';
import type { ManualClock } from './manual-clock.ts';

/** What became of one delivery. */
export interface SettledDelivery {
  readonly sequence: number;
  readonly attempt: number;
  readonly settlement: Settlement;
}

/** A pipeline at work on streams in memory, in time that the test moves. */
export interface InMemoryPipeline<T> extends AsyncDisposable {
  readonly running: RunningPipeline;
  readonly clock: ManualClock;
  /** Every event so far. */
  readonly events: readonly PipelineEvent[];
  /** Every delivery that ended, in order. */
  readonly settled: readonly SettledDelivery[];
  /**
   * Stores messages, in order: bytes as they would come, or data that takes the place of a decoded body. Resolves with
   * their sequences when everything that needs no time has happened.
   */
  send(messages: readonly (T | Uint8Array)[], options?: SendInMemory): Promise<readonly number[]>;
  /** Moves time on: batches close, retries come due, handlers run out of theirs. */
  advance(ms: number): Promise<void>;
  /** Messages that are in the stream of the first source. */
  left(): number;
  /** The records of what was given up, and what handlers emitted. */
  deadLetters(): readonly MemoryMessage[];
  emitted(): readonly MemoryMessage[];
  /** Drains and ends it. */
  close(): Promise<void>;
}

export interface SendInMemory {
  /** The source by its place in the spec; the first when absent. */
  readonly source?: number;
  /** Last tokens of the subject, `<stream>.<consumer>.<subject>`; `test` when absent. */
  readonly subject?: string;
  readonly id?: string;
  readonly headers?: Readonly<Record<string, string>>;
}

const NS = 1_000_000;
const ACK_WAIT_MS = 30_000;
const EMITTED = 'EMITTED';
const DEAD_LETTERS = 'DEAD_LETTERS';
/** Open pulls end by then. */
const DRAIN_MS = 60_000;

/**
 * Starts a pipeline on streams in memory: the engine itself, with batches, order, limits and retries, and a clock that
 * stands still until it is moved. Several sources are consumers with subjects of their own, `<stream>.<consumer>.>`.
 */
export async function startInMemory<T, D>(
  pipeline: Pipeline<T, D>,
  runtime: Pick<Runtime<D>, 'deps'> & Partial<Omit<Runtime<D>, 'nats' | 'clock'>>,
): Promise<InMemoryPipeline<T>> {
  const { sources, ack, deadLetter, work } = resolveSpec(pipeline.spec);
  const batchWaitMs = work.kind === 'batch' ? work.batch.maxWaitMs : 0;
  const clock = manualClock();
  const server = new MemoryJetStream(clock);
  const letters = sources.map(({ stream, consumer }) => deadLetter.subject ?? `dlq.${stream}.${consumer}`);
  for (const stream of new Set(sources.map((source) => source.stream))) {
    server.addStream({ name: stream, subjects: [`${stream}.>`], retention: 'workqueue' });
  }
  server.addStream({ name: DEAD_LETTERS, subjects: [...new Set(letters)] });
  // The first stream that takes a subject stores it: this one has what is left.
  server.addStream({ name: EMITTED, subjects: ['>'] });
  for (const { stream, consumer, body } of sources) {
    server.addConsumer(stream, consumer, {
      filter_subject: `${stream}.${consumer}.>`,
      max_ack_pending: 65_536,
      max_deliver: -1,
      // As the spec expects it, or long enough for its batches.
      ack_wait: (ack.waitMs ?? Math.max(ACK_WAIT_MS, 2 * batchWaitMs)) * NS,
      ...(body === 'none' ? { headers_only: true } : {}),
    });
  }
  const events: PipelineEvent[] = [];
  const settled: SettledDelivery[] = [];
  const given = new WeakMap<Uint8Array, { readonly data: T }>();
  const decode = (bytes: Uint8Array, subject: string): T => {
    const entry = given.get(bytes);
    return entry === undefined ? pipeline.spec.decode(bytes, subject) : entry.data;
  };
  const starting = definePipeline({ ...pipeline.spec, decode }).start({
    ...runtime,
    nats: server.connect(),
    clock,
    observe(event) {
      events.push(event);
      if (event.type === 'message.settled') {
        const { sequence, attempt } = event.message;
        settled.push({ sequence, attempt, settlement: event.as });
      }
      runtime.observe?.(event);
    },
  });
  const [running] = await Promise.all([starting, clock.advance(1)]);
  const close = async (): Promise<void> => {
    const drained = running.drain();
    await clock.advance(DRAIN_MS);
    await drained;
  };
  return {
    running,
    clock,
    events,
    settled,
    async send(messages, { source = 0, subject = 'test', id, headers } = {}) {
      const { stream, consumer } = sources[source] ?? sources[0];
      const sequences = messages.map((message) => {
        const bytes = message instanceof Uint8Array ? message : new Uint8Array(0);
        if (!(message instanceof Uint8Array)) given.set(bytes, { data: message });
        const carried = { ...headers, ...(id === undefined ? {} : { 'Nats-Msg-Id': id }) };
        return server.store(`${stream}.${consumer}.${subject}`, bytes, carried);
      });
      await clock.settle();
      return sequences;
    },
    advance: (ms) => clock.advance(ms),
    left: () => server.messages(sources[0].stream).length,
    deadLetters: () => server.messages(DEAD_LETTERS),
    emitted: () => server.messages(EMITTED),
    close,
    [Symbol.asyncDispose]: close,
  };
}
