import { PublishError } from '@sluice/pipeline';

/** A stream that takes publishes and confirms none. */
export interface Stalled {
  readonly stream: string;
  /** How long it has confirmed nothing. */
  readonly forMs: number;
  /** When a publish last waited for nothing: after a while without one it is not known how the stream is. */
  readonly triedAgoMs: number;
}

/** Which streams confirm nothing. */
export interface Stalls {
  now(): readonly Stalled[];
  /**
   * False for a stream that is stalled and was tried moments ago: a publish would wait for nothing. Every few seconds one
   * caller is told true, and its publish finds out whether the stream is well again.
   */
  admits(stream: string): boolean;
}

interface Stall {
  readonly sinceMs: number;
  unconfirmed: number;
  /** When a caller was last let through. */
  triedMs: number;
  failedMs: number;
}

/** So many publishes in a row, over at least so long: one of them can be lost to a change of leader. */
const UNCONFIRMED = 3;
const LEAST_MS = 2_000;
const TRY_EVERY_MS = 5_000;

/**
 * Follows which streams confirm what is published to them. nats-server 2.15 answers nothing at all to a publish into a
 * stream whose file could not be written (a full disk, say), while it goes on to describe that stream and to serve reads; and
 * it stays so until the server is restarted. Nothing but the missing confirmations shows it.
 */
export class StallWatch implements Stalls {
  readonly #now: () => number;
  /** Of streams whose last publish was not confirmed: as many entries as there are streams at most. */
  readonly #stalls = new Map<string, Stall>();

  constructor(now: () => number = () => performance.now()) {
    this.#now = now;
  }

  /** Passes on what a publish to a stream comes to, and notes it. */
  async follow<R>(stream: string, publish: Promise<R>): Promise<R> {
    const beganMs = this.#now();
    try {
      const result = await publish;
      if (this.#stalls.size > 0) this.#stalls.delete(stream);
      return result;
    } catch (error) {
      // A refusal is an answer; a connection that is away says nothing of the stream.
      const code = error instanceof PublishError ? error.code : undefined;
      if (code === 'TIMEOUT') this.#unconfirmed(stream, beganMs);
      else if (code === 'REJECTED') this.#stalls.delete(stream);
      throw error;
    }
  }

  /** The connection is another one: the server may be as well. */
  forget(): void {
    this.#stalls.clear();
  }

  now(): readonly Stalled[] {
    const nowMs = this.#now();
    return [...this.#stalls]
      .filter(([, stall]) => this.#isStalled(stall))
      .map(([stream, { sinceMs, failedMs }]) => ({ stream, forMs: nowMs - sinceMs, triedAgoMs: nowMs - failedMs }));
  }

  admits(stream: string): boolean {
    const stall = this.#stalls.get(stream);
    if (stall === undefined || !this.#isStalled(stall)) return true;
    if (this.#now() - stall.triedMs < TRY_EVERY_MS) return false;
    stall.triedMs = this.#now();
    return true;
  }

  #unconfirmed(stream: string, beganMs: number): void {
    const stall = this.#stalls.get(stream) ?? { sinceMs: beganMs, unconfirmed: 0, triedMs: this.#now(), failedMs: 0 };
    stall.unconfirmed += 1;
    stall.failedMs = this.#now();
    this.#stalls.set(stream, stall);
  }

  #isStalled({ unconfirmed, sinceMs }: Stall): boolean {
    return unconfirmed >= UNCONFIRMED && this.#now() - sinceMs >= LEAST_MS;
  }
}
