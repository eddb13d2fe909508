import { Attempts } from '../attempts/attempts.ts';
import { Admission } from './admission.ts';
import { IdempotencyClaims } from '../idempotency/claims.ts';
import type { Clock } from '../clock.ts';
import { DeadLetters } from '../dead-letter/dead-letters.ts';
import type { DeadLetterDecision } from '../dead-letter/dead-letters.ts';
import type { Delivery } from './delivery.ts';
import { errorMessage, isInstance } from './describe-error.ts';
import { HandlerAborted, PermanentError } from '../errors.ts';
import type { Observer } from '../events.ts';
import type { Logger } from '../log.ts';
import type { Message } from './message.ts';
import { withTimeout } from '../settle/with-timeout.ts';
import { ResultReader } from './handler-result.ts';
import type { Returned } from './handler-result.ts';
import type { HeaderInput, NatsPort, PubAck, PublishOptions } from '../nats/port.ts';
import { backoffMs } from './backoff.ts';
import type { ResolvedSpec } from '../config/resolve-spec.ts';
import { publishEmits } from './publish-emits.ts';
import { Run } from './run.ts';
import type { RunOwner } from './run.ts';
import type { Instrument } from '../runtime.ts';
import type { Failure, Outcome, Settlement } from './outcome.ts';
import { decide } from './retry-decision.ts';
import type { Decision } from './retry-decision.ts';

/** What the processor needs to act: the engine settles on the server, the test harness records. */
export interface ProcessorHost<T, D> {
  publish(subject: string, data: Uint8Array | string, options: PublishOptions): Promise<PubAck>;
  publishDeadLetter(subject: string, data: Uint8Array | string, options: PublishOptions): Promise<PubAck>;
  /** Acknowledges; a promise when that has to be waited for. */
  ack(delivery: Delivery<T>): Promise<void> | undefined;
  /** Naks the message with a delay; `failed`: this run counts as an attempt. */
  retry(delivery: Delivery<T>, delayMs: number, failed: boolean): void;
  /** Has the message come back after the delay its handler asked for. */
  snooze(delivery: Delivery<T>, delayMs: number): void;
  /** Keeps the message here and admits it again after the delay: no delivery is used up. */
  wait(delivery: Delivery<T>, delayMs: number): void;
  /** Naks the message without a delay, or, with `silently`, forgets it without telling the server. */
  release(delivery: Delivery<T>, silently: boolean): void;
  /** Called before what a handler returned is carried out: aborts the run when its messages are another replica's by now. */
  concluding?(run: Run<T, D>): void;
  /** The handler began. */
  runStarted(run: Run<T, D>): void;
  /** The handler has returned and everything is carried out: its slot is free. */
  runEnded(run: Run<T, D>): void;
  /** One result for the breaker. */
  sample(failed: boolean, error: unknown, startedAt: number): void;
}

export interface ProcessorRuntime<D> {
  readonly deps: D;
  readonly clock: Clock;
  readonly random: () => number;
  readonly log: Logger;
  readonly observe: Observer | undefined;
  readonly instrument: Instrument | undefined;
  readonly inject: (() => HeaderInput) | undefined;
  readonly hasReadableHeaders: NatsPort['hasReadableHeaders'];
}

type Deliveries<T> = readonly [Delivery<T>, ...Delivery<T>[]];

/**
 * What happens to a message from the moment it may start until it is settled: admission (crash loop, decode,
 * idempotency), handler, decision, and settling in an order that cannot lose the message.
 */
export class Processor<T, D> {
  readonly claims: IdempotencyClaims<T, D>;
  readonly attempts: Attempts<T, D>;
  readonly #spec: ResolvedSpec<T, D>;
  readonly #runtime: ProcessorRuntime<D>;
  readonly #host: ProcessorHost<T, D>;
  readonly #owner: RunOwner;
  readonly #deadLetters: DeadLetters<T, D>;
  readonly #results: ResultReader;
  readonly #admission: Admission<T, D>;

  constructor(
    spec: ResolvedSpec<T, D>,
    runtime: ProcessorRuntime<D>,
    host: ProcessorHost<T, D>,
    consumers: { readonly ackWaitMs: number; readonly takeoverMs: number },
  ) {
    this.#spec = spec;
    this.#runtime = runtime;
    this.#host = host;
    this.claims = new IdempotencyClaims(spec, runtime, consumers.ackWaitMs);
    this.attempts = new Attempts(spec, runtime.clock, runtime.log, consumers.takeoverMs);
    this.#deadLetters = new DeadLetters(spec, runtime.clock, (...args) => host.publishDeadLetter(...args));
    this.#results = new ResultReader(spec.name, runtime.log);
    this.#admission = new Admission(
      spec,
      runtime.random,
      this.claims,
      this.attempts,
      {
        deadLetter: (delivery, decision) => this.#deadLetter(delivery, decision, undefined),
        fail: (delivery, error) => this.#fail(delivery, error),
        duplicate: async (delivery) => {
          await this.#ack(delivery, 'duplicate');
          return false;
        },
        busy: (delivery, delayMs) => {
          this.#settled(delivery, 'busy', () => host.retry(delivery, delayMs, false));
          return false;
        },
        wait: (delivery, delayMs) => {
          host.wait(delivery, delayMs);
          return false;
        },
      },
      runtime.hasReadableHeaders,
    );
    const { log, inject } = runtime;
    this.#owner = { name: spec.name, log, inject, delayedSubject: spec.delayed?.subject };
  }

  /**
   * Decides whether the handler may run. False (or a promise of it): it may not, and the message has been settled.
   */
  admit(delivery: Delivery<T>): boolean | Promise<boolean> {
    try {
      const passed = this.#admit(delivery);
      return typeof passed === 'boolean'
        ? passed
        : passed.catch((error: unknown) => this.#retryAfterFault(delivery, error));
    } catch (error) {
      return this.#retryAfterFault(delivery, error);
    }
  }

  #admit(delivery: Delivery<T>): boolean | Promise<boolean> {
    const unstored = this.#deadLetters.unstored(delivery);
    if (unstored !== undefined) return this.#deadLetter(delivery, unstored, undefined);
    return this.#admission.admit(delivery);
  }

  /** Calls the handler. Everything that follows happens by itself and ends with `runEnded`. */
  execute(deliveries: Deliveries<T>): void {
    const { clock, deps, observe, instrument } = this.#runtime;
    const run = new Run<T, D>(deliveries, deps, clock.now(), this.#owner);
    for (const delivery of deliveries) {
      delivery.phase = 'running';
      observe?.({
        type: 'message.started',
        pipeline: this.#spec.name,
        message: delivery.message,
        waitedMs: run.startedAt - delivery.receivedAt,
      });
    }
    this.#host.runStarted(run);
    let returned: Promise<unknown>;
    try {
      returned =
        instrument === undefined
          ? this.#invoke(run)
          : instrument(messagesOf(deliveries), () => this.#invokeInside(run));
    } catch (error) {
      returned = Promise.reject(error);
    }
    if (!(returned instanceof Promise)) returned = Promise.resolve(returned);
    void returned.then(
      (value) => this.#ended(run, { kind: 'returned', value }),
      (error: unknown) => this.#ended(run, { kind: 'failed', error }),
    );
  }

  /** The handler ended. Never throws, and no promise is made where nothing has to be waited for. */
  #ended(run: Run<T, D>, result: Returned | Failure): void {
    try {
      this.#returned(run, result)?.catch((error: unknown) => this.#containFault(run, error));
    } catch (error) {
      this.#containFault(run, error);
    }
  }

  /** The grace is over and the handler has not returned: settles its messages without it. The slot stays taken. */
  settleHung(run: Run<T, D>): void {
    if (run.phase !== 'aborting') return;
    run.phase = 'hung';
    run.endedAt = this.#runtime.clock.now();
    this.#conclude(run, { kind: 'failed', error: run.abortReason })?.catch((error: unknown) =>
      this.#retryUnsettled(run, error),
    );
  }

  #invoke(run: Run<T, D>): Promise<unknown> {
    const { work } = this.#spec;
    return work.kind === 'single'
      ? work.handle(run.deliveries[0].message, run.context)
      : work.handle(messagesOf(run.deliveries), run.context);
  }

  /** As `#invoke`, and takes the trace headers of a failure while the handler's context is still there. */
  async #invokeInside(run: Run<T, D>): Promise<unknown> {
    try {
      const value = await this.#invoke(run);
      // Anything but nothing may be a dead letter.
      if (value !== undefined) run.failureHeaders = this.#traceHeaders();
      return value;
    } catch (error) {
      run.failureHeaders = this.#traceHeaders();
      throw error;
    }
  }

  #traceHeaders(): HeaderInput | undefined {
    try {
      return this.#runtime.inject?.();
    } catch (error) {
      this.#runtime.log.warn({ pipeline: this.#spec.name, error: errorMessage(error) }, 'inject failed');
      return undefined;
    }
  }

  #returned(run: Run<T, D>, returned: Returned | Failure): Promise<void> | undefined {
    if (run.phase === 'hung') {
      run.phase = 'ended';
      this.#host.runEnded(run);
      return undefined;
    }
    this.#host.concluding?.(run);
    // Returning normally after being told to stop proves nothing: `if (signal.aborted) return` looks the same as success.
    const result = run.abortReason === undefined ? returned : ({ kind: 'failed', error: run.abortReason } as const);
    run.phase = 'ended';
    run.endedAt = this.#runtime.clock.now();
    const concluded = this.#conclude(run, result);
    if (concluded !== undefined) return concluded.then(() => this.#host.runEnded(run));
    this.#host.runEnded(run);
    return undefined;
  }

  /** Something failed that is no failure of the handler. It must not reach further than the messages of this run. */
  #containFault(run: Run<T, D>, error: unknown): void {
    run.phase = 'ended';
    this.#retryUnsettled(run, error);
    this.#host.runEnded(run);
  }

  #retryUnsettled(run: Run<T, D>, error: unknown): void {
    for (const delivery of run.deliveries) {
      if (delivery.phase === 'running') void this.#retryAfterFault(delivery, error);
    }
  }

  /** The engine itself failed on this message: it comes back after a delay. Resolves to false and never rejects. */
  async #retryAfterFault(delivery: Delivery<T>, error: unknown): Promise<false> {
    const { log, retry, name } = { ...this.#runtime, ...this.#spec };
    log.error({ pipeline: name, sequence: delivery.sequence, error: errorMessage(error) }, 'processing failed');
    await this.claims.release(delivery);
    if (delivery.phase !== 'settled') {
      const delayMs = backoffMs(retry, delivery.attempt, Math.random);
      this.#settled(delivery, 'retry', () => this.#host.retry(delivery, delayMs, false));
    }
    return false;
  }

  /** The engine failed on a message outside of its run. Never throws. */
  fault(delivery: Delivery<T>, error: unknown): void {
    this.#retryAfterFault(delivery, error).catch(() => this.#host.release(delivery, true));
  }

  /** Another worker holds the claim of a message that has not started: that worker settles it. */
  releaseLost(delivery: Delivery<T>): void {
    this.#settled(delivery, 'busy', () => this.#host.release(delivery, true));
  }

  /** Undefined when everything could be done at once: the common case pays for no promise. */
  #conclude(run: Run<T, D>, returned: Returned | Failure): Promise<void> | undefined {
    const { abortReason } = run;
    if (
      abortReason?.code === 'CLAIM_LOST' ||
      abortReason?.code === 'PARTITION_LOST' ||
      abortReason?.code === 'DRAIN_FORCED'
    ) {
      return this.#releaseRun(run);
    }
    if (this.#spec.work.kind === 'batch' || run.emits !== undefined) {
      const results = this.#results.spread(returned, run.deliveries.length, this.#spec.work.kind === 'batch');
      for (const one of results) this.#sample(one, run.startedAt);
      return this.#settleAll(run, results);
    }
    const [delivery] = run.deliveries;
    const result = returned.kind === 'returned' ? this.#results.read(returned.value) : returned;
    this.#sample(result, run.startedAt);
    const decision = this.#decision(delivery, result);
    this.#reportHandled(run, delivery, decision);
    if (decision.kind === 'ack' && delivery.claim === undefined) return this.#ack(delivery, 'ack');
    return this.#settle(run, delivery, decision);
  }

  async #settleAll(run: Run<T, D>, results: readonly (Outcome | Failure)[]): Promise<void> {
    const { observe } = this.#runtime;
    const publish: NatsPort['publish'] = (subject, data, given = {}) => this.#host.publish(subject, data, given);
    const final = await publishEmits(run, results, publish, this.#spec, observe);
    await Promise.all(
      run.deliveries.map((delivery, index) => {
        const decision = this.#decision(delivery, final[index] as Outcome | Failure);
        this.#reportHandled(run, delivery, decision);
        return this.#settle(run, delivery, decision);
      }),
    );
  }

  #decision(delivery: Delivery<T>, result: Outcome | Failure): Decision {
    return decide(result, delivery.attempt, this.#spec.retry, this.#runtime.random);
  }

  async #settle(run: Run<T, D>, delivery: Delivery<T>, decision: Decision): Promise<void> {
    switch (decision.kind) {
      case 'ack':
      case 'skip':
        if (await this.claims.complete(delivery)) await this.#ack(delivery, decision.kind);
        else this.#settled(delivery, 'busy', () => this.#host.release(delivery, true));
        return;
      case 'retry':
        await Promise.all([this.claims.release(delivery), this.attempts.ended(delivery, true)]);
        this.#retry(delivery, decision.delayMs, decision.reason, decision.error);
        return;
      case 'snooze':
        await Promise.all([this.claims.release(delivery), this.attempts.ended(delivery, false)]);
        this.#snooze(delivery, decision);
        return;
      case 'deadLetter':
        await this.#deadLetter(delivery, decision, run.failureHeaders);
    }
  }

  /** Hands a message of an aborted run back: another replica may take it at once, unless it already has. */
  async #releaseRun(run: Run<T, D>): Promise<void> {
    for (const delivery of run.deliveries) {
      const silently = delivery.claimLost;
      await Promise.all([this.claims.release(delivery), this.attempts.ended(delivery, false)]);
      this.#settled(delivery, silently ? 'busy' : 'released', () => this.#host.release(delivery, silently));
    }
  }

  /** Publishes the dead letter, and acknowledges the message only when that is stored. Always resolves to false. */
  async #deadLetter(
    delivery: Delivery<T>,
    decision: DeadLetterDecision,
    extra: HeaderInput | undefined,
  ): Promise<false> {
    const { observe, log, random } = this.#runtime;
    const { name, retry } = this.#spec;
    const base = { pipeline: name, message: delivery.message, error: decision.error };
    try {
      const { record, duplicate } = await this.#deadLetters.store(delivery, decision, extra);
      await this.#tellDeadLetter(delivery, decision, record.subject);
      await this.claims.release(delivery);
      observe?.({ ...base, type: 'message.deadLettered', subject: record.subject, reason: decision.why, duplicate });
      log.warn(
        { pipeline: name, messageId: delivery.id, why: decision.why, reason: decision.reason },
        'message dead-lettered',
      );
      await this.#ack(delivery, 'deadLetter');
    } catch (error) {
      const delayMs = backoffMs(retry, delivery.attempt, random);
      this.#deadLetters.remember(delivery, decision);
      await this.claims.release(delivery);
      observe?.({ ...base, type: 'message.deadLetterFailed', delayMs, error });
      log.error(
        { pipeline: name, messageId: delivery.id, error: errorMessage(error) },
        'dead letter not stored, trying again',
      );
      this.#settled(delivery, 'retry', () => this.#host.retry(delivery, delayMs, false));
    }
    return false;
  }

  /** Waits for the pipeline's own `onDeadLetter`: the message is acknowledged after it, or tried again. */
  async #tellDeadLetter(
    delivery: Delivery<T>,
    { why, reason, error }: DeadLetterDecision,
    subject: string,
  ): Promise<void> {
    const { decode, onDeadLetter, timeout } = this.#spec;
    if (onDeadLetter === undefined) return;
    const { clock, deps } = this.#runtime;
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
    const { observe } = this.#runtime;
    observe?.({ type: 'message.snoozed', pipeline: this.#spec.name, message: delivery.message, delayMs, reason });
    this.#settled(delivery, 'snooze', () => this.#host.snooze(delivery, delayMs));
  }

  #retry(delivery: Delivery<T>, delayMs: number, reason: string, error: unknown): void {
    this.#runtime.observe?.({
      type: 'message.retryScheduled',
      pipeline: this.#spec.name,
      message: delivery.message,
      delayMs,
      reason,
      error,
    });
    this.#settled(delivery, 'retry', () => this.#host.retry(delivery, delayMs, true));
  }

  /** A failure before the handler: decided as if the handler had thrown it. */
  async #fail(delivery: Delivery<T>, error: unknown): Promise<false> {
    const decision = this.#decision(delivery, { kind: 'failed', error });
    if (decision.kind === 'deadLetter') return this.#deadLetter(delivery, decision, undefined);
    if (decision.kind === 'retry') this.#retry(delivery, decision.delayMs, decision.reason, error);
    return false;
  }

  #ack(delivery: Delivery<T>, as: Settlement): Promise<void> | undefined {
    this.attempts.gone(delivery);
    const confirmed = this.#host.ack(delivery);
    if (confirmed === undefined) {
      this.#reportSettled(delivery, delivery.outdated ? 'released' : as);
      return undefined;
    }
    return confirmed.then(() => this.#reportSettled(delivery, as));
  }

  #settled(delivery: Delivery<T>, as: Settlement, carryOut: () => void): void {
    carryOut();
    this.#reportSettled(delivery, as);
  }

  #reportSettled(delivery: Delivery<T>, as: Settlement): void {
    const { observe, clock } = this.#runtime;
    observe?.({
      type: 'message.settled',
      pipeline: this.#spec.name,
      message: delivery.message,
      as,
      heldMs: clock.now() - delivery.receivedAt,
    });
  }

  #reportHandled(run: Run<T, D>, delivery: Delivery<T>, decision: Decision): void {
    const { observe } = this.#runtime;
    observe?.({
      type: 'message.handled',
      pipeline: this.#spec.name,
      message: delivery.message,
      outcome: decision.kind,
      durationMs: run.endedAt - run.startedAt,
      error: decision.kind === 'retry' || decision.kind === 'deadLetter' ? decision.error : undefined,
    });
  }

  #sample(result: Outcome | Failure, startedAt: number): void {
    if (this.#spec.breaker === undefined) return;
    switch (result.kind) {
      case 'ack':
      case 'skip':
      case 'retry':
        this.#host.sample(result.kind === 'retry', undefined, startedAt);
        return;
      case 'failed': {
        const { error } = result;
        const cancelled = isInstance(error, HandlerAborted) && error.code === 'CANCELLED';
        if (!cancelled && !isInstance(error, PermanentError)) this.#host.sample(true, error, startedAt);
        return;
      }
      // A rejected message is the message's fault, and one that is not due yet says nothing: neither is of the dependency.
      case 'deadLetter':
      case 'snooze':
      default:
    }
  }
}

const messagesOf = <T>(deliveries: Deliveries<T>): readonly [Message<T>, ...Message<T>[]] => {
  const [first, ...rest] = deliveries;
  return [first.message, ...rest.map(({ message }) => message)];
};
