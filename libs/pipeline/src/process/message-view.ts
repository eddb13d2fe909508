import type { HeaderTest } from '../nats/readable-headers.ts';
import type { DeliveryInfo, Message } from './message.ts';

/** A delivery that can look a header up without parsing the others. */
interface Source<T> extends Message<T> {
  firstHeader(name: string): string | undefined;
  lacksHeader(name: string): boolean;
  testHeader(name: string, test: HeaderTest): boolean | undefined;
}

/**
 * What handlers, observers and the functions of a spec get of a delivery. It can be read, and nothing more: the delivery
 * itself has the state that settling depends on.
 */
export class MessageView<T> implements Message<T> {
  readonly #delivery: Source<T>;

  constructor(delivery: Source<T>) {
    this.#delivery = delivery;
  }

  get data(): T {
    return this.#delivery.data;
  }
  get id(): string {
    return this.#delivery.id;
  }
  get subject(): string {
    return this.#delivery.subject;
  }
  get key(): string | undefined {
    return this.#delivery.key;
  }
  get headers(): ReadonlyMap<string, readonly string[]> {
    return this.#delivery.headers;
  }
  get publishedAt(): Date {
    return this.#delivery.publishedAt;
  }
  get stream(): string {
    return this.#delivery.stream;
  }
  get consumer(): string {
    return this.#delivery.consumer;
  }
  get sequence(): number {
    return this.#delivery.sequence;
  }
  get attempt(): number {
    return this.#delivery.attempt;
  }
  get deliveries(): number {
    return this.#delivery.deliveries;
  }
  get maxAttempts(): number {
    return this.#delivery.maxAttempts;
  }
  get bytes(): number {
    return this.#delivery.bytes;
  }
  static firstHeader(message: DeliveryInfo, name: string): string | undefined {
    return #delivery in message
      ? (message as MessageView<unknown>).#delivery.firstHeader(name)
      : message.headers.get(name)?.[0];
  }

  static testHeader(message: DeliveryInfo, name: string, test: HeaderTest): boolean | undefined {
    return #delivery in message ? (message as MessageView<unknown>).#delivery.testHeader(name, test) : undefined;
  }

  static lacksHeader(message: DeliveryInfo, name: string): boolean {
    return #delivery in message && (message as MessageView<unknown>).#delivery.lacksHeader(name);
  }
}

/** As `message.headers.get(name)?.[0]`, at a fraction of the price: the client parses all headers at once. */
export const firstHeader = (message: DeliveryInfo, name: string): string | undefined =>
  MessageView.firstHeader(message, name);

/** True only where it is certain, without parsing them, that no header has this name in any spelling. */
export const lacksHeader = (message: DeliveryInfo, name: string): boolean => MessageView.lacksHeader(message, name);

/** Whether the bytes of a header pass a test, without making a text of them; undefined where they cannot be seen. */
export const testHeader = (message: DeliveryInfo, name: string, test: HeaderTest): boolean | undefined =>
  MessageView.testHeader(message, name, test);
