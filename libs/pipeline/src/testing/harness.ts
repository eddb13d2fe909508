import { systemClock } from '../clock.ts';
import { DEAD_LETTER } from '../dead-letter/record.ts';
import { Delivery } from '../process/delivery.ts';
import { HandlerAborted } from '../errors.ts';
import type { PipelineEvent } from '../events.ts';
import { silentLogger } from '../log.ts';
import type { Outcome } from '../process/outcome.ts';
import type { HeaderInput, NatsHeaders, NatsMessage } from '../nats/port.ts';
import { Processor } from '../process/processor.ts';
import type { ProcessorHost } from '../process/processor.ts';
import type { ResolvedSpec } from '../config/resolve-spec.ts';
import type { Run } from '../process/run.ts';

/** Runs one delivery through the whole pipeline without a broker: decode, middleware, timeout, retry, dead letter. */
export interface Harness<T> {
  /**
   * Delivers bytes as they would come from the stream, or data that takes the place of a decoded body. Resolves with
   * what the pipeline would have done.
   */
  deliver(data: T | Uint8Array, options?: HarnessDelivery): Promise<HarnessResult>;
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

export function makeHarness<T, D>(spec: ResolvedSpec<T, D>, deps: D): Harness<T> {
  let sequence = 0;
  return {
    deliver: (data, options = {}) => deliverOnce(spec, deps, data, options, ++sequence),
  };
}

async function deliverOnce<T, D>(
  spec: ResolvedSpec<T, D>,
  deps: D,
  data: T | Uint8Array,
  options: HarnessDelivery,
  sequence: number,
): Promise<HarnessResult> {
  const [source] = spec.sources;
  const events: PipelineEvent[] = [];
  const published: { subject: string; id: string; data: unknown; headers: HeaderInput }[] = [];
  let delayMs: number | undefined;
  const raw: NatsMessage = {
    subject: options.subject ?? `${source.stream}.harness`,
    data: data instanceof Uint8Array ? data : new Uint8Array(0),
    reply: `$JS.ACK.${source.stream}.${source.consumer}`,
    headers: headersOf({ ...options.headers, ...(options.id === undefined ? {} : { 'Nats-Msg-Id': options.id }) }),
  };
  const meta = { deliveries: options.attempt ?? 1, sequence, pending: 0 };
  const from = {
    index: 0,
    stream: source.stream,
    consumer: source.consumer,
    maxAttempts: spec.retry.maxAttempts,
    ackPrefix: '',
  };
  const reply = `${raw.reply ?? ''}.${meta.deliveries}.${sequence}.${sequence}.${Date.now()}000000.0`;
  const delivery = new Delivery<T>(raw, reply, meta, from, systemClock.now());
  delivery.attempt = meta.deliveries;
  if (!(data instanceof Uint8Array)) delivery.decode(() => data);
  let current: Run<T, D> | undefined;
  let ended: () => void = () => undefined;
  const end = new Promise<void>((resolve) => {
    ended = resolve;
  });
  const note: ProcessorHost<T, D>['publish'] = (subject, body, { id, headers }) => {
    published.push({ subject, id: id ?? '', data: body, headers: headers ?? {} });
    return Promise.resolve({ stream: 'harness', sequence: published.length, duplicate: false });
  };
  const host: ProcessorHost<T, D> = {
    publish: note,
    publishDeadLetter: note,
    ack: () => undefined,
    retry(_, ms) {
      delayMs = ms;
    },
    wait: () => undefined,
    release: () => undefined,
    sample: () => undefined,
    runStarted(run) {
      current = run;
    },
    runEnded: () => ended(),
  };
  const processor = new Processor<T, D>(
    spec,
    {
      deps,
      clock: systemClock,
      random: Math.random,
      log: silentLogger,
      observe: (event) => void events.push(event),
      instrument: undefined,
      inject: undefined,
    },
    host,
    spec.ack.waitMs ?? 30_000,
  );
  if (await processor.admit(delivery)) {
    processor.execute([delivery]);
    const { handlerMs, graceMs } = spec.timeout;
    const timeout = systemClock.after(handlerMs, () => {
      const reason = `the handler did not finish within ${handlerMs} ms`;
      current?.abort(new HandlerAborted('HANDLER_TIMEOUT', reason), systemClock.now());
    });
    const grace = systemClock.after(handlerMs + graceMs, () => {
      if (current !== undefined) processor.settleHung(current);
      systemClock.soon(ended);
    });
    await end;
    timeout.cancel();
    grace.cancel();
  }
  return summarize(events, published, delayMs, current);
}

function summarize<T, D>(
  events: readonly PipelineEvent[],
  published: readonly { subject: string; id: string; data: unknown; headers: HeaderInput }[],
  delayMs: number | undefined,
  run: Run<T, D> | undefined,
): HarnessResult {
  const record = published.find(({ headers }) => DEAD_LETTER.reason in headers);
  const settled = events.find((event) => event.type === 'message.settled');
  const later = events.find((event) => event.type === 'message.retryScheduled' || event.type === 'message.snoozed');
  const outcome: Outcome['kind'] =
    record !== undefined
      ? 'deadLetter'
      : later?.type === 'message.snoozed'
        ? 'snooze'
        : delayMs !== undefined
          ? 'retry'
          : settled?.as === 'skip'
            ? 'skip'
            : 'ack';
  const emits = outcome === 'ack' || outcome === 'skip' ? (run?.emits ?? []) : [];
  const detail = record?.headers[DEAD_LETTER.detail];
  const reason = typeof detail === 'string' ? detail : later?.reason;
  return {
    outcome,
    emitted: emits.map(({ subject, id, data }) => ({ subject, id, data })),
    ...(delayMs === undefined ? {} : { delayMs }),
    ...(reason === undefined ? {} : { reason }),
    ...(record === undefined ? {} : { deadLetter: { subject: record.subject, headers: record.headers } }),
  };
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
