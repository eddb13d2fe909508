import type { ConnectionEvent, NatsPort } from '../nats/port.ts';
import type { Puller } from '../pull/puller.ts';
import type { SourceHealth } from '../pull/source-health.ts';
import type { Settlements } from './settlements.ts';

type Denied = Extract<ConnectionEvent, { type: 'denied' }>;

/**
 * Permission violations of the connection, brought to the source they concern. The server answers a publish that it
 * refuses on the connection, not on the message, and a round trip after it succeeds: without this a refused ack would
 * look like one that arrived, and its message would be handled again after every ack_wait.
 */
export class Denials {
  readonly #port: NatsPort;
  readonly #settlements: Settlements;
  readonly #pullers: readonly Puller[];
  readonly #sources: readonly SourceHealth[];
  /** By source: acks refused so far. */
  readonly #counts: number[];

  constructor(port: NatsPort, settlements: Settlements, pullers: readonly Puller[], sources: readonly SourceHealth[]) {
    this.#port = port;
    this.#settlements = settlements;
    this.#pullers = pullers;
    this.#sources = sources;
    this.#counts = pullers.map(() => 0);
  }

  noted({ operation, subject }: Denied): void {
    for (const [index, puller] of this.#pullers.entries()) {
      if (operation === 'publish' && isAckOf(subject, puller.options)) {
        this.#counts[index] = (this.#counts[index] ?? 0) + 1;
        this.#settlements.setDenied(index, true);
        this.#sources[index]?.denied('settle', subject);
      } else if (puller.owns(subject)) {
        this.#sources[index]?.denied(operation === 'publish' ? 'pull' : 'subscribe', subject);
      }
    }
  }

  /** A new connection may have another user: what is refused on it is noted again. */
  reset(): void {
    for (const index of this.#pullers.keys()) this.#settlements.setDenied(index, false);
  }

  /** Sends one refused ack again, and the rest when that one is taken. Resolves to whether acks are allowed. */
  async probe(index: number): Promise<boolean> {
    const before = this.#counts[index];
    if (!this.#settlements.probe(index)) return false;
    await this.#port.flush();
    if (this.#counts[index] !== before) return false;
    this.#settlements.setDenied(index, false);
    this.#settlements.resendUnconfirmed();
    return true;
  }
}

/** `$JS.ACK.<stream>.<consumer>.` of today, or with `<domain>.<account hash>` in front of the stream. */
function isAckOf(subject: string, { stream, consumer }: Puller['options']): boolean {
  if (!subject.startsWith('$JS.ACK.')) return false;
  const tokens = subject.split('.');
  return (tokens[2] === stream && tokens[3] === consumer) || (tokens[4] === stream && tokens[5] === consumer);
}
