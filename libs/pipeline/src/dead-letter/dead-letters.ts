import type { Clock } from '../clock.ts';
import { PublishError } from '../errors.ts';
import type { HeaderInput, PubAck, PublishOptions } from '../nats/port.ts';
import type { Delivery } from '../process/delivery.ts';
import { isInstance } from '../process/describe-error.ts';
import type { Decision } from '../process/retry-decision.ts';
import type { ResolvedSpec } from '../config/resolve-spec.ts';
import { deadLetterRecord, smallerRecord } from './record.ts';
import type { DeadLetterRecord, RecordSize } from './record.ts';

export type DeadLetterDecision = Extract<Decision, { kind: 'deadLetter' }>;

/** Failures whose record could not be published: remembered so that the next delivery keeps the true reason. */
const REMEMBERED_FAILURES = 1000;
const MESSAGE_TOO_LARGE = 10_054;

/** Stores the records of messages given up, and remembers which could not be stored yet. */
export class DeadLetters<T, D> {
  readonly #spec: ResolvedSpec<T, D>;
  readonly #clock: Clock;
  readonly #publish: (subject: string, data: Uint8Array | string, options: PublishOptions) => Promise<PubAck>;
  readonly #unstored = new Map<string, DeadLetterDecision>();

  constructor(
    spec: ResolvedSpec<T, D>,
    clock: Clock,
    publish: (subject: string, data: Uint8Array | string, options: PublishOptions) => Promise<PubAck>,
  ) {
    this.#spec = spec;
    this.#clock = clock;
    this.#publish = publish;
  }

  /** Why the message was given up at an earlier delivery, when its record could not be stored then. */
  unstored(delivery: Delivery<T>): DeadLetterDecision | undefined {
    return this.#unstored.size === 0 ? undefined : this.#unstored.get(identityOf(delivery));
  }

  /**
   * Stores the record, a smaller one when it is too large for the connection or the stream: headers and failure are added
   * to the message, so that of a message which just fits max_payload does not.
   */
  async store(
    delivery: Delivery<T>,
    decision: DeadLetterDecision,
    extra: HeaderInput | undefined,
  ): Promise<{ readonly record: DeadLetterRecord; readonly duplicate: boolean }> {
    const { name, deadLetter } = this.#spec;
    const failedAt = new Date(this.#clock.wall());
    let size: RecordSize = { headers: true, bodyBytes: deadLetter.maxPayloadBytes };
    for (;;) {
      const record = deadLetterRecord(delivery, decision, name, deadLetter, failedAt, extra, size);
      try {
        const { id, headers } = record;
        const { duplicate } = await this.#publish(record.subject, record.data, { id, headers });
        this.#unstored.delete(identityOf(delivery));
        return { record, duplicate };
      } catch (error) {
        const smaller = isTooLarge(error) ? smallerRecord(size, delivery.bytes) : undefined;
        if (smaller === undefined) throw error;
        size = smaller;
      }
    }
  }

  /** The record could not be stored: the next delivery is given up for the same reason, unrun. */
  remember(delivery: Delivery<T>, decision: DeadLetterDecision): void {
    if (this.#unstored.size >= REMEMBERED_FAILURES) {
      const [oldest] = this.#unstored.keys();
      if (oldest !== undefined) this.#unstored.delete(oldest);
    }
    this.#unstored.set(identityOf(delivery), decision);
  }
}

const identityOf = (delivery: Delivery<unknown>): string =>
  `${delivery.source}:${delivery.sequence}:${delivery.storedAtMs}`;

/** The client would not send it (max_payload), or the stream would not take it (max_msg_size). */
const isTooLarge = (error: unknown): boolean =>
  isInstance(error, PublishError) && (error.code === 'REFUSED' || error.apiCode === MESSAGE_TOO_LARGE);
