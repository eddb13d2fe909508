import type { Clock, Timer } from '../clock.ts';
import type { NatsPort } from '../nats/port.ts';
import { storedAtMs } from '../process/delivery.ts';

const ACK = new TextEncoder().encode('+ACK');
const WORKING = new TextEncoder().encode('+WPI');
const NAK = new TextEncoder().encode('-NAK');

/** What settles: a delivery, as far as this file cares. */
export interface Settled {
  readonly reply: string;
  readonly source: number;
  readonly sequence: number;
}

interface HeldNak {
  readonly reply: string;
  readonly dueAt: number | undefined;
  readonly heldAt: number;
}

/** Acks sent and not yet proven to have arrived, as parallel arrays: one of these exists per message. */
interface Ring {
  readonly replies: string[];
  readonly sequences: number[];
  readonly sources: number[];
  /** Built only when a redelivery asks. */
  index: Set<string> | undefined;
}

const newRing = (): Ring => ({ replies: [], sequences: [], sources: [], index: undefined });

const CONFIRM_EVERY_MS = 250;
/** Acks after which a confirmation is asked for early: a long ring is memory that outlives its use. */
const CONFIRM_EVERY = 1000;

/**
 * Sends acks and naks, and makes sure they are not lost with the connection.
 *
 * An ack written to a socket that is about to break vanishes without an error. So every ack stays in a ring until a
 * flush that went out after it came back, and the ring is sent again after a reconnect (a repeated ack is harmless).
 * What is settled while there is no connection is held and sent on the reconnect, naks with the rest of their delay.
 * A flush proves that the connected server has the ack, not that the consumer's leader has: `each` asks for that.
 */
export class Settlements {
  readonly #port: NatsPort;
  readonly #clock: Clock;
  readonly #confirm: 'flush' | 'each' | 'none';
  #sent = newRing();
  #confirming: Ring | undefined;
  #held: string[] = [];
  #heldNaks: HeldNak[] = [];
  #timer: Timer | undefined;
  #awaitingEach = 0;

  constructor(port: NatsPort, clock: Clock, confirm: 'flush' | 'each' | 'none') {
    this.#port = port;
    this.#clock = clock;
    this.#confirm = confirm;
  }

  get unconfirmed(): number {
    return this.#sent.replies.length + (this.#confirming?.replies.length ?? 0) + this.#awaitingEach;
  }
  get held(): number {
    return this.#held.length + this.#heldNaks.length;
  }

  /** A promise only when the ack has to be waited for (`each`). It never rejects. */
  ack(delivery: Settled): Promise<void> | undefined {
    if (!this.#port.connected) {
      this.#held.push(delivery.reply);
      this.#remember(delivery);
      return undefined;
    }
    if (this.#confirm === 'each') return this.#ackEach(delivery);
    this.#port.send(delivery.reply, ACK);
    this.#remember(delivery);
    return undefined;
  }

  /** Without a delay the message is free for others at once. */
  nak(delivery: Settled, delayMs: number | undefined): void {
    if (!this.#port.connected) {
      const dueAt = delayMs === undefined ? undefined : this.#clock.now() + delayMs;
      this.#heldNaks.push({ reply: delivery.reply, dueAt, heldAt: this.#clock.now() });
      return;
    }
    this.#port.send(delivery.reply, delayMs === undefined ? NAK : delayed(delayMs));
  }

  /** Tells the server that the message is still being worked on: its ack_wait starts again. */
  working(delivery: Settled): void {
    if (this.#port.connected) this.#port.send(delivery.reply, WORKING);
  }

  /** Whether this process acked the message and the server may not know yet. */
  ackedHere(source: number, sequence: number, storedAt: number): boolean {
    const key = `${source}:${sequence}:${storedAt}`;
    return inRing(this.#sent, key) || (this.#confirming !== undefined && inRing(this.#confirming, key));
  }

  /** The stream of a source was made again: what is kept for it would settle other messages. */
  forget(source: number, ackPrefix: string): void {
    this.#mergeBack();
    const { replies, sequences, sources } = this.#sent;
    const kept = newRing();
    for (const [index, reply] of replies.entries()) {
      if (sources[index] === source) continue;
      kept.replies.push(reply);
      kept.sequences.push(sequences[index] ?? 0);
      kept.sources.push(sources[index] ?? 0);
    }
    this.#sent = kept;
    this.#held = this.#held.filter((reply) => !reply.startsWith(ackPrefix));
    this.#heldNaks = this.#heldNaks.filter(({ reply }) => !reply.startsWith(ackPrefix));
  }

  /**
   * Sends again what may have been lost and what was held. Returns how many. A nak that was held for longer than ack_wait
   * is dropped: the server has redelivered the message, and the nak would take it from its new holder.
   */
  resend(ackWaitMs: number): number {
    const from = this.#clock.now() - ackWaitMs;
    const naks = this.#heldNaks.filter(({ heldAt }) => heldAt >= from);
    const held = this.#held;
    this.#heldNaks = [];
    this.#held = [];
    this.#mergeBack();
    // The ring already contains what was held, except in the mode that keeps none.
    const acks = this.#confirm === 'none' ? held : this.#sent.replies;
    for (const reply of acks) this.#port.send(reply, ACK);
    const now = this.#clock.now();
    for (const { reply, dueAt } of naks) {
      this.#port.send(reply, dueAt === undefined ? NAK : delayed(Math.max(1, Math.round(dueAt - now))));
    }
    this.#schedule();
    return acks.length + naks.length;
  }

  /** Waits until everything sent so far has reached the server. False when it could not be proven in time. */
  async flush(timeoutMs: number): Promise<boolean> {
    if (!this.#port.connected) return this.held === 0 && this.unconfirmed === 0;
    this.#mergeBack();
    const ring = this.#sent;
    this.#sent = newRing();
    this.#confirming = ring;
    try {
      await this.#port.flush(timeoutMs);
      if (this.#confirming === ring) this.#confirming = undefined;
      return this.held === 0;
    } catch {
      this.#mergeBack();
      return false;
    }
  }

  close(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
  }

  #remember(delivery: Settled): void {
    if (this.#confirm === 'none') return;
    this.#sent.replies.push(delivery.reply);
    this.#sent.sequences.push(delivery.sequence);
    this.#sent.sources.push(delivery.source);
    this.#sent.index?.add(`${delivery.source}:${delivery.sequence}:${storedAtMs(delivery.reply)}`);
    if (this.#sent.replies.length === CONFIRM_EVERY) this.#confirmNow();
    else this.#schedule();
  }

  #schedule(): void {
    if (this.#timer !== undefined || this.#sent.replies.length === 0 || !this.#port.connected) return;
    this.#timer = this.#clock.after(CONFIRM_EVERY_MS, () => {
      this.#timer = undefined;
      this.#confirmNow();
    });
  }

  #confirmNow(): void {
    if (this.#confirming !== undefined || !this.#port.connected) return;
    void this.flush(4 * CONFIRM_EVERY_MS).finally(() => this.#schedule());
  }

  #mergeBack(): void {
    const older = this.#confirming;
    if (older === undefined) return;
    this.#confirming = undefined;
    const newer = this.#sent;
    this.#sent = {
      replies: older.replies.concat(newer.replies),
      sequences: older.sequences.concat(newer.sequences),
      sources: older.sources.concat(newer.sources),
      index: undefined,
    };
  }

  async #ackEach(delivery: Settled): Promise<void> {
    this.#awaitingEach++;
    try {
      await this.#port.request(delivery.reply, ACK, { timeoutMs: 4 * CONFIRM_EVERY_MS });
    } catch {
      // No answer: perhaps it arrived, perhaps not. Keep it as an ordinary ack and send it again.
      if (this.#port.connected) this.#port.send(delivery.reply, ACK);
      else this.#held.push(delivery.reply);
      this.#remember(delivery);
    } finally {
      this.#awaitingEach--;
    }
  }
}

/** JetStream takes the delay in nanoseconds. */
const delayed = (delayMs: number): string => `-NAK {"delay":${Math.round(delayMs)}000000}`;

function inRing(ring: Ring, key: string): boolean {
  if (ring.replies.length === 0) return false;
  ring.index ??= new Set(
    ring.replies.map((reply, at) => `${ring.sources[at]}:${ring.sequences[at]}:${storedAtMs(reply)}`),
  );
  return ring.index.has(key);
}
