import { Fifo } from './fifo.ts';

/**
 * Keyed lanes: of the messages with one key only one is out at a time, the others wait in stream order. Messages with
 * different keys do not wait for each other (a partition by hash would let one slow key stall its neighbours).
 */
export class Lanes<T> {
  readonly #lanes = new Map<string, Fifo<T>>();
  #waiting = 0;

  /** Messages waiting behind another one of their key. */
  get waiting(): number {
    return this.#waiting;
  }

  /** True: the lane was free and is this message's now. False: it waits. */
  enter(key: string, item: T): boolean {
    const lane = this.#lanes.get(key);
    if (lane === undefined) {
      this.#lanes.set(key, new Fifo());
      return true;
    }
    lane.add(item);
    this.#waiting++;
    return false;
  }

  /** The message in front is through: returns the next of its key, which has the lane now. */
  leave(key: string): T | undefined {
    const lane = this.#lanes.get(key);
    const next = lane?.take();
    if (next === undefined) this.#lanes.delete(key);
    else this.#waiting--;
    return next;
  }

  /** Empties all lanes; returns what was waiting. */
  takeWaiting(): T[] {
    const waiting = [...this.#lanes.values()].flatMap((lane) => lane.takeAll());
    this.#waiting = 0;
    return waiting;
  }
}
