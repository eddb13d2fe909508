import type { Clock, Timer } from '../clock.ts';
import type { NatsPort } from '../nats/port.ts';
import { parseAckSubject, storedAtMs } from '../process/delivery.ts';
import type { HeldMessage } from './restored-state.ts';

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
  /** Nothing that settles is sent: the connection broke, and the broker behind the new one has not been looked at. */
  #holding = false;
  /** How much of what is kept was settled before the connection came back: later entries are of messages as they are now. */
  #older: { ring: number; held: number; naks: number } | undefined;
  /** Sources whose acks the server refuses for want of permission: a round trip proves nothing for them. */
  readonly #denied = new Set<number>();

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

  /** Messages whose settlement may not have arrived. */
  get unprovenCount(): number {
    // A held ack is in the ring as well, except in the mode that keeps none.
    return this.unconfirmed + this.#heldNaks.length + (this.#confirm === 'none' ? this.#held.length : 0);
  }

  /** A promise only when the ack has to be waited for (`each`). It never rejects. */
  ack(delivery: Settled): Promise<void> | undefined {
    if (!this.#sending) {
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
    if (!this.#sending) {
      const dueAt = delayMs === undefined ? undefined : this.#clock.now() + delayMs;
      this.#heldNaks.push({ reply: delivery.reply, dueAt, heldAt: this.#clock.now() });
      return;
    }
    this.#port.send(delivery.reply, delayMs === undefined ? NAK : delayed(delayMs));
  }

  /** Holds what settles from now on, until `resend`. */
  hold(): void {
    this.#holding = true;
    this.#older = undefined;
    // In one ring, in order: nothing is confirmed while it holds.
    this.#mergeBack();
  }

  /** The connection is back. What is settled from here on is of messages of the broker behind it. */
  reconnected(): void {
    this.#older = { ring: this.#sent.replies.length, held: this.#held.length, naks: this.#heldNaks.length };
  }

  get #sending(): boolean {
    return this.#port.connected && !this.#holding;
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

  /** Whether the server refuses what settles messages of this source. What is refused is kept. */
  setDenied(source: number, denied: boolean): void {
    if (denied) this.#denied.add(source);
    else this.#denied.delete(source);
  }

  /** Sends one ack of the source again that is not proven, to learn whether acks are allowed now. False: one is on its way. */
  probe(source: number): boolean {
    if (this.#awaitingEach > 0) return false;
    this.#mergeBack();
    const at = this.#sent.sources.indexOf(source);
    const reply = this.#sent.replies[at];
    if (reply !== undefined) this.#port.send(reply, ACK);
    return true;
  }

  /** What was settled for the consumer and may not have arrived: sent again, it would settle what has its sequence now. */
  unproven(ackPrefix: string): readonly HeldMessage[] {
    const replies = [
      ...this.#held,
      ...this.#heldNaks.map(({ reply }) => reply),
      ...this.#sent.replies,
      ...(this.#confirming?.replies ?? []),
    ];
    return replies
      .filter((reply) => reply.startsWith(ackPrefix))
      .map((reply) => ({ sequence: sequenceOf(reply), storedAtMs: storedAtMs(reply) }));
  }

  /** From a sequence on the stream has other messages: what is kept for the earlier ones would settle those. */
  forget(source: number, ackPrefix: string, from = 0): void {
    const isReplaced = (reply: string): boolean => reply.startsWith(ackPrefix) && sequenceOf(reply) >= from;
    this.#mergeBack();
    const { ring, held, naks } = this.#older ?? {
      ring: Number.POSITIVE_INFINITY,
      held: Number.POSITIVE_INFINITY,
      naks: Number.POSITIVE_INFINITY,
    };
    const before = { ring: this.#sent.replies.length, held: this.#held.length, naks: this.#heldNaks.length };
    this.#sent = only(this.#sent, (one, sequence, at) => at >= ring || one !== source || sequence < from);
    this.#held = this.#held.filter((reply, at) => at >= held || !isReplaced(reply));
    this.#heldNaks = this.#heldNaks.filter(({ reply }, at) => at >= naks || !isReplaced(reply));
    if (this.#older === undefined) return;
    this.#older = {
      ring: ring - (before.ring - this.#sent.replies.length),
      held: held - (before.held - this.#held.length),
      naks: naks - (before.naks - this.#heldNaks.length),
    };
  }

  /**
   * Sends again what may have been lost and what was held. Returns how many. A nak that was held for longer than ack_wait
   * is dropped: the server has redelivered the message, and the nak would take it from its new holder.
   */
  resend(ackWaitMs: number): number {
    this.#holding = false;
    this.#older = undefined;
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

  /** Sends every ack again that is not proven: repeated it is harmless. */
  resendUnconfirmed(): void {
    this.#mergeBack();
    for (const reply of this.#sent.replies) this.#port.send(reply, ACK);
    this.#schedule();
  }

  /** Waits until everything sent so far has reached the server. False when it could not be proven in time. */
  async flush(timeoutMs: number): Promise<boolean> {
    // A round trip would prove acks that are only held.
    if (!this.#sending) return this.held === 0 && this.unconfirmed === 0;
    this.#mergeBack();
    const ring = this.#sent;
    this.#sent = newRing();
    this.#confirming = ring;
    try {
      await this.#port.flush(timeoutMs);
      if (this.#confirming === ring) {
        this.#confirming = this.#denied.size === 0 ? undefined : only(ring, (source) => this.#denied.has(source));
        if (this.#confirming !== undefined) this.#mergeBack();
      }
      return this.held === 0 && this.#denied.size === 0;
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
    if (this.#confirming !== undefined || !this.#sending) return;
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

/** The part of a ring whose sources pass. */
function only(
  { replies, sequences, sources }: Ring,
  pass: (source: number, sequence: number, at: number) => boolean,
): Ring {
  const kept = newRing();
  for (const [index, reply] of replies.entries()) {
    const source = sources[index] ?? 0;
    const sequence = sequences[index] ?? 0;
    if (!pass(source, sequence, index)) continue;
    kept.replies.push(reply);
    kept.sequences.push(sequence);
    kept.sources.push(source);
  }
  return kept;
}

function sequenceOf(reply: string): number {
  const meta = { deliveries: 0, sequence: 0, pending: 0 };
  return parseAckSubject(reply, meta) ? meta.sequence : 0;
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
