import type { Usage } from './entry.ts';
import type { Lease, Leases, LeaseUser } from './leases.ts';

/** How much of something: checked and with defaults. */
export interface LimitSize {
  readonly perSecond: number | undefined;
  readonly burst: number | undefined;
  readonly concurrency: number | undefined;
}

/** What a limit has run out of; `lease`: this process holds nothing of it. */
export type Lacking = 'rate' | 'concurrency' | 'lease';

/** Which limit a message waits for. */
export interface WaitsFor {
  readonly limit: 'all' | 'perKey';
  readonly lacks: Lacking;
  /** Until the limit lets the next one start, where that is known. */
  readonly forMs: number;
}

/** Under which limits a message runs. */
export interface Permit {
  readonly perKey: Limit | undefined;
}

/** So many parts a limit has at most; fewer where a part would be less than a slot, or a burst of one. */
const MAX_UNITS = 64;
const IDLE_MS = 1000;
const TURN_MS = 1000;
/** Tokens add up to whole numbers less rounding. */
const WHOLE = 1 - 1e-9;

const burstOf = ({ perSecond = 0, burst }: LimitSize): number => burst ?? Math.max(1, perSecond);

/** How long it takes until the whole burst is there again. */
export const refillMs = (size: LimitSize): number =>
  size.perSecond === undefined ? 0 : (burstOf(size) / size.perSecond) * 1000;

/** Into how many parts a limit can be divided among processes. */
export function unitsOf(size: LimitSize): number {
  const burst = size.perSecond === undefined ? MAX_UNITS : Math.floor(burstOf(size));
  return Math.max(1, Math.min(MAX_UNITS, size.concurrency ?? MAX_UNITS, burst));
}

/** One limit, or what this process may use of it: a token bucket and a number of slots. */
export class Limit implements LeaseUser {
  /** Handlers that run under it. */
  running = 0;
  /** Messages that wait for it here. */
  waiting = 0;
  usedAt: number;
  readonly size: LimitSize;
  readonly #of: number;
  readonly #lease: Lease | undefined;
  readonly #leases: Leases | undefined;
  #units: number;
  #tokens: number;
  #tokensAt: number;
  #unitsAt: number;
  #startsSinceUnits = 0;

  constructor(size: LimitSize, suffix: string, leases: Leases | undefined, now: number) {
    this.size = size;
    this.#of = unitsOf(size);
    this.#leases = leases;
    this.usedAt = this.#tokensAt = this.#unitsAt = now;
    this.#units = leases === undefined ? this.#of : 0;
    this.#tokens = leases === undefined ? burstOf(size) : 0;
    this.#lease = leases?.open(suffix, this.#of, this);
  }

  /** How many may start in a millisecond, about, when a handler takes `averageMs`. */
  startsPerMs(averageMs: number): number {
    const { perSecond, concurrency } = this.size;
    // Without a unit it will have one soon.
    const share = Math.max(1, this.#units) / this.#of;
    return Math.min(
      perSecond === undefined ? Number.POSITIVE_INFINITY : (perSecond / 1000) * share,
      concurrency === undefined ? Number.POSITIVE_INFINITY : (concurrency * share) / averageMs,
    );
  }

  /** What one more start lacks; undefined when it may. */
  lacks(now: number): Lacking | undefined {
    const units = this.#usable(now);
    if (units === 0) return 'lease';
    const { perSecond, concurrency } = this.size;
    if (concurrency !== undefined && this.running >= Math.floor((concurrency * units) / this.#of)) return 'concurrency';
    if (perSecond === undefined) return undefined;
    this.#refill(now);
    return this.#tokens >= WHOLE ? undefined : 'rate';
  }

  /** Time until the next token; 0 when there is one, or nothing says when. */
  waitMs(now: number): number {
    const { perSecond } = this.size;
    const perMs = ((perSecond ?? 0) / 1000) * (this.#usable(now) / this.#of);
    if (perMs === 0) return 0;
    this.#refill(now);
    return this.#tokens >= WHOLE ? 0 : Math.max(1, Math.ceil((1 - this.#tokens) / perMs));
  }

  /** Asks the other processes for more of it. */
  ask(): void {
    if (this.#lease !== undefined && this.#units < this.#of) this.#leases?.ask(this.#lease);
  }

  start(now: number): void {
    this.running++;
    this.usedAt = now;
    this.#startsSinceUnits++;
    if (this.size.perSecond === undefined) return;
    this.#refill(now);
    this.#tokens -= 1;
  }

  end(now: number): void {
    this.running--;
    this.usedAt = now;
  }

  /** Nothing runs under it, and nothing waits. */
  get isUnused(): boolean {
    return this.running === 0 && this.waiting === 0;
  }

  /** Its burst is whole again: a new one would be the same. */
  isFull(now: number): boolean {
    return now - this.usedAt >= refillMs(this.size);
  }

  forget(): void {
    if (this.#lease !== undefined) this.#leases?.forget(this.#lease);
  }

  // --- as the user of a lease ----------------------------------------------------------------------------------------

  unitsChanged(units: number, fresh: number): void {
    const now = this.#leases?.now() ?? this.#tokensAt;
    this.#refill(now);
    this.#units = units;
    const burst = burstOf(this.size) / this.#of;
    // What others may save up from now on is not saved here as well.
    this.#tokens = Math.min(this.#tokens + fresh * burst, units * burst);
    this.#unitsAt = now;
    this.#startsSinceUnits = 0;
  }

  usage(now: number): Usage {
    const { concurrency } = this.size;
    return {
      inUse: concurrency === undefined ? 0 : Math.ceil((this.running * this.#of) / concurrency),
      idle: this.waiting === 0 && now - this.usedAt >= IDLE_MS,
      hadTurn: this.isUnused || (this.#startsSinceUnits > 0 && now - this.#unitsAt >= TURN_MS),
    };
  }

  wanted(): number {
    if (this.waiting === 0) return this.#units;
    const { perSecond, concurrency } = this.size;
    if (perSecond !== undefined || concurrency === undefined) return this.#of;
    return Math.min(this.#of, Math.ceil(((this.running + this.waiting) * this.#of) / concurrency));
  }

  #usable(now: number): number {
    return this.#lease === undefined ? this.#units : (this.#leases?.usable(this.#lease, now) ?? 0);
  }

  #refill(now: number): void {
    const { perSecond } = this.size;
    if (perSecond === undefined) return;
    const share = this.#units / this.#of;
    const grown = this.#tokens + Math.max(0, now - this.#tokensAt) * (perSecond / 1000) * share;
    this.#tokens = Math.min(burstOf(this.size) * share, grown);
    this.#tokensAt = now;
  }
}
