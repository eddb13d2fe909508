import type { Batcher } from './batcher.ts';
import type { Timer } from '../clock.ts';
import type { Delivery } from '../process/delivery.ts';
import { Fifo } from './fifo.ts';
import { MessageBuffer } from './buffer.ts';
import type { Run } from '../process/run.ts';

export type Items<T> = readonly [Delivery<T>, ...Delivery<T>[]];

/** A closed batch waiting for a slot. */
export interface ReadyBatch<T> {
  readonly items: Items<T>;
  readonly closedBy: 'size' | 'bytes' | 'time' | 'demand' | 'drain';
  readonly waitedMs: number;
  readonly bytes: number;
}

/** Everything a pipeline holds and runs at this moment, and the counts that follow from it. */
export class InFlight<T, D> {
  readonly buffer: MessageBuffer<T>;
  readonly runs = new Set<Run<T, D>>();
  readonly batches = new Fifo<ReadyBatch<T>>();
  /** Ordered messages waiting here for their retry, with the timer that brings them back. */
  readonly retryingHere = new Map<Delivery<T>, Timer>();
  batcher: Batcher<T, Delivery<T>> | undefined;
  /** Handlers given up on that have not returned, and the messages they were given. */
  hungHandlers = 0;
  hungMessages = 0;
  /** Messages being admitted, which may need a round trip to the idempotency store. */
  admitting = 0;
  /** When messages that were nak'ed with a delay are due again. */
  #awayUntil: number[] = [];
  #idleWaiters: (() => void)[] = [];

  constructor(weights: readonly number[]) {
    this.buffer = new MessageBuffer<T>(weights);
  }

  /** Places taken: messages held, and those a hung handler still works on. */
  get held(): number {
    return this.buffer.heldCount() + this.hungMessages;
  }
  /** Slots taken. */
  get slots(): number {
    return this.runs.size + this.admitting;
  }
  /** Slots taken by messages of one source; a message being admitted may be of any source. */
  slotsOf(source: number): number {
    let count = this.admitting;
    for (const run of this.runs) if (run.deliveries[0].source === source) count += 1;
    return count;
  }
  /** Nothing runs that is going to end by itself. */
  get idle(): boolean {
    return this.runs.size - this.hungHandlers + this.admitting === 0 && this.batches.size === 0;
  }
  /** Messages in handlers, hungHandlers not counted. */
  get inHandlers(): number {
    let count = 0;
    for (const run of this.runs) if (run.phase !== 'hung') count += run.deliveries.length;
    return count;
  }

  sentAway(dueAt: number): void {
    this.#awayUntil.push(dueAt);
  }

  /** Messages that wait for their retry. */
  parked(now: number): number {
    this.#awayUntil = this.#awayUntil.filter((dueAt) => dueAt > now);
    return this.#awayUntil.length + this.retryingHere.size;
  }

  /** Resolves when no handler runs any more. */
  whenIdle(): Promise<void> {
    if (this.idle) return Promise.resolve();
    return new Promise((resolve) => {
      this.#idleWaiters.push(resolve);
    });
  }

  /** Wakes who waits for idleness, if it is reached; with `always`, also if it never will be. */
  wakeIdle(always = false): void {
    if (!always && !this.idle) return;
    for (const wake of this.#idleWaiters.splice(0)) wake();
  }

  /** Takes out everything that has not started. */
  takeWaiting(): Delivery<T>[] {
    const retrying = [...this.retryingHere.keys()];
    this.cancelRetries();
    return [...this.buffer.takeWaiting(), ...retrying, ...(this.batcher?.takeAll() ?? [])];
  }

  cancelRetries(): void {
    for (const timer of this.retryingHere.values()) timer.cancel();
    this.retryingHere.clear();
  }
}
