import { systemClock } from '../clock.ts';
import { DEAD_LETTER } from '../dead-letter/record.ts';
import { Delivery } from '../process/delivery.ts';
import { HandlerAborted } from '../errors.ts';
import type { PipelineEvent } from '../events.ts';
import { silentLogger } from '../log.ts';
import type { Outcome } from '../process/outcome.ts';
import type { HeaderInput, NatsHeaders, NatsMessage } from '../nats/port.ts';
import { Processor } from '../process/processor.ts';
import type { ProcessorHost } from '../process/host.ts';
import { resolveSpec } from '../config/resolve-spec.ts';
import type { ResolvedSpec } from '../config/resolve-spec.ts';
import type { Pipeline } from '../define-pipeline.ts';
import type { Run } from '../process/run.ts';

/** Runs one delivery through the whole pipeline without a broker: decode, middleware, timeout, retry, dead letter. */
export interface Harness<T> {
  /**
   * Delivers bytes as they would come from the stream, or data that takes the place of a decoded body. Resolves with
   * what the pipeline would have done.
   */
  deliver(data: T | Uint8Array, options?: HarnessDelivery): Promise<HarnessResult>;
  /** Delivers several to a batch handler as one batch. Resolves with one result for each, in order. */
  deliverBatch(items: readonly (T | Uint8Array)[], options?: HarnessDelivery): Promise<readonly HarnessResult[]>;
}

/** What the engine would have done with one delivery. */
export interface HarnessResult {
  readonly outcome: Outcome['kind'];
  /** For `retry` and `snooze`: how long the message stays away. */
  readonly delayMs?: number;
  /** For `retry`, `snooze` and `deadLetter`: why. */
  readonly reason?: string;
  /** What the handler emitted, in order; empty unless the outcome is `ack` or `skip`. */
  readonly emitted: readonly { readonly subject: string; readonly id: string; readonly data: unknown }[];
  /** For `deadLetter`: the record as it would be published. */
  readonly deadLetter?: {
    readonly subject: string;
    readonly headers: Readonly<Record<string, string | readonly string[]>>;
  };
}

export interface HarnessDelivery {
  /** Which run of the handler this is; 1 when absent. */
  readonly attempt?: number;
  readonly subject?: string;
  readonly id?: string;
  readonly headers?: Readonly<Record<string, string>>;
}

/**
 * Makes a harness of a pipeline. The time its handlers take is real; for time that the test moves see `startInMemory`.
 *
 * @example
 * const { deliver } = createHarness(pipeline, { store });
 * expect(await deliver({ id: 7 })).toMatchObject({ outcome: 'ack' });
 */
export function createHarness<T, D>(pipeline: Pipeline<T, D>, deps: D): Harness<T> {
  const spec = resolveSpec(pipeline.spec);
  let sequence = 0;
  const deliverBatch: Harness<T>['deliverBatch'] = (items, options = {}) =>
    run(
      spec,
      deps,
      items.map((data) => deliveryOf(spec, data, options, ++sequence)),
    );
  return {
    deliverBatch,
    async deliver(data, options) {
      const [result] = await deliverBatch([data], options);
      return result as HarnessResult;
    },
  };
}

function deliveryOf<T, D>(
  { sources, retry }: ResolvedSpec<T, D>,
  data: T | Uint8Array,
  options: HarnessDelivery,
  sequence: number,
): Delivery<T> {
  const [{ stream, consumer }] = sources;
  const { attempt = 1, subject = `${stream}.harness`, id, headers } = options;
  const raw: NatsMessage = {
    subject,
    data: data instanceof Uint8Array ? data : new Uint8Array(0),
    headers: headersOf({ ...headers, ...(id === undefined ? {} : { 'Nats-Msg-Id': id }) }),
  };
  const meta = { deliveries: attempt, sequence, pending: 0 };
  const from = { index: 0, stream, consumer, partition: undefined, maxAttempts: retry.maxAttempts, ackPrefix: '' };
  const reply = `$JS.ACK.${stream}.${consumer}.${attempt}.${sequence}.${sequence}.${Date.now()}000000.0`;
  const delivery = new Delivery<T>(raw, reply, meta, from, systemClock.now());
  delivery.attempt = attempt;
  if (!(data instanceof Uint8Array)) delivery.decode(() => data);
  return delivery;
}

interface Published {
  readonly subject: string;
  readonly id: string;
  readonly data: unknown;
  readonly headers: HeaderInput;
}

/** Everything that happened to the deliveries of one call. */
interface Happened<T, D> {
  readonly events: PipelineEvent[];
  readonly published: Published[];
  readonly delays: Map<Delivery<T>, number>;
  run: Run<T, D> | undefined;
}

async function run<T, D>(
  spec: ResolvedSpec<T, D>,
  deps: D,
  deliveries: readonly Delivery<T>[],
): Promise<readonly HarnessResult[]> {
  const happened: Happened<T, D> = { events: [], published: [], delays: new Map(), run: undefined };
  const { promise: end, resolve: ended } = Promise.withResolvers<void>();
  const note: ProcessorHost<T, D>['publish'] = (subject, data, { id, headers }) => {
    happened.published.push({ subject, id: id ?? '', data, headers: headers ?? {} });
    return Promise.resolve({ stream: 'harness', sequence: happened.published.length, duplicate: false });
  };
  const host: ProcessorHost<T, D> = {
    publish: note,
    publishDeadLetter: note,
    ack: () => undefined,
    retry: (delivery, delayMs) => void happened.delays.set(delivery, delayMs),
    snooze: (delivery, delayMs) => void happened.delays.set(delivery, delayMs),
    wait: () => undefined,
    release: () => undefined,
    sample: () => undefined,
    runStarted(started) {
      happened.run = started;
    },
    runEnded: () => ended(),
  };
  const observe = (event: PipelineEvent): void => void happened.events.push(event);
  const clock = systemClock;
  const runtime = { deps, clock, random: Math.random, log: silentLogger, observe };
  const { waitMs = 30_000 } = spec.ack;
  const processor = new Processor<T, D>(
    spec,
    { ...runtime, instrument: undefined, inject: undefined, hasReadableHeaders: undefined },
    host,
    { ackWaitMs: waitMs, takeoverMs: waitMs },
  );
  const admitted = await Promise.all(deliveries.map(async (delivery) => processor.admit(delivery)));
  const [first, ...rest] = deliveries.filter((_, index) => admitted[index]);
  if (first !== undefined) {
    processor.execute([first, ...rest]);
    const { handlerMs, graceMs } = spec.timeout;
    const timeout = clock.after(handlerMs, () => {
      const reason = `the handler did not finish within ${handlerMs} ms`;
      happened.run?.abort(new HandlerAborted('HANDLER_TIMEOUT', reason), clock.now());
    });
    const grace = clock.after(handlerMs + graceMs, () => {
      if (happened.run !== undefined) processor.settleHung(happened.run);
      clock.soon(ended);
    });
    await end;
    timeout.cancel();
    grace.cancel();
  }
  return deliveries.map((delivery) => summarize(delivery, happened));
}

function summarize<T, D>(
  delivery: Delivery<T>,
  { events, published, delays, run: ran }: Happened<T, D>,
): HarnessResult {
  const record = published.find(({ headers }) => headers[DEAD_LETTER.sequence] === String(delivery.sequence));
  const own = events.filter((event) => 'message' in event && event.message === delivery.message);
  const settled = own.find((event) => event.type === 'message.settled');
  const later = own.find((event) => event.type === 'message.retryScheduled' || event.type === 'message.snoozed');
  const delayMs = delays.get(delivery);
  const outcome = outcomeOf();
  const emits = outcome === 'ack' || outcome === 'skip' ? (ran?.emits ?? []) : [];
  const detail = record?.headers[DEAD_LETTER.detail];
  const reason = typeof detail === 'string' ? detail : later?.reason;
  return {
    outcome,
    emitted: emits.map(({ subject, id, data }) => ({ subject, id, data })),
    ...(delayMs === undefined ? {} : { delayMs }),
    ...(reason === undefined ? {} : { reason }),
    ...(record === undefined ? {} : { deadLetter: { subject: record.subject, headers: record.headers } }),
  };

  function outcomeOf(): Outcome['kind'] {
    if (record !== undefined) return 'deadLetter';
    if (later?.type === 'message.snoozed') return 'snooze';
    if (delayMs !== undefined) return 'retry';
    return settled?.as === 'skip' ? 'skip' : 'ack';
  }
}

function headersOf(values: Readonly<Record<string, string>>): NatsHeaders {
  return {
    code: 0,
    description: '',
    get: (name) => values[name] ?? '',
    has: (name) => name in values,
    keys: () => Object.keys(values),
    values: (name) => (values[name] === undefined ? [] : [values[name]]),
  };
}
