import type { Clock, Timer } from '../clock.ts';
import type { BatchOptions } from '../config/spec.ts';
import type { Message } from '../process/message.ts';

/** What a batch is made of. */
export interface Batchable<T> {
  readonly message: Message<T>;
  readonly attempt: number;
  readonly bytes: number;
}

export type ClosedBy = 'size' | 'bytes' | 'time' | 'demand' | 'drain';

interface OpenBatch<I> {
  readonly items: I[];
  readonly openedAt: number;
  bytes: number;
  timer: Timer | undefined;
}

/**
 * Collects messages into batches, one open batch per key; a batch closes by size, bytes or time. A message on its
 * second or later attempt travels alone, so that one item that always fails makes its neighbours fail once at most.
 */
export class Batcher<T, I extends Batchable<T>> {
  readonly #options: Pick<BatchOptions<T>, 'maxSize' | 'maxWaitMs' | 'by'> & { readonly maxBytes: number };
  readonly #clock: Clock;
  readonly #close: (items: readonly [I, ...I[]], by: ClosedBy, waitedMs: number, bytes: number) => void;
  readonly #open = new Map<string, OpenBatch<I>>();
  #waiting = 0;

  constructor(
    options: Pick<BatchOptions<T>, 'maxSize' | 'maxWaitMs' | 'by'> & { readonly maxBytes: number | undefined },
    clock: Clock,
    close: (items: readonly [I, ...I[]], by: ClosedBy, waitedMs: number, bytes: number) => void,
  ) {
    this.#options = { ...options, maxBytes: options.maxBytes ?? Number.POSITIVE_INFINITY };
    this.#clock = clock;
    this.#close = close;
  }

  /** Messages in open batches. */
  get waiting(): number {
    return this.#waiting;
  }

  /** Throws what `by` throws. */
  add(item: I): void {
    if (item.attempt > 1) {
      this.#close([item], 'size', 0, item.bytes);
      return;
    }
    const { maxSize, maxBytes, maxWaitMs, by } = this.#options;
    const key = by?.(item.message) ?? '';
    let batch = this.#open.get(key);
    if (batch !== undefined && batch.bytes + item.bytes > maxBytes) {
      this.#finish(key, 'bytes');
      batch = undefined;
    }
    if (batch === undefined) {
      const opened: OpenBatch<I> = { items: [], openedAt: this.#clock.now(), bytes: 0, timer: undefined };
      opened.timer = this.#clock.after(maxWaitMs, () => this.#finish(key, 'time'));
      this.#open.set(key, opened);
      batch = opened;
    }
    batch.items.push(item);
    batch.bytes += item.bytes;
    this.#waiting++;
    if (batch.items.length >= maxSize) this.#finish(key, 'size');
    else if (batch.bytes >= maxBytes) this.#finish(key, 'bytes');
  }

  /** Closes the batch that has been open longest. */
  closeOldest(by: ClosedBy): void {
    const [key] = this.#open.keys();
    if (key !== undefined) this.#finish(key, by);
  }

  closeAll(by: ClosedBy): void {
    for (const key of this.#open.keys()) this.#finish(key, by);
  }

  /** Empties the open batches without closing them. */
  takeAll(): I[] {
    const items = [...this.#open.values()].flatMap((batch) => batch.items);
    for (const batch of this.#open.values()) batch.timer?.cancel();
    this.#open.clear();
    this.#waiting = 0;
    return items;
  }

  #finish(key: string, by: ClosedBy): void {
    const batch = this.#open.get(key);
    if (batch === undefined) return;
    this.#open.delete(key);
    batch.timer?.cancel();
    this.#waiting -= batch.items.length;
    const [first, ...rest] = batch.items;
    if (first !== undefined) this.#close([first, ...rest], by, this.#clock.now() - batch.openedAt, batch.bytes);
  }
}
