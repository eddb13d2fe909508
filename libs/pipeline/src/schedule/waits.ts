import type { Timer } from '../clock.ts';
import type { Delivery } from '../process/delivery.ts';

/** Until when a message waits; without a timer for as long as a hung handler of its key has not returned. */
export interface Wait {
  readonly timer: Timer | undefined;
  readonly dueAt: number;
  /** Its handler put it off: it takes no place of a message that may run. */
  readonly snoozed: boolean;
}

/** Messages put off that are kept here, and their bytes: what is beyond goes back to the server. */
const MOST_SNOOZED = 500;
const MOST_SNOOZED_BYTES = 16 * 2 ** 20;

/**
 * Messages that wait here to be admitted again: retries of ordered messages, those that the idempotency store fails, and
 * those whose handler put them off.
 */
export class Waits<T> {
  readonly #waits = new Map<Delivery<T>, Wait>();
  #snoozed = 0;
  #snoozedBytes = 0;

  get size(): number {
    return this.#waits.size;
  }

  /** Of them, those that their handler put off. */
  get snoozed(): number {
    return this.#snoozed;
  }

  snoozedOf(source: number): number {
    if (this.#snoozed === 0) return 0;
    let count = 0;
    for (const [delivery, wait] of this.#waits) if (wait.snoozed && delivery.source === source) count++;
    return count;
  }

  /** Whether one more may be put off here. */
  mayKeep({ bytes }: Delivery<T>): boolean {
    return this.#snoozed < MOST_SNOOZED && this.#snoozedBytes + bytes <= MOST_SNOOZED_BYTES;
  }

  get(delivery: Delivery<T>): Wait | undefined {
    return this.#waits.get(delivery);
  }

  set(delivery: Delivery<T>, wait: Wait): void {
    this.end(delivery);
    this.#waits.set(delivery, wait);
    if (wait.snoozed) this.#count(delivery, 1);
  }

  /** It waits no longer. */
  end(delivery: Delivery<T>): void {
    const wait = this.#waits.get(delivery);
    if (wait === undefined) return;
    wait.timer?.cancel();
    this.#waits.delete(delivery);
    if (wait.snoozed) this.#count(delivery, -1);
  }

  endAll(): void {
    for (const delivery of this.#waits.keys()) this.end(delivery);
  }

  [Symbol.iterator](): IterableIterator<[Delivery<T>, Wait]> {
    return this.#waits.entries();
  }

  #count({ bytes }: Delivery<T>, by: 1 | -1): void {
    this.#snoozed += by;
    this.#snoozedBytes += by * bytes;
  }
}
