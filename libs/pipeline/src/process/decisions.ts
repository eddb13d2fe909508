import type { Attempts } from '../attempts/attempts.ts';
import type { ResolvedSpec } from '../config/resolve-spec.ts';
import type { DeadLetterDecision, DeadLetters } from '../dead-letter/dead-letters.ts';
import type { IdempotencyClaims } from '../idempotency/claims.ts';
import type { HeaderInput } from '../nats/port.ts';
import { withTimeout } from '../settle/with-timeout.ts';
import { backoffMs } from './backoff.ts';
import type { Delivery } from './delivery.ts';
import { errorMessage } from './describe-error.ts';
import type { Settlement } from './outcome.ts';
import type { ProcessorHost, ProcessorRuntime } from './host.ts';
import { decide } from './retry-decision.ts';
import type { Decision } from './retry-decision.ts';

/** What decisions act on. */
export interface DecisionsDeps<T, D> {
  readonly spec: ResolvedSpec<T, D>;
  readonly runtime: ProcessorRuntime<D>;
  readonly host: ProcessorHost<T, D>;
  readonly claims: IdempotencyClaims<T, D>;
  readonly attempts: Attempts<T, D>;
  readonly deadLetters: DeadLetters<T, D>;
}

/**
 * Carries out what was decided about one message: its claim, its attempt record and its dead letter first, and its settlement
 * last, so that a crash in between repeats the message and never loses it.
 */
export class Decisions<T, D> {
  readonly #deps: DecisionsDeps<T, D>;

  constructor(deps: DecisionsDeps<T, D>) {
    this.#deps = deps;
  }

  /** `failureHeaders`: the trace of what failed, for the dead letter. */
  async carryOut(delivery: Delivery<T>, decision: Decision, failureHeaders: HeaderInput | undefined): Promise<void> {
    const { claims, attempts } = this.#deps;
    switch (decision.kind) {
      case 'ack':
      case 'skip':
        if (await claims.complete(delivery)) await this.ack(delivery, decision.kind);
        else this.releaseLost(delivery);
        return;
      case 'retry':
        await Promise.all([claims.release(delivery), attempts.ended(delivery, true)]);
        this.#retry(delivery, decision.delayMs, decision.reason, decision.error);
        return;
      case 'snooze':
        await Promise.all([claims.release(delivery), attempts.ended(delivery, false)]);
        this.#snooze(delivery, decision);
        return;
      case 'deadLetter':
        await this.deadLetter(delivery, decision, failureHeaders);
    }
  }

  /** Undefined when that is done at once. */
  ack(delivery: Delivery<T>, as: Settlement): Promise<void> | undefined {
    const { attempts, host } = this.#deps;
    attempts.gone(delivery);
    const confirmed = host.ack(delivery);
    if (confirmed === undefined) {
      this.#reportSettled(delivery, delivery.outdated ? 'released' : as);
      return undefined;
    }
    return confirmed.then(() => this.#reportSettled(delivery, as));
  }

  /** A duplicate of a message that is being processed: it comes back to find that one done. */
  busy(delivery: Delivery<T>, delayMs: number): void {
    this.#settled(delivery, 'busy', () => this.#deps.host.retry(delivery, delayMs, false));
  }

  /** Another worker holds the claim of the message: that worker settles it. */
  releaseLost(delivery: Delivery<T>): void {
    this.#settled(delivery, 'busy', () => this.#deps.host.release(delivery, true));
  }

  /** Hands a message of an aborted run back: another replica may take it at once, unless it already has. */
  async release(delivery: Delivery<T>): Promise<void> {
    const { claims, attempts, host } = this.#deps;
    const silently = delivery.claimLost;
    await Promise.all([claims.release(delivery), attempts.ended(delivery, false)]);
    this.#settled(delivery, silently ? 'busy' : 'released', () => host.release(delivery, silently));
  }

  /** A failure before the handler: decided as if the handler had thrown it. Always resolves to false. */
  async fail(delivery: Delivery<T>, error: unknown): Promise<false> {
    const { spec, runtime } = this.#deps;
    const decision = decide({ kind: 'failed', error }, delivery.attempt, spec.retry, runtime.random);
    if (decision.kind === 'deadLetter') return this.deadLetter(delivery, decision, undefined);
    if (decision.kind === 'retry') this.#retry(delivery, decision.delayMs, decision.reason, error);
    return false;
  }

  /** The engine itself failed on this message: it comes back after a delay. Resolves to false and never rejects. */
  async retryAfterFault(delivery: Delivery<T>, error: unknown): Promise<false> {
    const { spec, runtime, claims, host } = this.#deps;
    const { name, retry } = spec;
    runtime.log.error({ pipeline: name, sequence: delivery.sequence, error: errorMessage(error) }, 'processing failed');
    await claims.release(delivery);
    if (delivery.phase !== 'settled') {
      const delayMs = backoffMs(retry, delivery.attempt, Math.random);
      this.#settled(delivery, 'retry', () => host.retry(delivery, delayMs, false));
    }
    return false;
  }

  /** Publishes the dead letter, and acknowledges the message only when that is stored. Always resolves to false. */
  async deadLetter(
    delivery: Delivery<T>,
    decision: DeadLetterDecision,
    extra: HeaderInput | undefined,
  ): Promise<false> {
    const { runtime, spec, claims, host, deadLetters } = this.#deps;
    const { observe, log, random } = runtime;
    const { name, retry } = spec;
    const base = { pipeline: name, message: delivery.message, error: decision.error };
    try {
      const { record, duplicate } = await deadLetters.store(delivery, decision, extra);
      await this.#tellDeadLetter(delivery, decision, record.subject);
      await claims.release(delivery);
      observe?.({ ...base, type: 'message.deadLettered', subject: record.subject, reason: decision.why, duplicate });
      log.warn(
        { pipeline: name, messageId: delivery.id, why: decision.why, reason: decision.reason },
        'message dead-lettered',
      );
      await this.ack(delivery, 'deadLetter');
    } catch (error) {
      const delayMs = backoffMs(retry, delivery.attempt, random);
      deadLetters.remember(delivery, decision);
      await claims.release(delivery);
      observe?.({ ...base, type: 'message.deadLetterFailed', delayMs, error });
      log.error(
        { pipeline: name, messageId: delivery.id, error: errorMessage(error) },
        'dead letter not stored, trying again',
      );
      this.#settled(delivery, 'retry', () => host.retry(delivery, delayMs, false));
    }
    return false;
  }

  /** Waits for the pipeline's own `onDeadLetter`: the message is acknowledged after it, or tried again. */
  async #tellDeadLetter(
    delivery: Delivery<T>,
    { why, reason, error }: DeadLetterDecision,
    subject: string,
  ): Promise<void> {
    const { spec, runtime } = this.#deps;
    const { decode, onDeadLetter, timeout } = spec;
    if (onDeadLetter === undefined) return;
    const { clock, deps } = runtime;
    const { message, body } = delivery;
    try {
      // Not yet when it was given up at an earlier delivery, or before its turn.
      delivery.decode(decode);
    } catch {
      // Then `message.data` throws, as it says.
    }
    const told = onDeadLetter({ message, body, subject, reason: why, detail: reason, error }, deps);
    await withTimeout(Promise.resolve(told), timeout.handlerMs, clock, 'onDeadLetter');
  }

  #snooze(delivery: Delivery<T>, { delayMs, reason }: Extract<Decision, { kind: 'snooze' }>): void {
    const { runtime, spec, host } = this.#deps;
    const { message } = delivery;
    runtime.observe?.({ type: 'message.snoozed', pipeline: spec.name, message, delayMs, reason });
    this.#settled(delivery, 'snooze', () => host.snooze(delivery, delayMs));
  }

  #retry(delivery: Delivery<T>, delayMs: number, reason: string, error: unknown): void {
    const { runtime, spec, host } = this.#deps;
    const { message } = delivery;
    runtime.observe?.({ type: 'message.retryScheduled', pipeline: spec.name, message, delayMs, reason, error });
    this.#settled(delivery, 'retry', () => host.retry(delivery, delayMs, true));
  }

  #settled(delivery: Delivery<T>, as: Settlement, carryOut: () => void): void {
    carryOut();
    this.#reportSettled(delivery, as);
  }

  #reportSettled(delivery: Delivery<T>, as: Settlement): void {
    const { runtime, spec } = this.#deps;
    runtime.observe?.({
      type: 'message.settled',
      pipeline: spec.name,
      message: delivery.message,
      as,
      heldMs: runtime.clock.now() - delivery.receivedAt,
    });
  }
}
