import type { AttemptRecord } from '../attempts/store.ts';
import type { Permit } from '../limits/limit.ts';
import type { Message } from './message.ts';
import { MessageView } from './message-view.ts';
import type { NatsHeaders, NatsMessage } from '../nats/port.ts';
import { findHeader, lacksHeader, testHeader, type HeaderTest } from '../nats/readable-headers.ts';
import { publishedSubject } from '../partitions/subject-transform.ts';

/** On a redriven message: the id it had before it became a dead letter. */
export const ORIGINAL_ID = 'Dlq-Original-Id';

/** What the server writes into the reply subject of a delivery, as far as it is a number. */
export interface DeliveryMeta {
  /** Delivery count. */
  deliveries: number;
  /** Position in the stream. */
  sequence: number;
  /** Messages waiting behind this one. */
  pending: number;
}

const DOT = 46;
const ZERO = 48;
const PREFIX = '$JS.ACK.';
/** Digits of a time in nanoseconds that are less than a millisecond. */
const NANO_DIGITS = 6;

/**
 * Reads `$JS.ACK.<stream>.<consumer>.<delivered>.<stream seq>.<consumer seq>.<ns>.<pending>` and the newer form with
 * `<domain>.<account hash>` in front of the stream and a token behind, into `into`. False when it is neither. Written
 * out by hand because it runs for every message: splitting the text would make nine strings to read three numbers.
 * `expected` is how it begins for this consumer in the short form.
 */
export function parseAckSubject(reply: string, into: DeliveryMeta, expected?: string): boolean {
  let at = expected !== undefined && reply.startsWith(expected) ? expected.length : afterNames(reply);
  if (at < 0) return false;
  into.deliveries = numberAt(reply, at);
  at = afterDots(reply, at, 1);
  into.sequence = numberAt(reply, at);
  into.pending = numberAt(reply, afterDots(reply, at, 3));
  return into.deliveries > 0 && into.sequence > 0;
}

/** Milliseconds since 1970 at which the server stored the message, from its ack subject; `expected` as above. */
export function storedAtMs(reply: string, expected?: string): number {
  const names = expected !== undefined && reply.startsWith(expected) ? expected.length : afterNames(reply);
  if (names < 0) return 0;
  const from = afterDots(reply, names, 3);
  // As nanoseconds it would be more than a number holds exactly.
  const to = reply.indexOf('.', from) - NANO_DIGITS;
  let ms = 0;
  for (let at = from; at < to; at++) {
    const digit = reply.charCodeAt(at) - ZERO;
    if (digit < 0 || digit > 9) return Number.NaN;
    ms = ms * 10 + digit;
  }
  return ms;
}

/** Where the delivery count begins; -1 when this is no ack subject. */
function afterNames(reply: string): number {
  if (!reply.startsWith(PREFIX)) return -1;
  let dots = 0;
  for (let at = 0; at < reply.length; at++) if (reply.charCodeAt(at) === DOT) dots++;
  return dots === 8 ? afterDots(reply, 0, 4) : dots >= 10 ? afterDots(reply, 0, 6) : -1;
}

function afterDots(text: string, from: number, count: number): number {
  let at = from;
  for (let left = count; left > 0; at++) if (text.charCodeAt(at) === DOT) left--;
  return at;
}

/** NaN when there is no number. */
function numberAt(text: string, from: number): number {
  let value = 0;
  let at = from;
  for (; at < text.length; at++) {
    const digit = text.charCodeAt(at) - ZERO;
    if (digit < 0 || digit > 9) break;
    value = value * 10 + digit;
  }
  return at === from ? Number.NaN : value;
}

/** What all messages of one source share. */
export interface DeliverySource {
  readonly index: number;
  readonly stream: string;
  /** As the spec names it. */
  readonly consumer: string;
  /** The part of the stream that it reads, when that is divided. */
  readonly partition: number | undefined;
  readonly maxAttempts: number;
  /** How its ack subjects begin, unless the server puts a domain in front. */
  readonly ackPrefix: string;
}

/** A claim on an idempotency key. */
export interface HeldClaim {
  readonly key: string;
  readonly fence: number;
  renewedAt: number;
  /** The renewal on its way: completing or releasing meanwhile would look like a claim of another worker. */
  renewing: Promise<void> | undefined;
}

const mapOf = (raw: NatsHeaders): ReadonlyMap<string, readonly string[]> =>
  raw[Symbol.iterator] === undefined
    ? new Map(raw.keys().map((name) => [name, raw.values(name)]))
    : new Map(raw as Iterable<[string, string[]]>);

const NO_HEADERS: ReadonlyMap<string, readonly string[]> = new Map();

/**
 * One message of the stream while this process holds it. What others see of it is `message`.
 *
 * - `waiting`: received, not started (in the buffer, behind its key or in an open batch).
 * - `running`: a handler has it, or its outcome is being carried out.
 * - `settled`: this process is through with it.
 */
export class Delivery<T> {
  /** What handlers and observers get: the same object for as long as the delivery is held. */
  readonly message: Message<T>;
  readonly sequence: number;
  readonly receivedAt: number;
  /** Asked of the client once: it makes a view of its buffer each time. */
  readonly body: Uint8Array;
  /** Where to settle: the newest delivery's reply subject. */
  reply: string;
  /** The server's delivery count. */
  deliveries: number;
  /** Failed runs so far, and this one. */
  attempt = 1;
  /** Deliveries that ended unsettled and not in this process. */
  unknownDeliveries = 0;
  /** What the attempt store has of it. */
  record: AttemptRecord | undefined = undefined;
  phase: 'waiting' | 'running' | 'settled' = 'waiting';
  key: string | undefined = undefined;
  /** Whose limits it is under. */
  limitKey: string | undefined = undefined;
  /** The limits it runs under. */
  permit: Permit | undefined = undefined;
  /** Which life of its consumer it came from: see `LiveConsumers.epoch`. */
  epoch = 0;
  /** When the server last heard that we still hold it. */
  heartbeatAt: number;
  /** Claim on the idempotency key, once there is one. */
  claim: HeldClaim | undefined = undefined;
  /** Another worker took the claim over: it settles the message. */
  claimLost = false;
  /** Calls of the idempotency store that failed in a row. */
  storeFailures = 0;
  /** Its handler runs on though the message is settled: until it returns, no other message of its key may run. */
  hung = false;
  /** Its stream was made again: settling it would settle the message that has its sequence now. */
  outdated = false;
  /** A failure found before the handler could run, e.g. in `orderBy`. */
  fault: { readonly error: unknown } | undefined = undefined;
  readonly #from: DeliverySource;
  readonly #raw: NatsMessage;
  #decoded = false;
  #data: T | undefined = undefined;
  #headers: ReadonlyMap<string, readonly string[]> | undefined = undefined;
  #headerFault: { readonly error: unknown } | undefined = undefined;

  constructor(raw: NatsMessage, reply: string, meta: DeliveryMeta, from: DeliverySource, receivedAt: number) {
    this.#raw = raw;
    this.body = raw.data;
    this.#from = from;
    this.reply = reply;
    this.deliveries = meta.deliveries;
    this.sequence = meta.sequence;
    this.receivedAt = receivedAt;
    this.heartbeatAt = receivedAt;
    this.message = new MessageView(this);
  }

  get stream(): string {
    return this.#from.stream;
  }
  get consumer(): string {
    return this.#from.consumer;
  }
  get maxAttempts(): number {
    return this.#from.maxAttempts;
  }
  /** Index of the source it came from. */
  get source(): number {
    return this.#from.index;
  }
  /** As it was published: the stream puts the partition in front. */
  get subject(): string {
    return this.#from.partition === undefined ? this.#raw.subject : publishedSubject(this.#raw.subject);
  }
  get partition(): number | undefined {
    return this.#from.partition;
  }
  get bytes(): number {
    return this.body.length;
  }
  /** Never throws: observers and log lines read it, also of a message whose headers cannot be read. */
  get id(): string {
    const id = this.firstHeader(ORIGINAL_ID) ?? this.firstHeader('Nats-Msg-Id');
    return id ?? `${this.stream}:${this.sequence}`;
  }
  /** Empty when they cannot be read; see `headerFaultUnless`. Never throws. */
  get headers(): ReadonlyMap<string, readonly string[]> {
    if (this.#headers !== undefined) return this.#headers;
    try {
      const raw = this.#raw.headers;
      this.#headers = raw === undefined ? NO_HEADERS : mapOf(raw);
    } catch (error) {
      this.#headerFault = { error };
      this.#headers = NO_HEADERS;
    }
    return this.#headers;
  }
  /**
   * Why the headers cannot be read; undefined when they can, or `isReadable` is certain of it. The client parses them at
   * the first access and throws for names that other clients may send, e.g. with a blank: known before the handler runs,
   * which would otherwise take the message for one without headers.
   */
  headerFaultUnless(
    isReadable: ((message: NatsMessage) => boolean) | undefined,
  ): { readonly error: unknown } | undefined {
    if (isReadable?.(this.#raw) === true) return undefined;
    try {
      void this.#raw.headers;
    } catch (error) {
      this.#headerFault = { error };
      this.#headers = NO_HEADERS;
    }
    return this.#headerFault;
  }
  /** With stream and sequence the identity of the message: a stream made again counts from 1 again. */
  get storedAtMs(): number {
    return storedAtMs(this.reply, this.#from.ackPrefix);
  }
  get publishedAt(): Date {
    return new Date(this.storedAtMs);
  }
  get data(): T {
    if (!this.#decoded) throw new Error('the body was not decoded yet');
    return this.#data as T;
  }

  /** As `headers.get(name)?.[0]`, without parsing the others where that can be avoided. Never throws. */
  firstHeader(name: string): string | undefined {
    if (this.#headers !== undefined) return this.#headers.get(name)?.[0];
    const found = findHeader(this.#raw, name);
    if (found !== undefined) return found ?? undefined;
    try {
      const headers = this.#raw.headers;
      return headers !== undefined && headers.has(name) ? headers.get(name) : undefined;
    } catch {
      return undefined;
    }
  }

  /** As `test` of the bytes of `firstHeader(name)`; undefined where they cannot be seen. */
  testHeader(name: string, test: HeaderTest): boolean | undefined {
    return this.#headers === undefined ? testHeader(this.#raw, name, test) : undefined;
  }

  /** True only where it is certain that `headers` has none of this name in any spelling; `name` in lower case. */
  lacksHeader(name: string): boolean {
    return this.#headers === undefined && lacksHeader(this.#raw, name);
  }

  /** Decodes the body once; throws what the decoder throws. */
  decode(decoder: (bytes: Uint8Array, subject: string) => T): void {
    if (this.#decoded) return;
    this.#data = decoder(this.body, this.subject);
    this.#decoded = true;
  }
}
