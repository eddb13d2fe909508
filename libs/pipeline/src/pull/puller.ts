import type { Clock } from '../clock.ts';
import type { NatsHeaders, NatsMessage, NatsPort, NatsSubscription } from '../nats/port.ts';

export interface PullerOptions {
  readonly stream: string;
  readonly consumer: string;
  readonly expiresMs: number;
  readonly idleHeartbeatMs: number;
  /** The consumer's priority group, for a consumer that is pinned to one client. */
  readonly group?: string | undefined;
}

/** Messages of one pull without a limit of the consumer. */
export const MOST_PER_PULL = 65_536;

export interface PullerEvents {
  /** A message of the stream. */
  message(raw: NatsMessage): void;
  /** The server has pinned the consumer to another client, or to none. */
  unpinned(pin: string): void;
  /** A pull is over; the slots it asked for are free again. */
  ended(): void;
  /** The server would not take the pull: ask again later, not now. */
  refused(description: string): void;
  /** The first message or heartbeat after `awaitingLife` was set. */
  alive(): void;
  /** The stream or the consumer is not there. */
  missing(description: string): void;
  /** A delivery could not be taken in. */
  failed(error: unknown): void;
  /** A message came without the body it was stored with. What is not taken in is brought back by ack_wait. */
  bodyless(raw: NatsMessage): void;
}

/** One pull request that may still be answered. */
interface Pull {
  left: number;
  readonly sentAt: number;
  readonly pin: string | undefined;
}

/** A pull that the client's and the server's clock disagree about is given this long. */
const EXPIRY_SLACK_MS = 1000;

/**
 * The conversation with one durable consumer: pull requests out, messages and status lines in.
 *
 * Each connection has its own inbox (an connections): what an older one still delivers cannot be taken for an answer to a
 * newer pull. `requested` is how many messages have been asked for and neither delivered nor given up by the server.
 */
export class Puller {
  readonly options: PullerOptions;
  /** Asked for and not yet delivered. */
  requested = 0;
  /** Messages waiting in the stream, as of the newest delivery. */
  lag = 0;
  /** When the server last spoke on the inbox. */
  heardAt = 0;
  /** Set to be told of the next sign of life. */
  awaitingLife = false;
  /** Consumer limits on one pull. */
  maxBatch = MOST_PER_PULL;
  /**
   * Until then a message that looks as if its body was left out is taken as it is: the consumer was looked at, and a
   * publisher may write any header.
   */
  bodylessUntil = 0;
  /** The pin to pull with. */
  pinId: string | undefined;
  /** When the pull was sent that the newest message answers. */
  answeredSentAt = 0;
  readonly #port: NatsPort;
  readonly #clock: Clock;
  readonly #events: PullerEvents;
  readonly #requestSubject: string;
  #inbox = '';
  #subscription: NatsSubscription | undefined;
  #pulls = new Map<string, Pull>();
  #pullId = 0;
  #openUntil = 0;
  #askedAt = 0;
  #whenIdle: (() => void)[] = [];

  constructor(port: NatsPort, clock: Clock, options: PullerOptions, events: PullerEvents) {
    this.#port = port;
    this.#clock = clock;
    this.#events = events;
    this.options = options;
    this.#requestSubject = `${port.apiPrefix}.CONSUMER.MSG.NEXT.${options.stream}.${options.consumer}`;
  }

  /** Pulls that may still be answered: at most as many as messages are requested. */
  get openPulls(): number {
    return this.#pulls.size;
  }

  /** Whether what is published or subscribed here belongs to the conversation. */
  owns(subject: string): boolean {
    return subject === this.#requestSubject || (this.#inbox !== '' && subject.startsWith(this.#inbox));
  }

  get isOpen(): boolean {
    return this.#subscription !== undefined;
  }

  /** Listens on a fresh inbox. What was asked on an older one is forgotten. */
  open(): void {
    this.close();
    this.#listen();
  }

  /** Stops listening at once. */
  close(): void {
    this.#subscription?.unsubscribe();
    this.#subscription = undefined;
    this.#forget();
  }

  /**
   * Moves to a fresh inbox after a stall. The old one stays open until its pulls must have expired: the server may still
   * answer them, and a message without a listener is gone until ack_wait, and later ones would pass it.
   */
  renew(): void {
    const old = this.#subscription;
    // It throws where the connection is being drained: the old inbox is then listened on as before.
    this.#listen();
    this.#forget();
    if (old !== undefined) void this.#retire(old);
  }

  /** Asks for `count` more messages. */
  request(count: number): void {
    const batch = Math.min(count, this.maxBatch);
    const now = this.#clock.now();
    if (this.requested === 0) {
      this.#pulls.clear();
      // Silence is measured from the moment there was something to say.
      this.#askedAt = now;
    }
    const id = (this.#pullId++).toString(36);
    const { expiresMs, idleHeartbeatMs, group } = this.options;
    const { pinId } = this;
    this.requested += batch;
    this.#pulls.set(id, { left: batch, sentAt: now, pin: pinId });
    const pinned = pinId === undefined ? '' : `,"id":"${pinId}"`;
    const grouped = group === undefined ? '' : `,"group":"${group}"${pinned}`;
    this.#openUntil = now + expiresMs + EXPIRY_SLACK_MS;
    this.#port.send(
      this.#requestSubject,
      `{"batch":${batch},"expires":${expiresMs}000000,"idle_heartbeat":${idleHeartbeatMs}000000${grouped}}`,
      { reply: `${this.#inbox}.${id}` },
    );
  }

  /** Forgets pulls that must have expired even if the server never said so. True when there were any. */
  expire(): boolean {
    if (this.requested === 0 || this.#clock.now() < this.#openUntil) return false;
    this.#forget();
    return true;
  }

  /** The server took no pull: none is open. */
  forgetPulls(): void {
    this.#forget();
  }

  /** How long the server has owed us a word; 0 when no pull is open. */
  silentMs(): number {
    return this.requested === 0 ? 0 : this.#clock.now() - Math.max(this.heardAt, this.#askedAt);
  }

  /** Resolves when no pull is open any more: at most `expiresMs` from the last one. */
  idle(): Promise<void> {
    if (this.requested === 0) return Promise.resolve();
    return new Promise((resolve) => this.#whenIdle.push(resolve));
  }

  /** Stops listening after everything on the wire has been handed over. */
  async drain(): Promise<void> {
    const subscription = this.#subscription;
    this.#subscription = undefined;
    await subscription?.drain();
  }

  #listen(): void {
    const inbox = this.#port.inbox();
    this.#subscription = this.#port.subscribe(`${inbox}.*`, (raw) => {
      // A throw in the callback of a subscription would make the client close the connection of every pipeline.
      try {
        this.#receive(raw, inbox);
      } catch (error) {
        this.#events.failed(error);
      }
    });
    this.#inbox = inbox;
    this.heardAt = this.#clock.now();
  }

  /**
   * Stops listening to an inbox. On a link that stands still its pulls may not even be at the server, and live from when they
   * arrive there; and what it was sent before they ended may be on the way.
   */
  async #retire(inbox: NatsSubscription): Promise<void> {
    try {
      if (!(await this.#isAnswered())) return;
      await this.#sleep(this.options.expiresMs + EXPIRY_SLACK_MS);
      await this.#isAnswered();
    } finally {
      inbox.unsubscribe();
    }
  }

  /** Resolves when the server has answered on this connection; to false when there is none. */
  async #isAnswered(): Promise<boolean> {
    while (this.#port.connected) {
      try {
        await this.#port.flush(EXPIRY_SLACK_MS);
        return true;
      } catch {
        await this.#sleep(EXPIRY_SLACK_MS);
      }
    }
    return false;
  }

  #sleep(ms: number): Promise<void> {
    return new Promise((resolve) => {
      this.#clock.after(ms, resolve);
    });
  }

  #receive(raw: NatsMessage, inbox: string): void {
    // A late answer to an older inbox is a message like any other, but no sign of life of this one.
    const current = inbox === this.#inbox;
    if (current) this.heardAt = this.#clock.now();
    // The client makes a view of its buffer each time it is asked.
    const isEmpty = raw.data.length === 0;
    if (isEmpty) {
      const headers = statusHeaders(raw);
      if (headers !== undefined) {
        if (current) this.#status(headers.code, headers.description, raw.subject, headers.get('Nats-Pending-Messages'));
        return;
      }
    }
    if (current && this.requested > 0) this.#delivered();
    if (current) this.#alive();
    if (isEmpty && isBodyLeftOut(raw) && this.#clock.now() > this.bodylessUntil) this.#events.bodyless(raw);
    else this.#events.message(raw);
    if (this.requested === 0) this.#wakeIdle();
  }

  /**
   * A message does not say which pull it answers; the server begins with the oldest. A pull that is used up ends without a
   * status, so its entry goes here: under steady load `requested` never reaches 0, which would clear them all.
   */
  #delivered(): void {
    this.requested--;
    for (const [id, pull] of this.#pulls) {
      this.answeredSentAt = pull.sentAt;
      if (pull.left > 1) pull.left--;
      else this.#pulls.delete(id);
      return;
    }
  }

  #status(code: number, description: string, subject: string, pending: string): void {
    if (code === 100) {
      this.#alive();
      return;
    }
    const id = subject.slice(subject.lastIndexOf('.') + 1);
    const pull = this.#pulls.get(id);
    this.#pulls.delete(id);
    // A server that does not say how much of the pull is left leaves us the whole of it at most.
    const left = pending === '' ? (pull?.left ?? 0) : Number(pending);
    this.requested = this.#pulls.size === 0 ? 0 : Math.max(0, this.requested - left);
    if (this.requested === 0) this.#wakeIdle();
    if (code === 423) {
      if (pull?.pin !== undefined) this.#events.unpinned(pull.pin);
      this.#events.ended();
    } else if (code === 503 || code === 404) {
      this.#events.missing(
        code === 503 ? 'no responders for the pull: the stream or the consumer does not exist' : description,
      );
    } else if (code === 400 || (code === 409 && /^exceeded/i.test(description))) this.#events.refused(description);
    else if (code === 409 && /(deleted|push based)/i.test(description)) this.#events.missing(description);
    else if (code === 409) this.#events.refused(description);
    else this.#events.ended();
  }

  #alive(): void {
    if (!this.awaitingLife) return;
    this.awaitingLife = false;
    this.#events.alive();
  }

  #forget(): void {
    this.requested = 0;
    this.#pulls.clear();
    this.#wakeIdle();
  }

  #wakeIdle(): void {
    const waiting = this.#whenIdle;
    this.#whenIdle = [];
    for (const wake of waiting) wake();
  }
}

/** Whether the server says the size of a body that it did not send, as it does for a consumer with `headers_only`. */
function isBodyLeftOut(raw: NatsMessage): boolean {
  try {
    return Number(raw.headers?.get('Nats-Msg-Size') ?? 0) > 0;
  } catch {
    return false;
  }
}

/** The headers of a status line of the server; undefined for a message, also for one whose headers cannot be read. */
function statusHeaders(raw: NatsMessage): NatsHeaders | undefined {
  try {
    const { headers } = raw;
    return headers === undefined || headers.code === 0 ? undefined : headers;
  } catch {
    return undefined;
  }
}
