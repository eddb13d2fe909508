import type { ResolvedRate } from '../config/resolve-spec.ts';

/** A token bucket over a clock that is handed in. */
export class TokenBucket {
  readonly #perMs: number;
  readonly #size: number;
  #tokens: number;
  #at: number;

  constructor({ limit, perMs, burst }: ResolvedRate, now: number) {
    this.#perMs = limit / perMs;
    this.#size = Math.max(1, burst ?? limit);
    this.#tokens = this.#size;
    this.#at = now;
  }

  /** Whole tokens there are. */
  available(now: number): number {
    this.#tokens = Math.min(this.#size, this.#tokens + Math.max(0, now - this.#at) * this.#perMs);
    this.#at = now;
    return Math.floor(this.#tokens + 1e-9);
  }

  /** Takes a token if there is one. */
  take(now: number): boolean {
    if (this.available(now) < 1) return false;
    this.#tokens -= 1;
    return true;
  }

  /** Time until the next whole token; 0 when there is one. */
  waitMs(now: number): number {
    return this.available(now) >= 1 ? 0 : Math.max(1, Math.ceil((1 - this.#tokens) / this.#perMs));
  }
}
