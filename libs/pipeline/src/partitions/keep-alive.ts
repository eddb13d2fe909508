import type { Clock } from '../clock.ts';
import { PARTITION_GROUP } from '../nats/jetstream-api.ts';
import type { NatsMessage, NatsPort, NatsSubscription } from '../nats/port.ts';

/** Sent so often within the time of a pin. */
const PER_TTL = 4;

interface Sent {
  readonly source: number;
  readonly pin: string;
  readonly at: number;
}

/**
 * Keeps pins while nothing is pulled: when every slot is taken, or at the end. A pull for one byte renews the pin and can
 * be answered with no message, only with a status line.
 */
export class KeepAlive {
  readonly #port: NatsPort;
  readonly #clock: Clock;
  readonly #answered: (source: number, pin: string, sentAt: number, isPinned: boolean) => void;
  readonly #sent = new Map<number, Sent>();
  readonly #sentAt = new Map<number, number>();
  #inbox = '';
  #subscription: NatsSubscription | undefined;
  #next = 0;

  constructor(
    port: NatsPort,
    clock: Clock,
    answered: (source: number, pin: string, sentAt: number, isPinned: boolean) => void,
  ) {
    this.#port = port;
    this.#clock = clock;
    this.#answered = answered;
  }

  /** A fresh inbox: what was asked before is forgotten. */
  open(): void {
    this.close();
    this.#inbox = this.#port.inbox();
    this.#subscription = this.#port.subscribe(`${this.#inbox}.*`, (message) => this.#receive(message));
  }

  /** Sends one when it is time. */
  renew(
    source: number,
    pin: string,
    ttlMs: number,
    consumer: { readonly stream: string; readonly name: string },
  ): void {
    const now = this.#clock.now();
    if (now - (this.#sentAt.get(source) ?? Number.NEGATIVE_INFINITY) < ttlMs / PER_TTL) return;
    this.#sentAt.set(source, now);
    for (const [number, { source: of, at }] of this.#sent)
      if (of === source && now - at > ttlMs) this.#sent.delete(number);
    const number = this.#next++;
    this.#sent.set(number, { source, pin, at: now });
    this.#port.send(
      `${this.#port.apiPrefix}.CONSUMER.MSG.NEXT.${consumer.stream}.${consumer.name}`,
      JSON.stringify({ batch: 1, max_bytes: 1, no_wait: true, group: PARTITION_GROUP, id: pin }),
      { reply: `${this.#inbox}.${number}` },
    );
  }

  /** The next `renew` sends at once. */
  hurry(source: number): void {
    this.#sentAt.delete(source);
  }

  close(): void {
    this.#subscription?.unsubscribe();
    this.#subscription = undefined;
    this.#sent.clear();
    this.#sentAt.clear();
  }

  #receive({ subject, headers }: NatsMessage): void {
    const number = Number(subject.slice(subject.lastIndexOf('.') + 1));
    const sent = this.#sent.get(number);
    if (sent === undefined || headers === undefined) return;
    this.#sent.delete(number);
    const { code, description } = headers;
    if (code === 423) this.#answered(sent.source, sent.pin, sent.at, false);
    // No message, more pulls than messages, or one of more than a byte: the pull was taken.
    else if (code === 404 || code === 408 || (code === 409 && /maxbytes/i.test(description)))
      this.#answered(sent.source, sent.pin, sent.at, true);
  }
}
