import type { AttemptStore } from './attempts/store.ts';
import type { Clock } from './clock.ts';
import type { Observer } from './events.ts';
import type { Logger } from './log.ts';
import type { Message } from './process/message.ts';
import type { HeaderInput, NatsPort } from './nats/port.ts';

/**
 * Runs the handler inside the context that tracing needs. `messages` has one entry, or the whole batch. Must call `run`
 * once and give its result through, failures included.
 */
export type Instrument = <R>(
  messages: readonly [Message<unknown>, ...Message<unknown>[]],
  run: () => Promise<R>,
) => Promise<R>;

/** What a pipeline needs to run. */
export interface Runtime<D> {
  readonly nats: NatsPort;
  /** Given to every handler as `context.deps`. */
  readonly deps: D;
  /** Counts failed and crashed runs over replicas and restarts, for specs that name no `attempts.store` of their own. */
  readonly attemptStore?: AttemptStore;
  readonly observe?: Observer;
  readonly instrument?: Instrument;
  /** Headers (`traceparent`, `tracestate`) for emits and dead letters; called inside the context `instrument` made. */
  readonly inject?: () => HeaderInput;
  readonly log?: Logger;
  readonly clock?: Clock;
  /** Numbers in 0..1 for jitter; `Math.random` when absent. */
  readonly random?: () => number;
}

/** What a pipeline may do besides handling: a replay of history has no effects of its own. */
export interface EngineEffects {
  readonly emits?: 'drop' | 'publish';
  readonly deadLetters?: 'drop' | 'publish';
}
