import { Fifo } from './fifo.ts';

/**
 * One queue per key: of the messages with one key one is processed at a time, the others wait in stream order. Messages with
 * different keys do not wait for each other (a partition by hash would let one slow key stall its neighbours).
 */
export class KeyOrder<T> {
  readonly #queues = new Map<string, Fifo<T>>();
  #waiting = 0;

  /** Messages waiting behind another one of their key. */
  get waiting(): number {
    return this.#waiting;
  }

  /** True: no other message of the key is held, this one may start. False: it waits. */
  enter(key: string, item: T): boolean {
    const lane = this.#queues.get(key);
    if (lane === undefined) {
      this.#queues.set(key, new Fifo());
      return true;
    }
    lane.add(item);
    this.#waiting++;
    return false;
  }

  /** The message in front is settled: returns the next of its key, which may start. */
  leave(key: string): T | undefined {
    const lane = this.#queues.get(key);
    const next = lane?.take();
    if (next === undefined) this.#queues.delete(key);
    else this.#waiting--;
    return next;
  }

  /** How many messages of its key are in front of one, the one that is processed included; 0 for that one. */
  ahead(key: string, item: T): number {
    return (this.#queues.get(key)?.indexOf(item) ?? -1) + 1;
  }

  /** Takes some of what waits out of the queues of all keys. */
  takeWaitingThat(wanted: (item: T) => boolean): T[] {
    const taken: T[] = [];
    for (const queue of this.#queues.values()) {
      const items = queue.takeAll();
      for (const item of items) {
        if (wanted(item)) taken.push(item);
        else queue.add(item);
      }
    }
    this.#waiting -= taken.length;
    return taken;
  }

  /** Empties the queues of all keys but some; returns what was waiting. */
  takeWaiting(keep: ReadonlySet<string>): T[] {
    const taken: T[] = [];
    for (const [key, queue] of this.#queues) if (!keep.has(key)) taken.push(...queue.takeAll());
    this.#waiting -= taken.length;
    return taken;
  }
}
