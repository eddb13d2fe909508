import type { Clock } from '../clock.ts';
import type { Observer } from '../events.ts';
import type { Logger } from '../log.ts';
import type { HeaderInput, NatsPort, PubAck, PublishOptions } from '../nats/port.ts';
import type { Instrument } from '../runtime.ts';
import type { Delivery } from './delivery.ts';
import type { Run } from './run.ts';

/** What the processor needs to act: the engine settles on the server, the test harness records. */
export interface ProcessorHost<T, D> {
  publish(subject: string, data: Uint8Array | string, options: PublishOptions): Promise<PubAck>;
  publishDeadLetter(subject: string, data: Uint8Array | string, options: PublishOptions): Promise<PubAck>;
  /** Acknowledges; a promise when that has to be waited for. */
  ack(delivery: Delivery<T>): Promise<void> | undefined;
  /** Naks the message with a delay; `failed`: this run counts as an attempt. */
  retry(delivery: Delivery<T>, delayMs: number, failed: boolean): void;
  /** Has the message come back after the delay its handler asked for. */
  snooze(delivery: Delivery<T>, delayMs: number): void;
  /** Keeps the message here and admits it again after the delay: no delivery is used up. */
  wait(delivery: Delivery<T>, delayMs: number): void;
  /** Naks the message without a delay, or, with `silently`, forgets it without telling the server. */
  release(delivery: Delivery<T>, silently: boolean): void;
  /** Called before what a handler returned is carried out: aborts the run when its messages are another replica's by now. */
  concluding?(run: Run<T, D>): void;
  /** The handler began. */
  runStarted(run: Run<T, D>): void;
  /** The handler has returned and everything is carried out: its slot is free. */
  runEnded(run: Run<T, D>): void;
  /** One result for the breaker. */
  sample(failed: boolean, error: unknown, startedAt: number): void;
}

export interface ProcessorRuntime<D> {
  readonly deps: D;
  readonly clock: Clock;
  readonly random: () => number;
  readonly log: Logger;
  readonly observe: Observer | undefined;
  readonly instrument: Instrument | undefined;
  readonly inject: (() => HeaderInput) | undefined;
  readonly hasReadableHeaders: NatsPort['hasReadableHeaders'];
}
