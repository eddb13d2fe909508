/** A queue with constant-time take: `Array.shift` moves every element once the array is long. */
export class Fifo<T> {
  #items: T[] = [];
  #head = 0;

  get size(): number {
    return this.#items.length - this.#head;
  }
  /** Whether one may be taken. */
  get startable(): boolean {
    return this.size > 0;
  }
  peek(): T | undefined {
    return this.#items[this.#head];
  }
  /** How many are in front of an item; -1 when it is not here. */
  indexOf(item: T): number {
    const at = this.#items.indexOf(item, this.#head);
    return at < 0 ? -1 : at - this.#head;
  }
  add(item: T): void {
    this.#items.push(item);
  }
  take(): T | undefined {
    const item = this.#items[this.#head];
    if (item === undefined) return undefined;
    this.#head++;
    if (this.#head === this.#items.length) {
      this.#items = [];
      this.#head = 0;
    } else if (this.#head > 1024 && this.#head * 2 > this.#items.length) {
      this.#items = this.#items.slice(this.#head);
      this.#head = 0;
    }
    return item;
  }
  /** Takes the newest. */
  takeLast(): T | undefined {
    if (this.size === 0) return undefined;
    const item = this.#items.pop();
    if (this.size === 0) this.takeAll();
    return item;
  }
  /** Empties the queue and returns what was in it, oldest first. */
  takeAll(): T[] {
    const items = this.#items.slice(this.#head);
    this.#items = [];
    this.#head = 0;
    return items;
  }
}
