import type { Clock } from './clock.ts';
import type { Observer } from './events.ts';
import type { Condition, ConditionCode } from './running.ts';

const EVERY_MS = 1000;

/** Tells once when something begins to hold a pipeline up, and once when it is over. */
export class ConditionEvents {
  readonly #pipeline: string;
  readonly #clock: Clock;
  readonly #observe: Observer | undefined;
  #known: ReadonlySet<ConditionCode> = new Set();
  #comparedAt: number;

  constructor(pipeline: string, clock: Clock, observe: Observer | undefined) {
    this.#pipeline = pipeline;
    this.#clock = clock;
    this.#observe = observe;
    this.#comparedAt = clock.now();
  }

  /** Called often; looks once a second. */
  compare(conditions: readonly Condition[]): void {
    const now = this.#clock.now();
    if (this.#observe === undefined || now - this.#comparedAt < EVERY_MS) return;
    this.#comparedAt = now;
    const codes = new Set(conditions.map(({ code }) => code));
    for (const condition of conditions)
      if (!this.#known.has(condition.code))
        this.#observe({ type: 'condition.began', pipeline: this.#pipeline, condition });
    for (const code of this.#known)
      if (!codes.has(code)) this.#observe({ type: 'condition.ended', pipeline: this.#pipeline, code });
    this.#known = codes;
  }
}
