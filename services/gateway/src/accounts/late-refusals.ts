import { setTimeout as sleep } from 'node:timers/promises';

export interface LateRefusalLimits {
  /** Refusals of one caller that are answered at once, in a window. */
  readonly prompt: number;
  /** Of one caller that wait at the same time. One more is answered at once. */
  readonly held: number;
  readonly windowMs: number;
}

export const defaultLateRefusals: LateRefusalLimits = { prompt: 20, held: 100, windowMs: 1_000 };

/** Between two that wait: answered together they would take a turn of the event loop, and all who asked ask again at once. */
const APART_MS = 5;

interface Refused {
  inWindow: number;
  held: number;
}

/**
 * Answers those late who go on after they were refused: a refusal costs the server half a millisecond, and one that is
 * answered at once is followed by the next request at once.
 *
 *     prompt -> held    more than `prompt` refusals within the window
 *     held   -> prompt  with the next window
 */
export class LateRefusals {
  readonly #limits: LateRefusalLimits;
  readonly #now: () => number;
  /** Only of callers that were refused in this window, or wait. */
  readonly #refused = new Map<string, Refused>();
  #window = 0;

  /** `now` gives milliseconds that only grow. */
  constructor(limits: LateRefusalLimits = defaultLateRefusals, now: () => number = () => performance.now()) {
    this.#limits = limits;
    this.#now = now;
  }

  /** To be waited for before a refusal is answered; undefined when it is to be answered at once. */
  hold(who: string): Promise<void> | undefined {
    const { prompt, held, windowMs } = this.#limits;
    const nowMs = this.#now();
    const window = Math.floor(nowMs / windowMs);
    if (window !== this.#window) this.#begin(window);
    const mine = this.#refused.get(who) ?? { inWindow: 0, held: 0 };
    this.#refused.set(who, mine);
    mine.inWindow += 1;
    if (mine.inWindow <= prompt || mine.held >= held) return undefined;
    const untilNextMs = (window + 1) * windowMs - nowMs;
    const wait = sleep(untilNextMs + mine.held * APART_MS);
    mine.held += 1;
    return wait.then(() => {
      mine.held -= 1;
    });
  }

  #begin(window: number): void {
    this.#window = window;
    for (const [who, mine] of this.#refused) {
      mine.inWindow = 0;
      if (mine.held === 0) this.#refused.delete(who);
    }
  }
}
