import type { Clock } from '../clock.ts';
import type { Delivery } from '../process/delivery.ts';
import type { Explanation } from '../running.ts';

const MIN_DELAY_MS = 250;
/** How fast a limit will go is a guess: what is at the server for longer could not follow a better one. */
const MAX_DELAY_MS = 5000;
/** A little early: a message that has to wait once more costs less than a limit that is not used. */
const EARLY = 0.8;
/** The server looks once a second for what is due. */
const MIN_ASIDE_MS = 1000;
/** The same for messages that are set aside: one that has to go there again costs more. */
const MAX_ASIDE_MS = 30_000;
/** After its time it is at another replica, or waits for its turn in the server. */
const FORGET_AFTER_MS = 1000;

/** Which limit sent a message back; `slots`: no limit, but the turns of others. */
export type DeferredBy = 'all' | 'perKey' | 'slots';

interface Deferred {
  readonly key: string | undefined;
  readonly dueAt: number;
  readonly limit: DeferredBy;
}

/** Messages that went back to the server because of a limit, until they come again. They occupy max_ack_pending. */
export class Deferrals<T> {
  readonly #clock: Clock;
  readonly #random: () => number;
  readonly #deferred = new Map<string, Deferred>();
  readonly #byKey = new Map<string | undefined, number>();
  /** By key: when the last that was set aside comes back. */
  readonly #aside = new Map<string | undefined, number>();
  #prunedAt = 0;

  constructor(clock: Clock, random: () => number) {
    this.#clock = clock;
    this.#random = random;
  }

  get size(): number {
    this.#prune();
    return this.#deferred.size;
  }

  /** How many of a key were sent back. */
  of(key: string | undefined): number {
    return this.#byKey.get(key) ?? 0;
  }

  /** When a message is to come back that has so many of its key before it here. */
  delayMs(key: string | undefined, position: number, perMs: number): number {
    const before = position + this.of(key);
    const delayMs = (EARLY * before) / perMs;
    // Spread, so that those beyond do not come in one lump.
    const most = MAX_DELAY_MS * (0.5 + this.#random() / 2);
    return Math.round(Math.min(most, Math.max(MIN_DELAY_MS, delayMs)));
  }

  /** When a message is to come back that is set aside: after the last of its key. */
  asideMs(key: string | undefined, perMs: number): number {
    const now = this.#clock.now();
    const last = Math.max(now, this.#aside.get(key) ?? 0);
    const dueAt = Math.max(now + MIN_ASIDE_MS, last + EARLY / perMs);
    const most = now + MAX_ASIDE_MS * (0.5 + this.#random() / 2);
    this.#aside.set(key, Math.min(dueAt, now + MAX_ASIDE_MS));
    return Math.round(Math.min(dueAt, most) - now);
  }

  add(delivery: Delivery<T>, delayMs: number, limit: DeferredBy): void {
    const key = delivery.limitKey;
    this.#deferred.set(nameOf(delivery.source, delivery.sequence), { key, dueAt: this.#clock.now() + delayMs, limit });
    this.#byKey.set(key, (this.#byKey.get(key) ?? 0) + 1);
  }

  /** It came again. */
  arrived(source: number, sequence: number): void {
    if (this.#deferred.size > 0) this.#remove(nameOf(source, sequence));
  }

  /** Undefined for a message that was not sent back here. */
  explain(source: number, sequence: number): Extract<Explanation, { state: 'deferred' }> | undefined {
    const found = this.#deferred.get(nameOf(source, sequence));
    if (found === undefined) return undefined;
    return { state: 'deferred', limit: found.limit, forMs: Math.max(0, found.dueAt - this.#clock.now()) };
  }

  #remove(name: string): void {
    const found = this.#deferred.get(name);
    if (found === undefined) return;
    this.#deferred.delete(name);
    const left = (this.#byKey.get(found.key) ?? 1) - 1;
    if (left > 0) this.#byKey.set(found.key, left);
    else this.#byKey.delete(found.key);
  }

  #prune(): void {
    const now = this.#clock.now();
    if (now - this.#prunedAt < FORGET_AFTER_MS) return;
    this.#prunedAt = now;
    for (const [name, { dueAt }] of this.#deferred) if (now - dueAt > FORGET_AFTER_MS) this.#remove(name);
    for (const [key, dueAt] of this.#aside) if (dueAt < now) this.#aside.delete(key);
  }
}

const nameOf = (source: number, sequence: number): string => `${source}:${sequence}`;
