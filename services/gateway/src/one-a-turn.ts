import { AsyncResource } from 'node:async_hooks';

/**
 * Runs one piece of work in each turn of the event loop, in the order of asking. What arrives on several connections at
 * once is otherwise done in one turn, and every other request waits for all of it.
 */
export class OneATurn {
  readonly #waiting: (() => void)[] = [];
  readonly #restsBehind: number;

  /** With more than `restsBehind` pieces waiting it rests a millisecond after each: a turn for each is too much of the loop. */
  constructor({ restsBehind = Number.POSITIVE_INFINITY } = {}) {
    this.#restsBehind = restsBehind;
  }

  run(work: () => void): void {
    // What is active of a request, its span for one, is not what is active in the turn.
    this.#waiting.push(AsyncResource.bind(work));
    if (this.#waiting.length === 1) setImmediate(this.#next);
  }

  readonly #next = (): void => {
    try {
      this.#waiting[0]?.();
    } finally {
      this.#waiting.shift();
      if (this.#waiting.length > this.#restsBehind) setTimeout(this.#next, 1);
      else if (this.#waiting.length > 0) setImmediate(this.#next);
    }
  };
}
