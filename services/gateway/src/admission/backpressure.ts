import {
  isJobStream,
  jobKinds,
  lanes,
  type JobKindName,
  type JobStream,
  type Lane,
  type StreamName,
} from '@sluice/contracts';
import { GatewayError } from '../errors.ts';
import type { Stalls } from '@sluice/messaging';
import type { BrokerState } from './broker-watch.ts';

/** The queue that work of a kind waits in. Express and normal work never share one. */
export const laneOf = (kind: JobKindName, express: boolean): Lane =>
  jobKinds[kind].lanes[express ? 'express' : 'normal'];

export interface BackpressureSettings {
  /** Jobs that may wait in one lane. Not one more is accepted. */
  readonly maxBacklog: number;
  /** How long a new job may be expected to wait: backlog over drain rate. */
  readonly maxWaitMs: number;
  /** Whether the process itself is behind: then every lane is closed for as long. */
  readonly isBehind?: () => boolean;
  /**
   * Bytes that the broker has room for, where that is less than what its account may hold; 0 when only the account's
   * limit is known. A broker whose disk is full stops until it is restarted, so jobs are refused before.
   */
  readonly storageBytes?: number;
  /** Called for every job that is let in. */
  readonly onAcquire?: () => void;
  /** Streams that confirm nothing: what would wait for them is refused at once, but for a try now and then. */
  readonly stalls?: Stalls;
  /** 0..1, spreads the comeback of refused clients. */
  readonly random?: () => number;
}

// A lane that closed stays so until it has drained this far: without it, it would flap at the limit.
const REOPEN_AT = 0.75;
/**
 * The rate at which a lane drains says how fast it can only while there is something to drain: so many looks in a row,
 * about as long as the rate remembers. That of an idle lane says how little there was to do.
 */
const MIN_BUSY_SAMPLES = 10;
/** What is left has to hold what accepted jobs still write: their steps, results and dead letters. */
const FULL_AT = 0.9;
const ROOM_AGAIN_AT = 0.85;
const FASTEST_RETRY_SECONDS = 1;
const SLOWEST_RETRY_SECONDS = 120;
const DEFAULT_RETRY_SECONDS = 10;

/**
 * Says whether a lane takes more work, from what the broker said last and what was let in since. Per lane:
 *
 *     open -> closed    backlog over its limit, or a new job would wait too long
 *     closed -> open    both below three quarters of their limits
 *
 * A lane closes when its stream is nearly full of bytes. All of them close when `JOBS` is, or the storage of the broker, by
 * any writer.
 */
export class BackpressureLimiter {
  readonly #settings: BackpressureSettings;
  readonly #closed = new Set<Lane>();
  readonly #backlog = new Map<Lane, number>();
  readonly #waitMs = new Map<Lane, number>();
  /** Looks in a row that found something waiting. */
  readonly #busy = new Map<Lane, number>();
  /** Let in since the last look, and between the two before: what the broker said may not count them yet. */
  readonly #since = new Map<Lane, number>();
  readonly #before = new Map<Lane, number>();

  #storageUsed = 0;
  #storageFull = false;
  /** Which partition a job goes to is not known before it is accepted: one that is full or silent refuses all. */
  #jobStreams: readonly JobStream[] = ['JOBS'];
  /** Streams that are nearly full, with the share of their limit that is used. */
  readonly #full = new Map<StreamName, number>();

  constructor(settings: BackpressureSettings) {
    this.#settings = settings;
  }

  /** Takes in what the broker said. */
  update(state: BrokerState): void {
    const { usedBytes, limitBytes } = state.storage;
    const room = [limitBytes, this.#settings.storageBytes ?? 0].filter((bytes) => bytes > 0);
    this.#storageUsed = room.length === 0 ? 0 : usedBytes / Math.min(...room);
    if (this.#storageUsed >= FULL_AT) this.#storageFull = true;
    else if (this.#storageUsed < ROOM_AGAIN_AT) this.#storageFull = false;
    for (const { name, bytes, maxBytes } of state.streams) {
      const used = maxBytes > 0 ? bytes / maxBytes : 0;
      if (used >= FULL_AT || (used >= ROOM_AGAIN_AT && this.#full.has(name))) this.#full.set(name, used);
      else this.#full.delete(name);
    }
    const stream = (name: StreamName) => state.streams.find((each) => each.name === name);
    // Accepted and not yet put into their lanes: they count for every lane, as theirs is not known yet.
    this.#jobStreams = state.streams.map(({ name }) => name).filter(isJobStream);
    const undispatched = this.#jobStreams
      .map((name) => stream(name)?.consumers.find((each) => each.name === 'orchestrator')?.pending ?? 0)
      .reduce((sum, pending) => sum + pending, 0);
    for (const lane of lanes) {
      const found = stream(lane);
      if (found === undefined) continue;
      const backlog = found.messages + undispatched;
      const busy = backlog === 0 ? 0 : (this.#busy.get(lane) ?? 0) + 1;
      this.#busy.set(lane, busy);
      const isMeasured = busy > MIN_BUSY_SAMPLES && found.drainPerSecond > 0;
      const waitMs = isMeasured ? (backlog / found.drainPerSecond) * 1000 : 0;
      this.#backlog.set(lane, backlog);
      this.#waitMs.set(lane, waitMs);
      this.#before.set(lane, this.#since.get(lane) ?? 0);
      this.#since.set(lane, 0);
      const { maxBacklog, maxWaitMs } = this.#settings;
      if (backlog >= maxBacklog || waitMs > maxWaitMs) this.#closed.add(lane);
      else if (backlog < maxBacklog * REOPEN_AT && waitMs < maxWaitMs * REOPEN_AT) this.#closed.delete(lane);
    }
  }

  /** The share of the broker's storage that is in use; 0 when it has no limit that is known. */
  get storageUsed(): number {
    return this.#storageUsed;
  }

  /** Why no job is taken at all for want of room; undefined when there is room. */
  get storageReason(): string | undefined {
    for (const stream of this.#jobStreams) {
      const reason = this.#noRoomFor(stream);
      if (reason !== undefined) return reason;
    }
    return this.#noRoomFor('JOBS');
  }

  /** What else is nearly full. It holds up its own work alone. */
  get fullStreams(): readonly string[] {
    return [...this.#full.keys()].filter((name) => !isJobStream(name)).map((name) => this.#noRoomFor(name)!);
  }

  /**
   * Refuses what is to be stored in a stream that has no room left for it.
   *
   * @throws {GatewayError} `overloaded`.
   */
  checkRoom(stream: StreamName): void {
    if (this.#settings.stalls?.admits(stream) === false) {
      throw new GatewayError('overloaded', `Nothing was accepted: stream ${stream} confirms nothing at the moment.`, {
        retryAfterSeconds: DEFAULT_RETRY_SECONDS,
      });
    }
    const reason = this.#noRoomFor(stream);
    if (reason === undefined) return;
    throw new GatewayError('overloaded', `Nothing was accepted: ${reason}.`, {
      retryAfterSeconds: DEFAULT_RETRY_SECONDS,
    });
  }

  #noRoomFor(stream: StreamName): string | undefined {
    const percent = (used: number): string => `${Math.floor(used * 100)} % full`;
    if (this.#storageFull) return `the storage of the broker is ${percent(this.#storageUsed)}`;
    const used = this.#full.get(stream);
    return used === undefined ? undefined : `stream ${stream} is ${percent(used)}`;
  }

  /** Whether the lane takes a job now. */
  isOpen(lane: Lane): boolean {
    return (
      this.#settings.isBehind?.() !== true &&
      this.storageReason === undefined &&
      !this.#full.has(lane) &&
      !this.#closed.has(lane) &&
      this.#expected(lane) < this.#settings.maxBacklog
    );
  }

  /**
   * Refuses when the lane is closed.
   *
   * @throws {GatewayError} `overloaded`, with the time after which the lane is expected to be open.
   */
  check(lane: Lane): void {
    for (const stream of this.#jobStreams) this.checkRoom(stream);
    if (this.isOpen(lane)) return;
    this.checkRoom(lane);
    if (this.#settings.isBehind?.() === true) {
      throw new GatewayError('overloaded', 'More arrives than can be taken in. Nothing was accepted.', {
        retryAfterSeconds: FASTEST_RETRY_SECONDS,
      });
    }
    const waitMs = this.#waitMs.get(lane) ?? 0;
    const jitter = 1 + (this.#settings.random ?? Math.random)() * 0.25;
    const seconds = waitMs === 0 ? DEFAULT_RETRY_SECONDS : (waitMs / 1000) * (1 - REOPEN_AT);
    throw new GatewayError('overloaded', 'The backlog of this kind of work is full. Nothing was accepted.', {
      retryAfterSeconds: Math.min(SLOWEST_RETRY_SECONDS, Math.max(FASTEST_RETRY_SECONDS, seconds * jitter)),
    });
  }

  /**
   * Takes a place in the lane, before the job is appended; give it back when the append comes to nothing.
   *
   * @throws {GatewayError} `overloaded`.
   */
  acquire(lane: Lane): () => void {
    this.check(lane);
    this.#since.set(lane, (this.#since.get(lane) ?? 0) + 1);
    this.#settings.onAcquire?.();
    return () => this.#since.set(lane, Math.max(0, (this.#since.get(lane) ?? 0) - 1));
  }

  /** How many jobs a lane may hold, and how many more it would take. */
  roomIn(lane: Lane): { readonly total: number; readonly free: number } {
    const { maxBacklog } = this.#settings;
    return { total: maxBacklog, free: Math.max(0, maxBacklog - this.#expected(lane)) };
  }

  #expected(lane: Lane): number {
    return (this.#backlog.get(lane) ?? 0) + (this.#since.get(lane) ?? 0) + (this.#before.get(lane) ?? 0);
  }
}
