/**
 * Runs what is asked for under one key one after the other, in the order of asking; what one throws holds up no other.
 * An entry lasts as long as something of its key is running or waits.
 */
export class InTurn {
  readonly #last = new Map<string, Promise<unknown>>();

  async run<R>(key: string, work: () => Promise<R>): Promise<R> {
    const before = this.#last.get(key);
    const mine = before === undefined ? work() : before.then(work);
    const ended = mine.catch(() => undefined);
    this.#last.set(key, ended);
    try {
      return await mine;
    } finally {
      if (this.#last.get(key) === ended) this.#last.delete(key);
    }
  }
}
