import type { Clock } from '../clock.ts';
import { RequestError } from '../errors.ts';
import type { ResolvedSpec } from '../config/resolve-spec.ts';
import type { NatsPort } from '../nats/port.ts';
import { withTimeout } from '../settle/with-timeout.ts';
import { checkConsumer } from './consumer-check.ts';
import type { ConsumerReport, LiveConsumer } from './consumer-check.ts';

/** How long an answer about a consumer may take before what is known has to do. */
const CHECK_TIMEOUT_MS = 2000;

/**
 * The consumers as the server had them last. Everything that wants to know about a consumer asks here, and who asks
 * while a question is on its way gets the same answer: a reconnect, a refusal and the heartbeat may all ask at once.
 */
export class LiveConsumers<T, D> {
  readonly #port: NatsPort;
  readonly #spec: ResolvedSpec<T, D>;
  readonly #clock: Clock;
  readonly #changed: (index: number, now: LiveConsumer, before: LiveConsumer, since: number) => void;
  readonly #started: readonly LiveConsumer[];
  readonly #live: LiveConsumer[];
  readonly #checkedAt: number[];
  readonly #epochs: number[];
  readonly #checkedEpochs: number[];
  /** By source: since when every answer has told of waiting messages. */
  readonly #behindSince: (number | undefined)[];
  /** By source: the question on its way, and the epoch it was asked in. */
  readonly #asking = new Map<number, { readonly epoch: number; readonly answer: Promise<ConsumerReport> }>();

  /**
   * `changed` is told of every answer, before the caller of `check` is. `since` is the first epoch of the consumer as it is now, if
   * it was made again.
   */
  constructor(
    port: NatsPort,
    spec: ResolvedSpec<T, D>,
    clock: Clock,
    started: readonly LiveConsumer[],
    changed: (index: number, now: LiveConsumer, before: LiveConsumer, since: number) => void,
  ) {
    this.#port = port;
    this.#spec = spec;
    this.#clock = clock;
    this.#changed = changed;
    this.#started = started;
    this.#live = [...started];
    this.#checkedAt = started.map(() => clock.now());
    this.#behindSince = started.map(({ pending = 0 }) => (pending > 0 ? clock.now() : undefined));
    this.#epochs = started.map(() => 0);
    this.#checkedEpochs = started.map(() => 0);
  }

  /** The shortest of the sources: heartbeats follow it. */
  get ackWaitMs(): number {
    return Math.min(...this.#live.map(({ ackWaitMs }) => ackWaitMs));
  }

  /** The soonest that another reader gets what a process held when it ended. */
  get takeoverMs(): number {
    return Math.min(...this.#live.map(({ ackWaitMs, pinTtlMs }) => Math.min(ackWaitMs, pinTtlMs ?? ackWaitMs)));
  }

  get maxAckPending(): number {
    return Math.min(...this.#live.map(({ maxAckPending }) => maxAckPending ?? Number.POSITIVE_INFINITY));
  }

  at(index: number): LiveConsumer | undefined {
    return this.#live[index];
  }

  /**
   * Counts the times at which a consumer may have become another one: the connection broke, or the server said that it
   * is gone. What was received in an earlier epoch is a message of the earlier consumer, if it was made again.
   */
  epoch(index: number): number {
    return this.#epochs[index] ?? 0;
  }

  interrupted(index: number): void {
    this.#epochs[index] = this.epoch(index) + 1;
  }

  /** For how long messages have been waiting in the stream at every look; 0 when none did at the last. */
  behindMs(index: number, now: number): number {
    return now - (this.#behindSince[index] ?? now);
  }

  /** How long ago the server was last asked about the consumer. */
  ageMs(index: number): number {
    return this.#clock.now() - (this.#checkedAt[index] ?? 0);
  }

  /** Asks the server. Rejects when there is no answer: what is known stays, and a consumer that is gone is noticed by its pulls. */
  check(index: number): Promise<ConsumerReport> {
    const epoch = this.epoch(index);
    const asked = this.#asking.get(index);
    // One that was asked before the connection broke is not answered any more.
    if (asked?.epoch === epoch) return asked.answer;
    this.#checkedAt[index] = this.#clock.now();
    const answer = this.#ask(index).finally(() => {
      if (this.#asking.get(index)?.answer === answer) this.#asking.delete(index);
    });
    this.#asking.set(index, { epoch, answer });
    return answer;
  }

  /** Resolves when each source has answered or cannot be asked. */
  async checkAll(): Promise<void> {
    await Promise.allSettled(this.#spec.sources.map((_, index) => this.check(index)));
  }

  async #ask(index: number): Promise<ConsumerReport> {
    const epoch = this.epoch(index);
    // Asked all the same, it would keep the question that the reconnect asks from being asked.
    if (!this.#port.connected) throw new RequestError('TIMEOUT', 'no connection to ask about the consumer');
    const call = checkConsumer(this.#port, this.#spec, index, this.#started[index]);
    const report = await withTimeout(call, CHECK_TIMEOUT_MS, this.#clock, 'CONSUMER.INFO');
    const before = this.#live[index];
    const isNews = epoch >= (this.#checkedEpochs[index] ?? 0);
    if (report.live !== undefined && before !== undefined && isNews) {
      this.#behindSince[index] =
        (report.live.pending ?? 0) > 0 ? (this.#behindSince[index] ?? this.#clock.now()) : undefined;
      this.#live[index] = report.live;
      // Made again without a word, at an unknown moment: everything held may be of the earlier one.
      const since = epoch === this.#checkedEpochs[index] ? epoch + 1 : epoch;
      this.#checkedEpochs[index] = epoch;
      this.#changed(index, report.live, before, since);
    }
    return report;
  }
}
