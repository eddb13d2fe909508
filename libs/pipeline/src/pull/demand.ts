import type { Clock, Timer } from '../clock.ts';
import type { Observer } from '../events.ts';
import type { Puller } from './puller.ts';
import type { ResolvedRate } from '../config/resolve-spec.ts';
import { TokenBucket } from '../schedule/token-bucket.ts';
import { WeightedTurn } from '../schedule/weighted-turn.ts';

/** What demand is computed from, read afresh each time. */
export interface Load {
  /** Messages that may be held. */
  readonly capacity: number;
  /** Messages that are held. */
  readonly held: number;
  /** Of those, not started. */
  readonly waiting: number;
  /** By source: slots of its own that are free. */
  readonly reserved: readonly number[];
}

/**
 * Demand = free slots. Asks the sources for exactly what can be taken:
 * `requested + held <= capacity` for one source. With several, a source that has nothing to give keeps its request
 * open without blocking the others, so each of them can exceed the capacity by what it was asked while idle.
 */
export class Demand {
  readonly #pullers: readonly Puller[];
  readonly #turn: WeightedTurn;
  readonly #clock: Clock;
  readonly #pipeline: string;
  readonly #observe: Observer | undefined;
  readonly #wake: () => void;
  #bucket: TokenBucket | undefined;
  #timer: Timer | undefined;

  constructor(
    pullers: readonly Puller[],
    weights: readonly number[],
    rate: ResolvedRate | undefined,
    clock: Clock,
    events: { readonly pipeline: string; readonly observe: Observer | undefined; readonly wake: () => void },
  ) {
    this.#pullers = pullers;
    this.#turn = new WeightedTurn(weights);
    this.#clock = clock;
    this.#pipeline = events.pipeline;
    this.#observe = events.observe;
    this.#wake = events.wake;
    this.setRate(rate);
  }

  setRate(rate: ResolvedRate | undefined): void {
    this.#bucket = rate === undefined ? undefined : new TokenBucket(rate, this.#clock.now());
    this.#timer?.cancel();
    this.#timer = undefined;
  }

  /** How long the rate limit holds the next start back; 0 when it does not. */
  rateWaitMs(): number {
    return this.#bucket?.waitMs(this.#clock.now()) ?? 0;
  }

  get hasRate(): boolean {
    return this.#bucket !== undefined;
  }

  /** Messages that wait in the stream, as of the newest delivery. */
  get behind(): number {
    return this.#pullers.reduce((sum, puller) => sum + puller.lag, 0);
  }

  /** Takes a token for one start; false when the rate limit says wait (and a wake-up is set). */
  mayStart(): boolean {
    if (this.#bucket === undefined || this.#bucket.take(this.#clock.now())) return true;
    this.#wakeLater(this.#bucket);
    return false;
  }

  /** Sends the pulls that the load leaves room for; `usable` leaves out sources that are in trouble. */
  request(load: Load, usable: (source: number) => boolean): void {
    this.#askForSlots(load, usable);
    // Reserves are for when everything else is taken, so they are asked for however much is held.
    if (this.#bucket !== undefined) return;
    for (const [source, free] of load.reserved.entries()) {
      const puller = this.#pullers[source];
      if (puller !== undefined && free > 0 && puller.requested === 0 && usable(source)) this.#request(puller, free);
    }
  }

  close(): void {
    this.#timer?.cancel();
  }

  #askForSlots(load: Load, usable: (source: number) => boolean): void {
    const single = this.#pullers.length === 1;
    const counted = this.#pullers.reduce((sum, puller) => sum + (single || puller.lag > 0 ? puller.requested : 0), 0);
    let free = load.capacity - load.held - counted;
    if (free > 0 && this.#bucket !== undefined) {
      const tokens = this.#bucket.available(this.#clock.now()) - load.waiting - counted;
      if (tokens < 1 && counted === 0 && load.waiting === 0) this.#wakeLater(this.#bucket);
      free = Math.min(free, tokens);
    }
    if (free <= 0) return;
    // Small top-ups of an open pull would only multiply the pulls the server has to keep.
    const worthIt = Math.max(1, load.capacity >> 2);
    if (single) {
      const [puller] = this.#pullers;
      if (puller !== undefined && usable(0) && (puller.requested === 0 || free >= worthIt)) this.#request(puller, free);
      return;
    }
    const shares = this.#pullers.map(() => 0);
    const wants = (source: number): boolean => {
      const puller = this.#pullers[source];
      return puller !== undefined && usable(source) && (puller.requested === 0 || puller.lag > 0);
    };
    for (; free > 0; free--) {
      const source = this.#turn.next(wants);
      if (source < 0) break;
      shares[source] = (shares[source] ?? 0) + 1;
    }
    for (const [source, share] of shares.entries()) {
      const puller = this.#pullers[source];
      if (puller !== undefined && share > 0) this.#request(puller, share);
    }
  }

  #request(puller: Puller, count: number): void {
    puller.request(count);
    const { stream, consumer } = puller.options;
    this.#observe?.({ type: 'pull.requested', pipeline: this.#pipeline, stream, consumer, batch: count });
  }

  #wakeLater(bucket: TokenBucket): void {
    if (this.#timer !== undefined) return;
    const waitMs = bucket.waitMs(this.#clock.now());
    this.#observe?.({ type: 'rate.limited', pipeline: this.#pipeline, waitMs });
    this.#timer = this.#clock.after(waitMs, () => {
      this.#timer = undefined;
      this.#wake();
    });
  }
}
