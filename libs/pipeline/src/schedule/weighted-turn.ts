/**
 * Smooth weighted round robin: over time each source gets turns in proportion to its weight, evenly spread, and a
 * source with work is never passed over for good.
 */
export class WeightedTurn {
  readonly #weights: readonly number[];
  readonly #credit: number[];

  constructor(weights: readonly number[]) {
    this.#weights = weights;
    this.#credit = weights.map(() => 0);
  }

  /** Whose turn it is among those that `may` take one; -1 when none may. */
  next(may: (index: number) => boolean): number {
    if (this.#weights.length === 1) return may(0) ? 0 : -1;
    let best = -1;
    let total = 0;
    for (const [index, weight] of this.#weights.entries()) {
      if (!may(index)) continue;
      total += weight;
      const credit = (this.#credit[index] ?? 0) + weight;
      this.#credit[index] = credit;
      if (best < 0 || credit > (this.#credit[best] ?? 0)) best = index;
    }
    if (best >= 0) this.#credit[best] = (this.#credit[best] ?? 0) - total;
    return best;
  }
}
