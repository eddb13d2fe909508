import type { Clock, Timer } from '../clock.ts';
import type { Logger } from '../log.ts';
import { errorMessage } from '../process/describe-error.ts';
import { withTimeout } from '../settle/with-timeout.ts';
import { handOver, isShort, parseEntry, takeUnits, withoutProcesses } from './entry.ts';
import type { LeaseEntry, Usage } from './entry.ts';
import { HEARTBEATS_PER_LEASE, Liveness, VALID_SHARE } from './liveness.ts';
import type { LimitStore } from './store.ts';

/** Who uses a lease: one limit of this process. */
export interface LeaseUser {
  /** Units that no process held before come with their burst. */
  unitsChanged(units: number, fresh: number): void;
  usage(now: number): Usage;
  /** How many units it has a use for. */
  wanted(): number;
}

/** What this process holds of one limit. */
export interface Lease {
  readonly key: string;
  readonly of: number;
  readonly user: LeaseUser;
  units: number;
  entry: LeaseEntry | undefined;
  revision: number;
  /** The entry has to be read before it is changed. */
  stale: boolean;
  /** When the last write of this process was sent: the store keeps the entry for its ttl from then on at least. */
  writtenAt: number;
  /** It asked for more than it got: looked at again then. */
  pollAt: number;
  polls: number;
  /** A change is on its way; with `again` another one follows. */
  busy: boolean;
  again: boolean;
}

export interface LeasesDeps {
  readonly store: LimitStore;
  readonly clock: Clock;
  readonly log: Logger;
  readonly pipeline: string;
  /** Prefix of the keys: what is shared under one name is one limit. */
  readonly name: string;
  /** A process that is not heard of for so long is gone. */
  readonly leaseMs: number;
  /** Something may start that might not before. */
  readonly changed: () => void;
  readonly wrote: () => void;
  readonly failed: (error: unknown) => void;
}

const FIRST_POLL_MS = 500;
const MAX_ROUNDS = 20;
const CLOSE_TIMEOUT_MS = 1000;

/**
 * Leases of limits in a store that all replicas share: an entry for each limit says how many units of it which process holds.
 * What a process that is gone held is freed by others (`Liveness`).
 *
 * Units move only by compare-and-set: taken from what is free, given by who holds them, or freed from who is gone. Their sum
 * is never more than there are.
 */
export class Leases {
  readonly #deps: LeasesDeps;
  readonly #leases = new Map<string, Lease>();
  readonly #stopWatching: () => void;
  readonly #ticker: Timer;
  readonly #alive: Liveness;
  #sendingHeartbeat = false;
  #ttlMs = Number.POSITIVE_INFINITY;
  #closed = false;
  #failing: string | undefined;

  constructor(deps: LeasesDeps) {
    this.#deps = deps;
    const { store, clock, leaseMs } = deps;
    this.#alive = new Liveness({ ...deps, began: deps.changed, renamed: () => this.#forgetUnits() });
    this.#stopWatching = store.watch((key, value) => this.#written(key, value));
    this.#ticker = clock.every(Math.min(1000, leaseMs / HEARTBEATS_PER_LEASE), () => this.#tick());
    void this.#begin();
  }

  /** Why the store fails; undefined while it does not. */
  get failing(): string | undefined {
    return this.#failing;
  }

  now(): number {
    return this.#deps.clock.now();
  }

  open(suffix: string, of: number, user: LeaseUser): Lease {
    const key = `lease.${this.#deps.name}.${suffix}`;
    const known = this.#leases.get(key);
    if (known !== undefined) return known;
    const lease = newLease(key, of, user);
    this.#leases.set(key, lease);
    return lease;
  }

  /** The limit is no longer used here. What it holds is given to the first that asks. */
  forget(lease: Lease): void {
    this.#leases.delete(lease.key);
  }

  /** Units that may be used now. */
  usable(lease: Lease, now: number): number {
    if (!this.#alive.isCertain(now) || now - lease.writtenAt > this.#ttlMs * VALID_SHARE) return 0;
    return lease.units;
  }

  /** There is a use for more units than are held: asks for them, unless it has, and is waiting. */
  ask(lease: Lease): void {
    if (lease.busy || this.#deps.clock.now() < lease.pollAt) return;
    this.#work(lease);
  }

  /** Frees everything at once. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.#ticker.cancel();
    this.#stopWatching();
    if (!this.#alive.hasBegun) return;
    const ended = withTimeout(this.#alive.end(), CLOSE_TIMEOUT_MS, this.#deps.clock, 'the store of limits');
    await ended.catch(() => undefined);
  }

  async #begin(): Promise<void> {
    try {
      this.#ttlMs = (await this.#deps.store.check()).ttlMs;
    } catch (error) {
      this.#fails(error);
    }
    this.#sendHeartbeat();
  }

  #tick(): void {
    const now = this.now();
    if (this.#alive.isDue(now)) this.#sendHeartbeat();
    for (const lease of this.#leases.values()) if (!lease.busy && this.#isDue(lease, now)) this.#work(lease);
    this.#alive.forgetPeers(now);
  }

  /** Whether something is to be done about a lease: more is wanted, others want some, or it has to be written again. */
  #isDue(lease: Lease, now: number): boolean {
    if (now >= lease.pollAt && lease.user.wanted() > lease.units) return true;
    if (lease.units === 0) return false;
    return lease.entry?.wants.some((id) => id !== this.#alive.id) === true || this.#needsRenewal(lease, now);
  }

  #needsRenewal(lease: Lease, now: number): boolean {
    return lease.units > 0 && now - lease.writtenAt > this.#ttlMs / 3 && !lease.user.usage(now).idle;
  }

  #sendHeartbeat(): void {
    if (this.#sendingHeartbeat || this.#closed) return;
    this.#sendingHeartbeat = true;
    this.#alive
      .heartbeat()
      .then(
        () => this.#works(),
        (error: unknown) => this.#fails(error),
      )
      .finally(() => {
        this.#sendingHeartbeat = false;
      });
  }

  /** This process is another one for all others, and holds nothing. */
  #forgetUnits(): void {
    for (const lease of this.#leases.values()) {
      lease.stale = true;
      lease.entry = undefined;
      lease.pollAt = 0;
      this.#setUnits(lease, 0, 0);
    }
  }

  // --- entries -------------------------------------------------------------------------------------------------------

  #work(lease: Lease): void {
    if (this.#closed) return;
    if (lease.busy) {
      lease.again = true;
      return;
    }
    lease.busy = true;
    lease.again = false;
    this.#change(lease)
      .then(
        () => this.#works(),
        (error: unknown) => {
          lease.stale = true;
          this.#pollLater(lease);
          this.#fails(error);
        },
      )
      .finally(() => {
        lease.busy = false;
        if (lease.again) this.#work(lease);
      });
  }

  async #change(lease: Lease): Promise<void> {
    const { store, clock } = this.#deps;
    // Without a heartbeat others would take this process for gone. The first one says that it may begin.
    if (!this.#alive.hasBegun) return;
    const polling = lease.polls > 0;
    if (polling) lease.stale = true;
    for (let round = 0; round < MAX_ROUNDS; round++) {
      const me = this.#alive.id;
      if (lease.stale) await this.#read(lease);
      const gone = polling ? await this.#alive.goneOf(othersIn(lease.entry)) : undefined;
      if (me !== this.#alive.id) continue;
      const next = this.#nextEntry(lease, gone);
      if (next === undefined) break;
      const { entry, fresh } = next;
      const units = entry.held[me] ?? 0;
      // Given away: not used from here on, also when the write fails.
      if (units < lease.units) this.#setUnits(lease, units, 0);
      const sentAt = clock.now();
      const revision = await store.write(lease.key, JSON.stringify({ ...entry, by: me }), lease.revision);
      this.#deps.wrote();
      if (me !== this.#alive.id) return;
      if (revision === undefined) {
        lease.stale = true;
        continue;
      }
      lease.entry = entry;
      lease.revision = revision;
      lease.writtenAt = sentAt;
      this.#setUnits(lease, units, fresh);
      break;
    }
    if (lease.user.wanted() > lease.units) this.#pollLater(lease);
    else lease.polls = lease.pollAt = 0;
  }

  /** What the entry is to be; undefined when it is to stay. */
  #nextEntry(
    lease: Lease,
    gone: ReadonlySet<string> | undefined,
  ): { readonly entry: LeaseEntry; readonly fresh: number } | undefined {
    const { user, of } = lease;
    const now = this.#deps.clock.now();
    let { entry } = lease;
    if (entry !== undefined && gone !== undefined && gone.size > 0) entry = withoutProcesses(entry, gone);
    let fresh = 0;
    const needed = user.wanted() - (entry?.held[this.#alive.id] ?? 0);
    const taken = needed > 0 ? takeUnits(entry, of, this.#alive.id, needed) : undefined;
    if (taken !== undefined) ({ entry, fresh } = taken);
    if (entry !== undefined) entry = handOver(entry, this.#alive.id, user.usage(now)) ?? entry;
    if (entry === undefined) return undefined;
    // Others hear of a write when it is published, and may read before it is stored, or miss it: who asked and got less than
    // a fair share at the next look asks again.
    const isUnheard = lease.polls > 1 && now >= lease.pollAt && isShort(entry, this.#alive.id);
    if (entry === lease.entry && !isUnheard && !this.#needsRenewal(lease, now)) return undefined;
    return { entry, fresh };
  }

  async #read(lease: Lease): Promise<void> {
    const found = await this.#deps.store.read(lease.key);
    lease.stale = false;
    lease.revision = found?.revision ?? 0;
    lease.entry = found === undefined ? undefined : parseEntry(found.value, lease.of);
    this.#setUnits(lease, lease.entry?.held[this.#alive.id] ?? 0, 0);
  }

  #setUnits(lease: Lease, units: number, fresh: number): void {
    if (units === lease.units) return;
    const more = units > lease.units;
    lease.units = units;
    lease.user.unitsChanged(units, fresh);
    if (more) this.#deps.changed();
  }

  #pollLater(lease: Lease): void {
    const { clock, leaseMs } = this.#deps;
    lease.pollAt =
      clock.now() + Math.min(leaseMs / HEARTBEATS_PER_LEASE, FIRST_POLL_MS * 2 ** Math.min(10, lease.polls));
    lease.polls++;
  }

  /** An entry was written, or a write of it was refused: read, where it concerns this process. */
  #written(key: string, value: string): void {
    if (this.#closed || !key.startsWith(`lease.${this.#deps.name}.`)) return;
    let lease = this.#leases.get(key);
    const hint = parseEntry(value, lease?.of);
    if (hint === undefined || hint.by === this.#alive.id) return;
    const mine = hint.held[this.#alive.id] ?? 0;
    const isWanted = mine > 0 && hint.wants.length > 0;
    if (lease === undefined) {
      if (!isWanted) return;
      // Forgotten here, and another process has a use for it.
      lease = newLease(key, hint.of, NO_USER);
    } else if (!isWanted && lease.units === mine && lease.polls === 0) return;
    lease.stale = true;
    this.#work(lease);
  }

  #works(): void {
    this.#failing = undefined;
  }

  #fails(error: unknown): void {
    if (this.#closed) return;
    const { log, pipeline, failed } = this.#deps;
    const message = errorMessage(error);
    if (this.#failing === undefined) log.warn({ pipeline, error: message }, 'the store of limits fails');
    this.#failing = message;
    failed(error);
  }
}

const NO_USER: LeaseUser = {
  unitsChanged: () => undefined,
  usage: () => ({ inUse: 0, idle: true, hadTurn: true }),
  wanted: () => 0,
};

const newLease = (key: string, of: number, user: LeaseUser): Lease => ({
  key,
  of,
  user,
  units: 0,
  entry: undefined,
  revision: 0,
  stale: false,
  writtenAt: Number.NEGATIVE_INFINITY,
  pollAt: 0,
  polls: 0,
  busy: false,
  again: false,
});

const othersIn = (entry: LeaseEntry | undefined): readonly string[] =>
  entry === undefined ? [] : [...new Set([...Object.keys(entry.held), ...entry.wants])];
