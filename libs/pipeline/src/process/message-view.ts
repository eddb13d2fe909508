import type { Message } from './message.ts';

/**
 * What handlers, observers and the functions of a spec get of a delivery. It can be read, and nothing more: the delivery
 * itself has the state that settling depends on.
 */
export class MessageView<T> implements Message<T> {
  readonly #delivery: Message<T>;

  constructor(delivery: Message<T>) {
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
}
