/** How often something is looked at: at every turn while it moves, at every fourth once it has not for a while. */
export class Pace {
  readonly #quietAfterMs: number;
  readonly #now: () => number;
  #movedAt: number;
  #passed = 0;

  /** `now` gives milliseconds that only grow. */
  constructor(quietAfterMs: number, now: () => number = () => performance.now()) {
    this.#quietAfterMs = quietAfterMs;
    this.#now = now;
    this.#movedAt = now();
  }

  /** Something moved, or is about to. */
  moved(): void {
    this.#movedAt = this.#now();
  }

  /** Asked once a turn. */
  isDue(): boolean {
    const isQuiet = this.#now() - this.#movedAt > this.#quietAfterMs;
    this.#passed = isQuiet ? (this.#passed + 1) % QUIET_TURNS : 0;
    return this.#passed === 0;
  }
}

const QUIET_TURNS = 4;
