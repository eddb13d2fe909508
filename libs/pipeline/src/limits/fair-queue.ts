import { Fifo } from '../schedule/fifo.ts';

/** What is in a fair queue. */
export interface Queued {
  readonly limitKey: string | undefined;
  readonly phase: 'waiting' | 'running' | 'settled';
}

/** How many messages of a key wait. */
export interface QueueOfKey {
  readonly key: string | undefined;
  readonly size: number;
}

/** Who may leave a fair queue. */
export interface FairQueueRules<I> {
  /** Whether the first of a key may start now. */
  may(item: I): boolean;
  /** It starts: what it needs is taken. */
  starts(item: I): void;
  /** So many of a key wait here more, or fewer. */
  waiting(key: string | undefined, change: number): void;
}

/**
 * Messages that may start, one queue for each key. Keys take turns, so that one with a long queue does not hold up the
 * others, and a key whose limit is reached is passed over.
 */
export class FairQueue<I extends Queued> {
  /** In the order of their turns: a key that had one goes to the end. */
  readonly #queues = new Map<string | undefined, Fifo<I>>();
  readonly #rules: FairQueueRules<I>;
  #size = 0;

  constructor(rules: FairQueueRules<I>) {
    this.#rules = rules;
  }

  get size(): number {
    return this.#size;
  }

  /** Keys with messages. */
  get keys(): number {
    return this.#queues.size;
  }

  /** Whether one of them may start. */
  get startable(): boolean {
    return this.#next() !== undefined;
  }

  add(item: I): void {
    let queue = this.#queues.get(item.limitKey);
    if (queue === undefined) {
      queue = new Fifo();
      this.#queues.set(item.limitKey, queue);
    }
    queue.add(item);
    this.#count(item.limitKey, 1);
  }

  /** The next that may start. */
  take(): I | undefined {
    const found = this.#next();
    if (found === undefined) return undefined;
    const { key, queue } = found;
    const item = queue.take();
    this.#queues.delete(key);
    if (queue.size > 0) this.#queues.set(key, queue);
    this.#count(key, -1);
    if (item !== undefined) this.#rules.starts(item);
    return item;
  }

  /** How many of its key are in front of one; -1 when it is not here. */
  indexOf(item: I): number {
    return this.#queues.get(item.limitKey)?.indexOf(item) ?? -1;
  }

  takeAll(): I[] {
    const all = [...this.#queues.entries()].flatMap(([key, queue]) => {
      this.#count(key, -queue.size);
      return queue.takeAll();
    });
    this.#queues.clear();
    return all;
  }

  /** The key with most messages, those that `more` knows of included; one with a single message here if all are such. */
  longest(more: (key: string | undefined) => number): QueueOfKey | undefined {
    let longest: QueueOfKey | undefined;
    let most = 0;
    for (const [key, { size }] of this.#queues) {
      const count = size + more(key);
      if (longest !== undefined && (longest.size > 1 ? size <= 1 || count <= most : size <= 1 && count <= most))
        continue;
      most = count;
      longest = { key, size };
    }
    return longest;
  }

  /** Takes out the newest of a key. */
  takeNewest(key: string | undefined): I | undefined {
    const queue = this.#queues.get(key);
    const item = queue?.takeLast();
    if (item === undefined) return undefined;
    if (queue?.size === 0) this.#queues.delete(key);
    this.#count(key, -1);
    return item;
  }

  #next(): { readonly key: string | undefined; readonly queue: Fifo<I> } | undefined {
    for (const [key, queue] of this.#queues) {
      // What was settled while it waited must not be in the way.
      while (queue.peek()?.phase === 'settled') {
        queue.take();
        this.#count(key, -1);
      }
      const first = queue.peek();
      if (first === undefined) this.#queues.delete(key);
      else if (this.#rules.may(first)) return { key, queue };
    }
    return undefined;
  }

  #count(key: string | undefined, change: number): void {
    this.#size += change;
    this.#rules.waiting(key, change);
  }
}
