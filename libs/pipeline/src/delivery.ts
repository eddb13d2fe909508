import type { Message } from './message.ts';
import type { NatsMessage } from './port.ts';

/** What the server writes into the reply subject of a delivery. */
export interface DeliveryMeta {
  readonly stream: string;
  readonly consumer: string;
  readonly attempt: number;
  readonly sequence: number;
  /** Nanoseconds since 1970, as text: it does not fit a number. */
  readonly publishedNs: string;
  /** Messages waiting behind this one. */
  readonly pending: number;
}

/**
 * Reads `$JS.ACK.<stream>.<consumer>.<delivered>.<stream seq>.<consumer seq>.<ns>.<pending>` and the newer form with
 * `<domain>.<account hash>` in front of the stream and a token behind. Undefined when it is neither.
 */
export function parseAckSubject(reply: string): DeliveryMeta | undefined {
  const tokens = reply.split('.');
  const base = tokens.length === 9 ? 2 : tokens.length >= 11 ? 4 : -1;
  if (base < 0 || tokens[0] !== '$JS' || tokens[1] !== 'ACK') return undefined;
  const attempt = Number(tokens[base + 2]);
  const sequence = Number(tokens[base + 3]);
  if (!(attempt > 0) || !(sequence > 0)) return undefined;
  return {
    stream: tokens[base] ?? '',
    consumer: tokens[base + 1] ?? '',
    attempt,
    sequence,
    publishedNs: tokens[base + 5] ?? '0',
    pending: Number(tokens[base + 6] ?? 0),
  };
}

const NO_HEADERS: ReadonlyMap<string, readonly string[]> = new Map();

/**
 * One message of the stream while this process holds it. It is also the `Message` a handler sees.
 *
 * - `waiting`: received, not started (in a buffer, a lane or an open batch).
 * - `running`: a handler has it, or its outcome is being carried out.
 * - `settled`: this process is through with it.
 */
export class Delivery<T> implements Message<T> {
  readonly stream: string;
  readonly consumer: string;
  readonly sequence: number;
  readonly maxAttempts: number;
  readonly receivedAt: number;
  /** Index of the source it came from. */
  readonly source: number;
  /** Where to settle: the newest delivery's reply subject. */
  reply: string;
  attempt: number;
  phase: 'waiting' | 'running' | 'settled' = 'waiting';
  key: string | undefined;
  /** When the server last heard that we still hold it. */
  beatAt: number;
  /** Claim on the idempotency key, once there is one. */
  claim: { readonly key: string; readonly fence: number; renewedAt: number } | undefined;
  /** A failure found before the handler could run, e.g. in `orderBy`. */
  fault: { readonly error: unknown } | undefined;
  readonly #raw: NatsMessage;
  readonly #publishedNs: string;
  #decoded: { readonly value: T } | undefined;
  #headers: ReadonlyMap<string, readonly string[]> | undefined;

  constructor(raw: NatsMessage, meta: DeliveryMeta, source: number, maxAttempts: number, receivedAt: number) {
    this.#raw = raw;
    this.reply = raw.reply ?? '';
    this.stream = meta.stream;
    this.consumer = meta.consumer;
    this.attempt = meta.attempt;
    this.sequence = meta.sequence;
    this.#publishedNs = meta.publishedNs;
    this.source = source;
    this.maxAttempts = maxAttempts;
    this.receivedAt = receivedAt;
    this.beatAt = receivedAt;
  }

  get subject(): string {
    return this.#raw.subject;
  }
  get body(): Uint8Array {
    return this.#raw.data;
  }
  get bytes(): number {
    return this.#raw.data.length;
  }
  get id(): string {
    const headers = this.#raw.headers;
    return headers !== undefined && headers.has('Nats-Msg-Id')
      ? headers.get('Nats-Msg-Id')
      : `${this.stream}:${this.sequence}`;
  }
  get headers(): ReadonlyMap<string, readonly string[]> {
    if (this.#headers === undefined) {
      const raw = this.#raw.headers;
      this.#headers = raw === undefined ? NO_HEADERS : new Map(raw.keys().map((name) => [name, raw.values(name)]));
    }
    return this.#headers;
  }
  get publishedAt(): Date {
    return new Date(Number(this.#publishedNs.slice(0, -6)));
  }
  get data(): T {
    if (this.#decoded === undefined) throw new Error('the body was not decoded yet');
    return this.#decoded.value;
  }

  /** Decodes the body once; throws what the decoder throws. */
  decode(decoder: (bytes: Uint8Array, subject: string) => T): void {
    this.#decoded ??= { value: decoder(this.#raw.data, this.#raw.subject) };
  }
}
