import type { Context } from '../process/context.ts';
import type { AttemptStore } from '../attempts/store.ts';
import type { DeadLetterReason } from '../events.ts';
import type { IdempotencyStore } from '../idempotency/store.ts';
import type { LimitStore } from '../limits/store.ts';
import type { Message } from '../process/message.ts';
import type * as options from './options.ts';
import type { Outcome } from '../process/outcome.ts';
import type { Input } from './schema.ts';

/** Handles one message. Returning nothing means ack; a throw means retry, or dead letter for a `PermanentError`. */
export type Handler<T, D> = (message: Message<T>, context: Context<D>) => Promise<Outcome | void>;

/** Handles a batch. Returns one outcome per message in the same order, or nothing when all went well. */
export type BatchHandler<T, D> = (
  messages: readonly Message<T>[],
  context: Context<D>,
) => Promise<readonly (Outcome | void)[] | void>;

/** A message that was given up, its record stored under `subject`. `message.data` throws when the body was not decoded. */
export interface DeadLettered<T> {
  readonly message: Message<T>;
  readonly body: Uint8Array;
  readonly subject: string;
  readonly reason: DeadLetterReason;
  readonly detail: string;
  readonly error: unknown;
}

/** Wraps handlers, for logging, transactions and the like. Retry and dead letters are policy, not middleware. */
export type Middleware<T, D> = (next: Handler<T, D>) => Handler<T, D>;
export type BatchMiddleware<T, D> = (next: BatchHandler<T, D>) => BatchHandler<T, D>;

/** A durable pull consumer to read from. */
export type Source = Input<typeof options.sourceFields>;
export type Rate = Input<typeof options.rateFields>;
export type RetryPolicy = Input<typeof options.retryFields>;
export type DeadLetterPolicy = Input<typeof options.deadLetterFields>;
export type AckOptions = Input<typeof options.ackFields>;
export type TimeoutOptions = Input<typeof options.timeoutFields>;
export type DelayedEmitOptions = Input<typeof options.delayedFields>;
export type BreakerOptions = Input<typeof options.breakerFields>;
/** A rate, a concurrency, or both. */
export type LimitOptions = Input<typeof options.limitFields>;
export type LimitsOptions<T> = Omit<Input<typeof options.limitsFields>, 'key'> & {
  readonly key?: (message: Message<T>) => string | undefined;
  /** Of all messages together. */
  readonly all?: LimitOptions;
  /** Of the messages of each key. */
  readonly perKey?: LimitOptions;
  /** Where replicas share the limits: `natsLimits`. Without it each process has limits of its own. */
  readonly shared?: LimitStore;
};
export type FlowOptions<T> = Omit<Input<typeof options.flowFields>, 'orderBy'> & {
  readonly orderBy?: (message: Message<T>) => string | undefined;
  readonly rate?: Rate;
};
export type IdempotencyOptions<T> = Omit<Input<typeof options.idempotencyFields>, 'key'> & {
  readonly key: (message: Message<T>) => string;
  readonly store: IdempotencyStore;
};
export type AttemptOptions = Input<typeof options.attemptFields> & { readonly store: AttemptStore };
export type BatchOptions<T> = Omit<Input<typeof options.batchFields>, 'by'> & {
  readonly by?: (message: Message<T>) => string;
};

interface Base<T, D> {
  readonly name: string;
  /** One durable consumer, or several with weights. */
  readonly sources: readonly [Source, ...Source[]];
  readonly decode: (bytes: Uint8Array, subject: string) => T;
  readonly flow?: FlowOptions<T>;
  /** How many messages may start, in all and of each key, over all replicas. */
  readonly limits?: LimitsOptions<T>;
  readonly ack?: AckOptions;
  readonly timeout?: TimeoutOptions;
  readonly retry?: RetryPolicy;
  readonly deadLetter?: DeadLetterPolicy;
  readonly idempotency?: IdempotencyOptions<T>;
  /** Counts failed and crashed runs over replicas and restarts; without it each process counts its own. */
  readonly attempts?: AttemptOptions;
  readonly breaker?: BreakerOptions;
  /** Lets handlers emit messages for later. */
  readonly delayed?: DelayedEmitOptions;
  readonly onDeadLetter?: (letter: DeadLettered<T>, deps: D) => Promise<void>;
  readonly drainTimeoutMs?: number;
}

/** A pipeline as data. Every option, its default and its limits: `OPTIONS.md`. */
export type PipelineSpec<T, D> = Base<T, D> &
  (
    | { readonly handle: Handler<T, D>; readonly handleBatch?: never; readonly use?: readonly Middleware<T, D>[] }
    | {
        readonly handle?: never;
        readonly handleBatch: BatchHandler<T, D>;
        readonly batch: BatchOptions<T>;
        readonly use?: readonly BatchMiddleware<T, D>[];
      }
  );
