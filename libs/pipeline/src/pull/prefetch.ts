/** Handlers slower than this gain nothing from prefetch: a pull takes well under a millisecond. */
const SLOW_MS = 5;
/** A handler that has been running this long says more than the average of the quick ones before it. */
const STUCK_MS = 50;
/** What a round trip to the server is reckoned at, with room for a busy one. */
const ROUND_TRIP_MS = 2;
const MOST_PER_SLOT = 4;

/**
 * How many messages to hold beyond the slots. Prefetching is a trade: it hides the round trip of a pull from handlers
 * that take less than one, and it takes messages away from other replicas and lets them age. So it is 0 for slow
 * handlers, follows the measured duration for quick ones, and never exceeds what finishes within a third of ack_wait.
 */
export class Prefetch {
  current = 0;
  #concurrency: number;
  readonly #ackWaitMs: number;
  #most: number;
  #averageMs: number | undefined;

  constructor(concurrency: number, ackWaitMs: number, most: number) {
    this.#concurrency = concurrency;
    this.#ackWaitMs = ackWaitMs;
    this.#most = Math.max(0, most);
  }

  /** Other slots, and another bound: the next `retune` follows them. */
  resize(concurrency: number, most: number): void {
    this.#concurrency = concurrency;
    this.#most = Math.max(0, most);
  }

  /** Takes the duration of one handler call. */
  learn(durationMs: number): void {
    this.#averageMs =
      this.#averageMs === undefined ? durationMs : this.#averageMs + (durationMs - this.#averageMs) / 32;
  }

  /** Sets `current` anew. `oldestMs` is the age of the longest running handler. */
  retune(oldestMs: number): number {
    const averageMs = this.#averageMs;
    let target = 0;
    if (averageMs !== undefined && averageMs < SLOW_MS && oldestMs < STUCK_MS) {
      const perSlot = Math.min(MOST_PER_SLOT, ROUND_TRIP_MS / Math.max(averageMs, 0.01));
      const withinLease = Math.floor(((this.#ackWaitMs / 3) * this.#concurrency) / Math.max(averageMs, 0.01));
      target = Math.min(Math.floor(perSlot * this.#concurrency), withinLease, this.#most);
    }
    this.current = target;
    return this.current;
  }
}
