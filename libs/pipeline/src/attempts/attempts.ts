import { errorMessage } from '../process/describe-error.ts';
import type { Delivery } from '../process/delivery.ts';
import type { Clock } from '../clock.ts';
import type { ResolvedSpec } from '../config/resolve-spec.ts';
import type { Logger } from '../log.ts';
import { withTimeout } from '../settle/with-timeout.ts';
import type { AttemptRecord } from './store.ts';

/** What this process knows of a message that it had and that went back to the server. */
interface Known {
  readonly failed: number;
  /** The server's delivery count up to which this process knows what happened. */
  readonly deliveries: number;
  readonly unknown: number;
}

const NO_RECORD: AttemptRecord = { failed: 0, crashed: 0, running: false };

/**
 * A delivery that ends with its process lasts for ack_wait at least, one that is sent back need not. A message that was
 * delivered more often than its age allows for crashes alone was sent back, for a limit or a pause; not to miss one that
 * ended processes besides, half of them count.
 */
const CRASH_SHARE = 0.5;

/** Messages remembered at once: the consumer's max_ack_pending bounds those that can come back, 1,000 by default. */
const MAX_KNOWN = 10_000;

/**
 * Counts the failed runs of a message apart from its deliveries. The server counts deliveries only: a pause, a deploy or
 * an outage of the idempotency store would use up the attempts of messages whose handler never ran.
 *
 * Without a store this process knows what it did itself. Deliveries it knows nothing of (another replica had the message,
 * or a process died) count as failed runs, but never as the last one: the handler always gets its run. Only so many of them,
 * each as long as a crash takes to be noticed, are a crash loop. With a store the
 * count is exact over replicas and restarts, and crashes are proved: a run that began and never ended.
 */
export class Attempts<T, D> {
  readonly #spec: ResolvedSpec<T, D>;
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #takeoverMs: number;
  readonly #known = new Map<string, Known>();

  /** `takeoverMs`: the soonest that the server gives on what a process held when it ended. */
  constructor(spec: ResolvedSpec<T, D>, clock: Clock, log: Logger, takeoverMs: number) {
    this.#spec = spec;
    this.#clock = clock;
    this.#log = log;
    this.#takeoverMs = takeoverMs;
  }

  /** A message arrived: sets its `attempt` from what this process knows. */
  arrived(delivery: Delivery<T>): void {
    if (delivery.deliveries <= 1) return;
    const known = this.#known.get(keyOf(delivery)) ?? { failed: 0, deliveries: 0, unknown: 0 };
    const missed = Math.max(0, delivery.deliveries - 1 - known.deliveries);
    const most = Math.max(known.failed, this.#spec.retry.maxAttempts - 1);
    delivery.attempt = Math.min(known.failed + missed, most) + 1;
    delivery.unknownDeliveries = known.unknown + missed;
  }

  /** Why the message must not run again: it ended the process too often. Undefined: it may run. */
  crashLoop(delivery: Delivery<T>): string | undefined {
    const { attempts, retry } = this.#spec;
    if (attempts !== undefined) {
      const crashed = delivery.record?.crashed ?? 0;
      if (crashed < attempts.maxCrashes) return undefined;
      return `its handler was started and the process ended ${crashed} times`;
    }
    const { unknownDeliveries } = delivery;
    if (unknownDeliveries < retry.maxUnknownDeliveries) return undefined;
    const ageMs = this.#clock.wall() - delivery.storedAtMs;
    if (ageMs < unknownDeliveries * this.#takeoverMs * CRASH_SHARE) return undefined;
    return `delivered ${delivery.deliveries} times, of which ${unknownDeliveries} ended without being settled`;
  }

  /** Whether `begin` has to be awaited before the handler may run. */
  needsRecord(delivery: Delivery<T>): boolean {
    return this.#spec.attempts !== undefined && delivery.deliveries > 1;
  }

  /** Reads the record of a message that was delivered before, and counts a run that never ended. */
  async read(delivery: Delivery<T>): Promise<void> {
    if (delivery.record === undefined) {
      const answer = await this.#call(delivery, async (store, key) => ({ found: await store.read(key) }));
      // Unanswered, what this process knows has to do.
      if (answer === undefined) return;
      const { failed, crashed, running } = answer.found ?? NO_RECORD;
      delivery.record = { failed, crashed: crashed + (running ? 1 : 0), running: false };
    }
    delivery.attempt = delivery.record.failed + 1;
  }

  /** Notes that a run begins, so that the next delivery can tell whether it ended. */
  async begin(delivery: Delivery<T>): Promise<void> {
    const { failed = delivery.attempt - 1, crashed = 0 } = delivery.record ?? {};
    await this.#write(delivery, { failed, crashed, running: true });
  }

  /** Notes that a run failed (or, with `failed` false, that it was stopped), before the message goes back. */
  async ended(delivery: Delivery<T>, failed: boolean): Promise<void> {
    if (this.#spec.attempts === undefined || (!failed && delivery.record === undefined)) return;
    const before = delivery.record?.failed ?? delivery.attempt - 1;
    await this.#write(delivery, {
      failed: before + (failed ? 1 : 0),
      crashed: delivery.record?.crashed ?? 0,
      running: false,
    });
  }

  /** The message goes back to the server: this process will know what happened up to here. */
  left(delivery: Delivery<T>, failed: boolean): void {
    const key = keyOf(delivery);
    if (this.#known.size >= MAX_KNOWN && !this.#known.has(key)) {
      const [oldest] = this.#known.keys();
      if (oldest !== undefined) this.#known.delete(oldest);
    }
    this.#known.set(key, {
      failed: delivery.attempt - (failed ? 0 : 1),
      deliveries: delivery.deliveries,
      unknown: delivery.unknownDeliveries,
    });
  }

  /** The message is settled for good. */
  gone(delivery: Delivery<T>): void {
    if (this.#known.size > 0) this.#known.delete(keyOf(delivery));
    if (delivery.record === undefined) return;
    delivery.record = undefined;
    void this.#call(delivery, (store, key) => store.remove(key));
  }

  async #write(delivery: Delivery<T>, record: AttemptRecord): Promise<void> {
    delivery.record = record;
    await this.#call(delivery, (store, key) => store.write(key, record));
  }

  /** Without its store the engine goes on with what this process knows: a failed call is logged, not thrown. */
  async #call<R>(
    delivery: Delivery<T>,
    use: (store: NonNullable<ResolvedSpec<T, D>['attempts']>['store'], key: string) => Promise<R>,
  ): Promise<R | undefined> {
    const { attempts, name } = this.#spec;
    if (attempts === undefined) return undefined;
    const key = `${delivery.stream}.${delivery.consumer}.${delivery.sequence}-${delivery.storedAtMs}`;
    try {
      return await withTimeout(use(attempts.store, key), attempts.timeoutMs, this.#clock, 'the attempt store');
    } catch (error) {
      this.#log.warn({ pipeline: name, key, error: errorMessage(error) }, 'attempt store failed');
      return undefined;
    }
  }
}

const keyOf = (delivery: Delivery<unknown>): string => `${delivery.source}:${delivery.sequence}:${delivery.storedAtMs}`;
