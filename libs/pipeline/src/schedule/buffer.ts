import type { Delivery } from '../process/delivery.ts';
import { Fifo } from './fifo.ts';
import { KeyOrder } from './key-order.ts';
import { WeightedTurn } from './weighted-turn.ts';

/** Messages of one source that are ready: in their order, or by keys that take turns. */
export interface ReadyQueue<I> {
  readonly size: number;
  /** Whether one may be taken. */
  readonly startable: boolean;
  add(item: I): void;
  take(): I | undefined;
  indexOf(item: I): number;
  takeAll(): I[];
}

/**
 * Every message this process holds, and which of them may start next: one queue per source, order per
 * key across them, turns by weight.
 */
export class MessageBuffer<T> {
  readonly keyOrder = new KeyOrder<Delivery<T>>();
  readonly #held: readonly Map<number, Delivery<T>>[];
  readonly #ready: readonly ReadyQueue<Delivery<T>>[];
  readonly #turn: WeightedTurn;

  constructor(weights: readonly number[], queues?: readonly ReadyQueue<Delivery<T>>[]) {
    this.#held = weights.map(() => new Map<number, Delivery<T>>());
    this.#ready = queues ?? weights.map(() => new Fifo<Delivery<T>>());
    this.#turn = new WeightedTurn(weights);
  }

  /** Ready to start. */
  get ready(): number {
    let count = 0;
    for (const { size } of this.#ready) count += size;
    return count;
  }

  find(source: number, sequence: number): Delivery<T> | undefined {
    return this.#held[source]?.get(sequence);
  }

  *held(): Generator<Delivery<T>> {
    for (const bySequence of this.#held) yield* bySequence.values();
  }

  heldCount(): number {
    return this.#held.reduce((sum, bySequence) => sum + bySequence.size, 0);
  }

  heldOf(source: number): number {
    return this.#held[source]?.size ?? 0;
  }

  /** Takes a message in; behind another of its key it waits, otherwise it is ready. */
  add(delivery: Delivery<T>): void {
    if (this.enter(delivery)) this.queue(delivery);
  }

  /** Takes a message in without making it ready; false when another of its key is in front of it. */
  enter(delivery: Delivery<T>): boolean {
    this.#held[delivery.source]?.set(delivery.sequence, delivery);
    return delivery.key === undefined || this.keyOrder.enter(delivery.key, delivery);
  }

  /** Holds a message that is not to start yet; `add` lets it. */
  keep(delivery: Delivery<T>): void {
    this.#held[delivery.source]?.set(delivery.sequence, delivery);
  }

  /** Makes a held message ready (again). */
  queue(delivery: Delivery<T>): void {
    this.#ready[delivery.source]?.add(delivery);
  }

  /** How many messages of its source start before one that is ready; 0 for one that is not in the queue. */
  ahead(delivery: Delivery<T>): number {
    return Math.max(0, this.#ready[delivery.source]?.indexOf(delivery) ?? 0);
  }

  /** Whether a source has a message that may start. */
  readyOf(source: number): boolean {
    return this.#ready[source]?.startable === true;
  }

  /** Whether a message of the sources that may can start. */
  canTake(may: (source: number) => boolean = () => true): boolean {
    return this.#ready.some((queue, source) => queue.startable && may(source));
  }

  /** The message that may start next, by weight of its source, of the sources that may. */
  take(may: (source: number) => boolean = () => true): Delivery<T> | undefined {
    const [only, another] = this.#ready;
    // Whether one may start is asked once: behind limits that costs more than taking it.
    if (another === undefined) return may(0) ? only?.take() : undefined;
    const index = this.#turn.next((source) => this.readyOf(source) && may(source));
    return this.#ready[index]?.take();
  }

  /** Forgets a settled message; the next of its key becomes ready. */
  remove(delivery: Delivery<T>): void {
    delivery.phase = 'settled';
    const held = this.#held[delivery.source];
    if (held?.get(delivery.sequence) === delivery) held.delete(delivery.sequence);
    // While its handler runs on, no other message of the key may.
    if (!delivery.hung) this.freeKey(delivery);
  }

  /** The next message of the key becomes ready. */
  freeKey({ key }: Delivery<T>): void {
    if (key === undefined) return;
    const next = this.keyOrder.leave(key);
    if (next !== undefined) this.queue(next);
  }

  /** Takes what has not started of one source out of its queues. */
  takeWaitingOf(source: number): { readonly ready: Delivery<T>[]; readonly behind: Delivery<T>[] } {
    const behind = this.keyOrder.takeWaitingThat((delivery) => delivery.source === source);
    const ready = this.#ready[source]?.takeAll() ?? [];
    return { ready, behind };
  }

  /** Takes everything that has not started out of all queues, in no particular order. */
  takeWaiting(keep: ReadonlySet<string>): { readonly ready: Delivery<T>[]; readonly behind: Delivery<T>[] } {
    const behind = this.keyOrder.takeWaiting(keep);
    const ready = this.#ready.flatMap((queue) => queue.takeAll());
    return { ready, behind };
  }
}
