import type { breakerFields } from '../config/options.ts';
import type { Resolved } from '../config/schema.ts';

/**
 * A kill switch over the last `minSamples` results.
 *
 * - `closed`: results are counted; enough failures lead to `open`.
 * - `open`: nothing is pulled or started. The cool-down leads to `probing`.
 * - `probing`: one message at a time is tried. A success leads to `closed`, a failure back to `open`.
 *
 * It stops the work instead of failing it fast, which would only burn the messages' deliveries.
 */
export class Breaker {
  phase: 'closed' | 'open' | 'probing' = 'closed';
  readonly #options: Resolved<typeof breakerFields>;
  readonly #results: boolean[] = [];
  #next = 0;
  #failures = 0;
  #probingSince = 0;

  constructor(options: Resolved<typeof breakerFields>) {
    this.#options = options;
  }

  get coolDownMs(): number {
    return this.#options.coolDownMs;
  }
  get samples(): number {
    return this.#results.length;
  }
  get failures(): number {
    return this.#failures;
  }

  /** Whether this failure says something about the dependency. */
  counts(error: unknown): boolean {
    try {
      return this.#options.counts?.(error) ?? true;
    } catch {
      return true;
    }
  }

  /**
   * Takes one result of a run that began at `startedAt`; says what has to happen. A run that began before the probe says
   * nothing about the dependency as it is now.
   */
  record(failed: boolean, startedAt = Number.POSITIVE_INFINITY): 'trip' | 'close' | undefined {
    if (this.phase === 'open' || (this.phase === 'probing' && startedAt < this.#probingSince)) return undefined;
    if (this.phase === 'probing') {
      if (failed) {
        this.phase = 'open';
        return 'trip';
      }
      this.phase = 'closed';
      this.#clear();
      return 'close';
    }
    const { minSamples, failureRatio } = this.#options;
    if (this.#results.length < minSamples) this.#results.push(failed);
    else {
      if (this.#results[this.#next] === true) this.#failures--;
      this.#results[this.#next] = failed;
      this.#next = (this.#next + 1) % minSamples;
    }
    if (failed) this.#failures++;
    if (this.#results.length < minSamples || this.#failures < failureRatio * minSamples) return undefined;
    this.phase = 'open';
    return 'trip';
  }

  /** The cool-down is over. */
  probe(now = 0): void {
    if (this.phase !== 'open') return;
    this.phase = 'probing';
    this.#probingSince = now;
  }

  #clear(): void {
    this.#results.length = 0;
    this.#next = 0;
    this.#failures = 0;
  }
}
