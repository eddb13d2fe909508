import type { Clock } from '../clock.ts';
import type { Logger } from '../log.ts';
import type { LimitStore } from './store.ts';

export interface LivenessDeps {
  readonly store: LimitStore;
  readonly clock: Clock;
  readonly log: Logger;
  readonly pipeline: string;
  /** A process that is not heard of for so long is gone. */
  readonly leaseMs: number;
  /** The first heartbeat is stored: what is held may be used. */
  readonly began: () => void;
  /** This process is another one now, and holds nothing. */
  readonly renamed: () => void;
}

/** A process stops using what it holds before another one may take it: the rest is for clocks that run differently. */
export const VALID_SHARE = 0.75;
/** So often is a heartbeat written, and another process looked at, within the time of a lease. */
export const HEARTBEATS_PER_LEASE = 5;
const NOT_YET = Number.NEGATIVE_INFINITY;

interface Peer {
  revision: number;
  /** When this revision of its heartbeat was first seen here. */
  seenAt: number;
  askedAt: number;
  gone: boolean;
}

/**
 * Who is alive, of the processes that share limits. No clock of another machine is read: a process that is alive writes an
 * entry of its own again and again, and another one that sees it unchanged for `leaseMs`, by its own clock, takes it for
 * gone. A process whose heartbeat was not stored for three quarters of that uses nothing of what it holds (fail closed), and
 * comes back under another name, with nothing.
 */
export class Liveness {
  readonly #deps: LivenessDeps;
  readonly #peers = new Map<string, Peer>();
  #id = newId();
  #revision = 0;
  #heartbeats = 0;
  /** When the last heartbeat that was stored was sent. */
  #storedAt = NOT_YET;

  constructor(deps: LivenessDeps) {
    this.#deps = deps;
  }

  /** The name of this process, until others may have taken it for gone. */
  get id(): string {
    return this.#id;
  }

  /** Whether a heartbeat was stored: before, others would take this process for gone. */
  get hasBegun(): boolean {
    return this.#storedAt !== NOT_YET;
  }

  /** Whether no other process can have taken this one for gone. */
  isCertain(now: number): boolean {
    return now - this.#storedAt <= this.#deps.leaseMs * VALID_SHARE;
  }

  /** Whether it is time for the next heartbeat. */
  isDue(now: number): boolean {
    return now - this.#storedAt >= this.#deps.leaseMs / HEARTBEATS_PER_LEASE;
  }

  async heartbeat(): Promise<void> {
    const { store, clock, began } = this.#deps;
    // Too late: others may have taken what this process held.
    if (this.hasBegun && !this.isCertain(clock.now())) this.#startAgain();
    const key = `alive.${this.#id}`;
    const sentAt = clock.now();
    const revision = await store.write(key, String(++this.#heartbeats), this.#revision);
    if (revision === undefined) {
      // A heartbeat whose answer was lost, or the bucket was emptied.
      const found = await store.read(key);
      if (found === undefined || found.value === '') this.#startAgain();
      else this.#revision = found.revision;
      await this.heartbeat();
      return;
    }
    this.#revision = revision;
    const first = !this.hasBegun;
    this.#storedAt = sentAt;
    if (first) began();
  }

  /** Of these processes, those that are gone. */
  async goneOf(ids: readonly string[]): Promise<ReadonlySet<string>> {
    const gone = new Set<string>();
    for (const id of ids) if (id !== this.#id && (await this.#isGone(id))) gone.add(id);
    return gone;
  }

  /** Forgets the processes that nothing was asked about for long. */
  forgetPeers(now: number): void {
    for (const [id, { askedAt }] of this.#peers) if (now - askedAt > 10 * this.#deps.leaseMs) this.#peers.delete(id);
  }

  /** This process is gone: others need not wait to see it. */
  async end(): Promise<void> {
    await this.#deps.store.remove(`alive.${this.#id}`);
  }

  /** Another process for all others, which holds nothing. */
  #startAgain(): void {
    const { log, pipeline, renamed } = this.#deps;
    log.warn({ pipeline }, 'the leases of this process ended: its heartbeat was not stored in time');
    this.#id = newId();
    this.#revision = 0;
    this.#storedAt = NOT_YET;
    renamed();
  }

  async #isGone(id: string): Promise<boolean> {
    const { store, clock, leaseMs } = this.#deps;
    const known = this.#peers.get(id);
    if (known !== undefined && clock.now() - known.askedAt < leaseMs / HEARTBEATS_PER_LEASE) return known.gone;
    const found = await store.read(`alive.${id}`);
    const now = clock.now();
    const ended = found === undefined || found.value === '';
    if (known === undefined || (!ended && known.revision !== found.revision)) {
      this.#peers.set(id, { revision: found?.revision ?? 0, seenAt: now, askedAt: now, gone: ended });
      return ended;
    }
    known.askedAt = now;
    known.gone = ended || now - known.seenAt >= leaseMs;
    return known.gone;
  }
}

const newId = (): string => crypto.randomUUID().slice(0, 8);
