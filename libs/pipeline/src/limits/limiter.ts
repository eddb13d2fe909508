import { hash } from 'node:crypto';
import type { Clock, Timer } from '../clock.ts';
import type { ResolvedLimits } from '../config/resolve-limits.ts';
import type { Observer } from '../events.ts';
import type { Logger } from '../log.ts';
import type { Delivery } from '../process/delivery.ts';
import { Deferrals } from './deferrals.ts';
import { FairQueue } from './fair-queue.ts';
import { Leases } from './leases.ts';
import { Limit } from './limit.ts';
import type { WaitsFor } from './limit.ts';

export interface LimiterDeps<T> {
  readonly limits: ResolvedLimits<T>;
  readonly pipeline: string;
  readonly clock: Clock;
  readonly log: Logger;
  readonly observe: Observer | undefined;
  readonly random: () => number;
  /** Slots of the pipeline. */
  readonly slots: () => number;
  readonly maxAckPending: () => number;
  /** Whether another message may be set aside now: stored elsewhere, where it occupies no place of max_ack_pending. */
  readonly maySetAside: () => boolean;
  /** Something may start that might not before. */
  readonly wake: () => void;
}

/**
 * Keys whose limits are known at once. Those whose burst is whole go first, then unused ones: without a shared store these
 * have their burst again when they come again.
 */
const MAX_KEYS = 10_000;
/** Messages that wait here for a limit, by slot: room in which the first message of another key is seen. */
const ROOM_PER_SLOT = 4;
const MIN_ROOM = 16;
const MAX_PLAIN_KEY = 64;
/** Before a handler ended nothing is known of how long one takes. */
const FIRST_GUESS_MS = 100;
const LEARN_SHARE = 1 / 16;
/** A backlog that is worked off within this time is left in the order it came in. */
const SOON_MS = 1000;
/** A process sends back as many messages as this part of max_ack_pending at most. */
const MAX_SHARE_DEFERRED = 4;

/** A message that has to come back later, to make room. */
export interface Excess<T> {
  readonly delivery: Delivery<T>;
  readonly delayMs: number;
  /** As many as may be were sent back: this one is stored elsewhere until then. */
  readonly aside: boolean;
}

/** The limits of a pipeline: who may start, whose turn it is, and which messages have to come back later. */
export class Limiter<T> {
  readonly leases: Leases | undefined;
  readonly deferrals: Deferrals<T>;
  /** Messages that may start as far as the pipeline goes, by source. */
  readonly queues: readonly FairQueue<Delivery<T>>[];
  readonly #deps: LimiterDeps<T>;
  readonly #all: Limit | undefined;
  readonly #perKey = new Map<string, Limit>();
  #averageMs: number | undefined;
  #timer: Timer | undefined;
  #timerAt = 0;
  #waking = false;

  constructor(deps: LimiterDeps<T>, sources: number) {
    this.#deps = deps;
    const { limits, clock, log, observe, pipeline } = deps;
    this.deferrals = new Deferrals(clock, deps.random);
    this.queues = Array.from(
      { length: sources },
      () =>
        new FairQueue<Delivery<T>>({
          may: (delivery) => this.#may(delivery),
          starts: (delivery) => this.#start(delivery),
          waiting: (key, change) => this.#waits(key, change),
        }),
    );
    if (limits.shared !== undefined) {
      this.leases = new Leases({
        store: limits.shared,
        clock,
        log,
        pipeline,
        name: limits.name,
        leaseMs: limits.leaseMs,
        changed: () => this.#wakeSoon(),
        wrote: () => observe?.({ type: 'limits.written', pipeline }),
        failed: (error) => observe?.({ type: 'limits.failed', pipeline, error }),
      });
    }
    this.#all = limits.all === undefined ? undefined : new Limit(limits.all, 'all', this.leases, clock.now());
  }

  /** Messages that wait here. */
  get waiting(): number {
    return this.queues.reduce((sum, { size }) => sum + size, 0);
  }

  /** Finds the key of a message that arrived; what its function throws fails the message. */
  findKey(delivery: Delivery<T>, decode: (bytes: Uint8Array, subject: string) => T): void {
    const { key } = this.#deps.limits;
    if (key === undefined) return;
    try {
      delivery.decode(decode);
    } catch {
      // `admit` meets the same failure and dead-letters the message.
      return;
    }
    try {
      const found = key(delivery.message);
      delivery.limitKey = found === undefined ? undefined : shortKey(found);
    } catch (error) {
      delivery.fault = { error };
    }
  }

  /** The message is no longer worked on. */
  release(delivery: Delivery<T>): void {
    const { permit } = delivery;
    if (permit === undefined) return;
    delivery.permit = undefined;
    const now = this.#deps.clock.now();
    this.#all?.end(now);
    permit.perKey?.end(now);
  }

  /** A handler took so long. */
  learn(durationMs: number): void {
    this.#averageMs =
      this.#averageMs === undefined ? durationMs : this.#averageMs + (durationMs - this.#averageMs) * LEARN_SHARE;
  }

  /** Which limit a message waits for; undefined when it may start. */
  waitsFor(delivery: Delivery<T>): WaitsFor | undefined {
    const now = this.#deps.clock.now();
    for (const [limit, of] of [
      ['perKey', delivery.limitKey === undefined ? undefined : this.#perKey.get(delivery.limitKey)],
      ['all', this.#all],
    ] as const) {
      const lacks = of?.lacks(now);
      if (of !== undefined && lacks !== undefined)
        return { limit, lacks, forMs: lacks === 'rate' ? of.waitMs(now) : 0 };
    }
    return undefined;
  }

  /** As many messages were sent back as may be. */
  get isFull(): boolean {
    return this.deferrals.size >= Math.floor(this.#deps.maxAckPending() / MAX_SHARE_DEFERRED);
  }

  /** Places for messages that wait for a limit. */
  get room(): number {
    return Math.max(MIN_ROOM, ROOM_PER_SLOT * this.#deps.slots());
  }

  /** How many messages of a key start in a millisecond, about. */
  #startsPerMs(key: string | undefined, keys: number): number {
    const { slots } = this.#deps;
    const averageMs = Math.max(0.1, this.#averageMs ?? FIRST_GUESS_MS);
    const share = (limit: Limit | undefined): number => limit?.startsPerMs(averageMs) ?? Number.POSITIVE_INFINITY;
    const together = Math.min(slots() / averageMs, share(this.#all));
    return Math.min(together / Math.max(1, keys), share(key === undefined ? undefined : this.#perKey.get(key)));
  }

  /**
   * Takes out messages that leave no room for those of other keys, the newest of the key with most; with each, when it is
   * to come back. `behind`: messages that wait in the stream.
   */
  *takeExcess(room: number, behind: number): Generator<Excess<T>> {
    if (this.waiting < room) return;
    const queue = this.queues.reduce((most, one) => (one.size > most.size ? one : most));
    const longest = queue.longest((key) => this.deferrals.of(key));
    if (longest === undefined) return;
    const perMs = this.#startsPerMs(longest.key, queue.keys);
    // What is worked off within a moment, with all that is behind it, makes room by itself.
    const backlog = longest.size + this.deferrals.of(longest.key) + behind;
    if (behind > 0 && backlog / perMs < SOON_MS) return;
    // Without messages behind them one place is enough, for the first that comes.
    let excess = behind > 0 ? longest.size >> 1 : this.waiting - room + 1;
    // The next of a key stays, unless its limit keeps it from starting and every place is taken by such ones.
    const least = longest.size === 1 && this.#isReached(longest.key) ? 0 : 1;
    if (least === 0) excess = 1;
    const { maySetAside } = this.#deps;
    for (let size = longest.size; excess > 0 && size > least && (!this.isFull || maySetAside()); excess--, size--) {
      const delivery = queue.takeNewest(longest.key);
      if (delivery === undefined) return;
      // One that came before has a history that its copy would not have, and a place of max_ack_pending.
      const aside = this.isFull && delivery.deliveries === 1;
      const delayMs = aside
        ? this.deferrals.asideMs(longest.key, perMs)
        : this.deferrals.delayMs(longest.key, size, perMs);
      yield { delivery, delayMs, aside };
    }
  }

  #isReached(key: string | undefined): boolean {
    return key !== undefined && this.#perKey.get(key)?.lacks(this.#deps.clock.now()) !== undefined;
  }

  async close(): Promise<void> {
    this.#timer?.cancel();
    this.#timer = undefined;
    await this.leases?.close();
  }

  // --- the rules of the queues ----------------------------------------------------------------------------------------

  #may(delivery: Delivery<T>): boolean {
    // It fails without its handler.
    if (delivery.fault !== undefined) return true;
    const now = this.#deps.clock.now();
    const { limitKey } = delivery;
    return this.#lets(this.#all, now) && this.#lets(limitKey === undefined ? undefined : this.#limitOf(limitKey), now);
  }

  #lets(limit: Limit | undefined, now: number): boolean {
    const lacks = limit?.lacks(now);
    if (limit === undefined || lacks === undefined) return true;
    limit.ask();
    if (lacks === 'rate') this.#wakeAt(now + limit.waitMs(now));
    return false;
  }

  #start(delivery: Delivery<T>): void {
    if (delivery.fault !== undefined) return;
    const now = this.#deps.clock.now();
    const perKey = delivery.limitKey === undefined ? undefined : this.#limitOf(delivery.limitKey);
    this.#all?.start(now);
    perKey?.start(now);
    delivery.permit = { perKey };
  }

  #waits(key: string | undefined, change: number): void {
    if (this.#all !== undefined) this.#all.waiting += change;
    const perKey = key === undefined ? undefined : this.#limitOf(key);
    if (perKey !== undefined) perKey.waiting += change;
  }

  #limitOf(key: string): Limit | undefined {
    const { limits, clock } = this.#deps;
    if (limits.perKey === undefined) return undefined;
    let limit = this.#perKey.get(key);
    if (limit === undefined) {
      const now = clock.now();
      if (this.#perKey.size >= MAX_KEYS) this.#forgetSome(now);
      limit = new Limit(limits.perKey, `key.${key}`, this.leases, now);
      this.#perKey.set(key, limit);
    }
    return limit;
  }

  /** A tenth at a time, so that it is not done for every new key. */
  #forgetSome(now: number): void {
    let left = MAX_KEYS / 10;
    for (const mayBe of [(limit: Limit) => limit.isFull(now), () => true]) {
      for (const [key, limit] of this.#perKey) {
        if (left === 0) return;
        if (!limit.isUnused || !mayBe(limit)) continue;
        limit.forget();
        this.#perKey.delete(key);
        left--;
      }
    }
  }

  #wakeAt(at: number): void {
    if (this.#timer !== undefined && this.#timerAt <= at) return;
    this.#timer?.cancel();
    this.#timerAt = at;
    const { clock, wake } = this.#deps;
    this.#timer = clock.after(Math.max(1, at - clock.now()), () => {
      this.#timer = undefined;
      wake();
    });
  }

  #wakeSoon(): void {
    if (this.#waking) return;
    this.#waking = true;
    this.#deps.clock.soon(() => {
      this.#waking = false;
      this.#deps.wake();
    });
  }
}

/** As part of a subject: as it is where that is possible, and otherwise by hash. */
const shortKey = (key: string): string =>
  key.length <= MAX_PLAIN_KEY && /^[-_a-zA-Z0-9]+$/.test(key)
    ? key
    : `h=${hash('sha256', key, 'base64url').slice(0, 32)}`;
