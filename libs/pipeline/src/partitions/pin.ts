import type { Clock } from '../clock.ts';

/** The part of the server's time that is not relied on: clocks run a little differently. */
const MARGIN = 0.1;
/** Pins that were lost: messages of theirs may still be on the wire. */
const REMEMBERED = 8;

/**
 * The server's pin on one partition, for as long as it is certain. The server gives it away when no pull with its id has
 * arrived for `ttlMs`, so it counts from the moment a pull was sent that the server is known to have taken. Acks carry no
 * pin and the server takes them from everyone: what settles asks here first.
 */
export class Pin {
  readonly #clock: Clock;
  readonly #lost: string[] = [];
  #id: string | undefined;
  #isTakenOver = false;
  #ttlMs = 0;
  #since = 0;
  #sinceWall = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** The pin, also one whose time has run out: see `hasLapsed`. */
  get id(): string | undefined {
    return this.#id;
  }

  /** Whether messages of the last holder are not all here yet. It ends with the pin, however that ends. */
  get takingOver(): boolean {
    return this.#id !== undefined && !this.#isTakenOver;
  }

  get ttlMs(): number {
    return this.#ttlMs;
  }

  /** Whether there is a pin whose time has run out. By the wall clock too: the other one stands still while a machine is suspended. */
  get hasLapsed(): boolean {
    if (this.#id === undefined) return false;
    const certainMs = this.#ttlMs * (1 - MARGIN);
    return this.#clock.now() - this.#since >= certainMs || this.#clock.wall() - this.#sinceWall >= certainMs;
  }

  wasLost(id: string): boolean {
    return this.#lost.includes(id);
  }

  /** A message came under a new pin, in answer to a pull sent at `sentAt`. */
  take(id: string, sentAt: number, ttlMs: number): void {
    this.#id = id;
    this.#isTakenOver = false;
    this.#ttlMs = ttlMs;
    this.#renewedAt(sentAt);
  }

  /** The server took a pull that was sent at `sentAt`. Known too late, it proves nothing: the pin may have gone in between. */
  renewed(id: string, sentAt: number): void {
    if (this.#id === id && !this.hasLapsed && sentAt > this.#since) this.#renewedAt(sentAt);
  }

  takenOver(): void {
    this.#isTakenOver = true;
  }

  drop(): void {
    if (this.#id === undefined) return;
    this.#lost.push(this.#id);
    if (this.#lost.length > REMEMBERED) this.#lost.shift();
    this.#id = undefined;
  }

  #renewedAt(sentAt: number): void {
    this.#since = sentAt;
    this.#sinceWall = this.#clock.wall() - (this.#clock.now() - sentAt);
  }
}
