const MIN_PRUNE = 256;

/** Counts moments that have not come yet. Those that have are dropped as new ones are added, so nothing piles up. */
export class DueTimes {
  #times: number[] = [];
  #pruneAt = MIN_PRUNE;

  /** Entries kept: at most twice the moments that are still to come, or a few hundred. */
  get size(): number {
    return this.#times.length;
  }

  add(dueAt: number, now: number): void {
    this.#times.push(dueAt);
    if (this.#times.length < this.#pruneAt) return;
    this.#prune(now);
    this.#pruneAt = Math.max(MIN_PRUNE, 2 * this.#times.length);
  }

  count(now: number): number {
    this.#prune(now);
    return this.#times.length;
  }

  #prune(now: number): void {
    this.#times = this.#times.filter((dueAt) => dueAt > now);
  }
}
