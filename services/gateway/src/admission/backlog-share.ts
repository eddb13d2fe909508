import type { JobKindName, Lane } from '@sluice/contracts';
import { GatewayError } from '../errors.ts';
import type { BackpressureLimiter } from './backpressure.ts';

/** How many jobs of an account are in each state, of one kind: what the read model counts. */
export type CountJobs = (account: string, kind: JobKindName) => Promise<Readonly<Record<string, number>>>;

/** A count is as old as this at most: the read model is some ten milliseconds behind anyway. */
const COUNTED_FOR_MS = 500;
/** Accounts whose count is remembered. */
const REMEMBERED = 2_000;
const OPEN = ['accepted', 'queued', 'running'];

interface Counted {
  readonly atMs: number;
  /** As counted then, and let in since; undefined when it could not be counted. Shared by requests that come at once. */
  readonly result: Promise<{ open: number } | undefined>;
}

/**
 * Leaves room in the backlog of a kind of work to accounts that have little of it. An account may have no more jobs open
 * than what is still free, so one account alone gets half of the backlog, two get a third each, and there is always room for the next one.
 */
export class BacklogShare {
  readonly #backpressure: BackpressureLimiter;
  readonly #now: () => number;
  readonly #counted = new Map<string, Counted>();
  #count: CountJobs | undefined;

  constructor(backpressure: BackpressureLimiter, now: () => number) {
    this.#backpressure = backpressure;
    this.#now = now;
  }

  /** Where jobs are counted. Without it, as in a process without a read model, no account is refused. */
  countWith(count: CountJobs): void {
    this.#count = count;
  }

  /**
   * Refuses a job of an account that has its share already.
   *
   * @throws {GatewayError} `overloaded`.
   */
  async check(account: string, kind: JobKindName, lane: Lane): Promise<void> {
    const room = this.#backpressure.roomIn(lane);
    // Below a half no account can have more than is free: nothing is counted then.
    if (this.#count === undefined || room.free > room.total / 2) return;
    const counted = await this.#openOf(this.#count, account, kind);
    if (counted === undefined) return;
    if (counted.open + 1 > this.#backpressure.roomIn(lane).free - 1) {
      throw new GatewayError(
        'overloaded',
        `${counted.open} jobs of this account are open: no more of this kind until some have ended, to leave room to others.`,
        { retryAfterSeconds: 10 },
      );
    }
    counted.open += 1;
  }

  #openOf(count: CountJobs, account: string, kind: JobKindName): Counted['result'] {
    const key = `${kind} ${account}`;
    const known = this.#counted.get(key);
    if (known !== undefined && this.#now() - known.atMs < COUNTED_FOR_MS) return known.result;
    const result = count(account, kind).then(
      (states) => ({ open: OPEN.reduce((sum, state) => sum + (states[state] ?? 0), 0) }),
      // A history that cannot answer must not keep jobs from being taken.
      () => undefined,
    );
    if (this.#counted.size >= REMEMBERED) this.#counted.clear();
    this.#counted.set(key, { atMs: this.#now(), result });
    return result;
  }
}
