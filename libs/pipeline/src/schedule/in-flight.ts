import type { Batcher } from './batcher.ts';
import type { Delivery } from '../process/delivery.ts';
import { DueTimes } from './due-times.ts';
import { Fifo } from './fifo.ts';
import { MessageBuffer } from './buffer.ts';
import type { ReadyQueue } from './buffer.ts';
import type { Run } from '../process/run.ts';
import { Waits } from './waits.ts';

export type Items<T> = readonly [Delivery<T>, ...Delivery<T>[]];

const NONE: ReadonlySet<string> = new Set();

/** A message that has not started, and how long it is to stay away when it is released. */
export interface Waiting<T> {
  readonly delivery: Delivery<T>;
  readonly delayMs: number | undefined;
}

/** A closed batch waiting for a slot. */
export interface ReadyBatch<T> {
  readonly items: Items<T>;
  readonly closedBy: 'size' | 'bytes' | 'time' | 'demand' | 'drain';
  readonly waitedMs: number;
  readonly bytes: number;
}

const idOf = ({ source, sequence, storedAtMs }: Delivery<unknown>): string => `${source}:${sequence}:${storedAtMs}`;

/** Everything a pipeline holds and runs at this moment, and the counts that follow from it. */
export class InFlight<T, D> {
  readonly buffer: MessageBuffer<T>;
  readonly runs = new Set<Run<T, D>>();
  readonly batches = new Fifo<ReadyBatch<T>>();
  readonly waits = new Waits<T>();
  /** Messages of partitions that are being taken over: they start when the older ones are here too. */
  readonly takingOver = new Set<Delivery<T>>();
  batcher: Batcher<T, Delivery<T>> | undefined;
  /** Handlers given up on that have not returned, and the messages they were given. */
  hungHandlers = 0;
  hungMessages = 0;
  /** Messages being admitted, which may need a round trip to the idempotency store. */
  admitting = 0;
  /** When messages that were nak'ed with a delay are due again. */
  readonly naked = new DueTimes();
  /** Messages that are being set aside because of a limit. */
  settingAside = 0;
  /** Slots there are. */
  concurrency: number;
  #idleWaiters: (() => void)[] = [];
  /** Messages with a key that a pause sent back while they waited, and when they are due. */
  readonly #putOff = new Map<string, number>();

  constructor(weights: readonly number[], concurrency: number, queues?: readonly ReadyQueue<Delivery<T>>[]) {
    this.concurrency = concurrency;
    this.buffer = new MessageBuffer<T>(weights, queues);
  }

  /** Places taken: messages held that were not put off, and those a hung handler still works on. */
  get held(): number {
    return this.buffer.heldCount() + this.hungMessages - this.waits.snoozed;
  }
  /** Places taken by messages of one source. */
  heldOf(source: number): number {
    return this.buffer.heldOf(source) - this.waits.snoozedOf(source);
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
    return this.runs.size - this.hungHandlers + this.admitting + this.settingAside === 0 && this.batches.size === 0;
  }
  /** Messages in handlers, hungHandlers not counted. */
  get inHandlers(): number {
    let count = 0;
    for (const run of this.runs) if (run.phase !== 'hung') count += run.deliveries.length;
    return count;
  }

  /** The run that has the message. */
  runOf(delivery: Delivery<T>): Run<T, D> | undefined {
    for (const run of this.runs) if (run.deliveries.includes(delivery)) return run;
    return undefined;
  }

  /** Messages that wait for their retry. */
  parked(now: number): number {
    return this.naked.count(now) + this.waits.size;
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

  /**
   * Takes out everything that has not started, in stream order. What was put off keeps the rest of its time, and what is behind
   * it in its key gets the same. With `comesBack`, what has a key is sent back without a delay, and waits here again when it
   * has come: meanwhile the server would deliver others of the key, and those it sends first.
   */
  takeWaiting(now: number, { keep = NONE, comesBack = false } = {}): readonly Waiting<T>[] {
    const delays = new Map<string, number>();
    const waiting: Waiting<T>[] = [];
    if (comesBack) for (const [id, dueAt] of this.#putOff) if (dueAt <= now) this.#putOff.delete(id);
    for (const [delivery, { dueAt, snoozed }] of this.waits) {
      const delayMs = Math.max(1, Math.round(dueAt - now));
      if (delivery.key === undefined) waiting.push({ delivery, delayMs: snoozed ? delayMs : undefined });
      else if (comesBack) {
        this.#putOff.set(idOf(delivery), dueAt);
        waiting.push({ delivery, delayMs: undefined });
      } else {
        delays.set(delivery.key, delayMs);
        waiting.push({ delivery, delayMs });
      }
    }
    this.waits.endAll();
    const { ready, behind } = this.buffer.takeWaiting(keep);
    for (const delivery of behind) {
      waiting.push({ delivery, delayMs: delivery.key === undefined ? undefined : delays.get(delivery.key) });
      // Removing it must not let another one start beside the message in front of its key.
      delivery.key = undefined;
    }
    for (const delivery of [...ready, ...this.takingOver, ...(this.batcher?.takeAll() ?? [])])
      waiting.push({ delivery, delayMs: undefined });
    this.takingOver.clear();
    return waiting.toSorted((a, b) => a.delivery.sequence - b.delivery.sequence);
  }

  /** How long a message that `takeWaiting` took out is still to wait, now that it is back; undefined for any other. */
  takeRestOfWait(delivery: Delivery<T>, now: number): number | undefined {
    if (this.#putOff.size === 0) return undefined;
    const id = idOf(delivery);
    const dueAt = this.#putOff.get(id);
    this.#putOff.delete(id);
    return dueAt === undefined || dueAt <= now ? undefined : dueAt - now;
  }

  /** As `takeWaiting`, for one source and without delays: the next reader of a partition takes all of it at once. */
  takeWaitingOf(source: number): readonly Delivery<T>[] {
    const { ready, behind } = this.buffer.takeWaitingOf(source);
    // Removing it must not let another one start beside the message in front of its key.
    for (const delivery of behind) delivery.key = undefined;
    const here: Delivery<T>[] = [];
    for (const [delivery] of this.waits) if (delivery.source === source) here.push(delivery);
    for (const delivery of here) this.waits.end(delivery);
    return [...ready, ...behind, ...here].toSorted((a, b) => a.sequence - b.sequence);
  }

  /** A message is no longer this process's to settle: its handler, if it runs, goes on. */
  outdate(delivery: Delivery<T>): void {
    delivery.outdated = true;
    delivery.hung = delivery.phase === 'running';
    this.waits.end(delivery);
    this.takingOver.delete(delivery);
    this.buffer.remove(delivery);
  }

  /** Keys a handler is working on. */
  runningKeys(): ReadonlySet<string> {
    const keys = new Set<string>();
    for (const { deliveries } of this.runs) if (deliveries[0].key !== undefined) keys.add(deliveries[0].key);
    return keys;
  }
}
