import type { Clock } from '../clock.ts';
import { matches } from '../nats/subject.ts';
import type { HeaderInput, NatsHeaders, NatsMessage } from '../nats/port.ts';

/** Who listens where. */
export interface Listener {
  readonly pattern: readonly string[];
  readonly onMessage: (message: NatsMessage) => void;
}

/** Core publish and subscribe in one process: subjects with wildcards, delivery at the end of the turn. */
export class Router {
  readonly #clock: Clock;
  readonly #listeners = new Set<Listener>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  listen(subject: string, onMessage: (message: NatsMessage) => void): Listener {
    const listener = { pattern: subject.split('.'), onMessage };
    this.#listeners.add(listener);
    return listener;
  }

  unlisten(listener: Listener): void {
    this.#listeners.delete(listener);
  }

  /** Whether it has a subscriber. */
  hasInterest(subject: string): boolean {
    const tokens = subject.split('.');
    return [...this.#listeners].some(({ pattern }) => matches(pattern, tokens));
  }

  /** Hands a message to every subscriber of `to`; `message.subject` may name where it came from instead. */
  deliver(to: string, message: NatsMessage): void {
    const tokens = to.split('.');
    for (const listener of this.#listeners) {
      if (!matches(listener.pattern, tokens)) continue;
      this.#clock.soon(() => {
        if (this.#listeners.has(listener)) listener.onMessage(message);
      });
    }
  }
}

/** Headers as a received message has them. Throws for a name that nats.js would refuse to parse. */
export function receivedHeaders(input: HeaderInput, code = 0, description = ''): NatsHeaders {
  for (const name of Object.keys(input)) {
    if (!/^[\x21-\x39\x3b-\x7e]*$/.test(name)) throw new TypeError(`${name} is not a valid header name`);
  }
  const values = new Map(
    Object.entries(input).map(([name, value]): [string, readonly string[]] => [
      name,
      typeof value === 'string' ? [value] : value,
    ]),
  );
  return {
    code,
    description,
    get: (name) => values.get(name)?.[0] ?? '',
    has: (name) => values.has(name),
    keys: () => [...values.keys()],
    values: (name) => [...(values.get(name) ?? [])],
  };
}
