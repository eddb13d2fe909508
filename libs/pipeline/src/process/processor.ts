import { Attempts } from '../attempts/attempts.ts';
import { IdempotencyClaims } from '../idempotency/claims.ts';
import type { ClaimResult } from '../idempotency/claims.ts';
import type { Clock } from '../clock.ts';
import { deadLetterRecord, smallerRecord } from '../dead-letter/record.ts';
import type { DeadLetterRecord, RecordSize } from '../dead-letter/record.ts';
import type { Delivery } from './delivery.ts';
import { errorMessage, isInstance } from './describe-error.ts';
import { PermanentError, PublishError } from '../errors.ts';
import type { Observer, SettledAs } from '../events.ts';
import type { Logger } from '../log.ts';
import { readOutcome } from './outcome.ts';
import type { HeaderInput, PubAck, PublishOptions } from '../nats/port.ts';
import { backoffMs } from './backoff.ts';
import type { ResolvedSpec } from '../config/resolve-spec.ts';
import { Run } from './run.ts';
import type { RunOwner } from './run.ts';
import type { Instrument } from '../runtime.ts';
import { decide } from './retry-decision.ts';
import type { HandlerResult, Decision } from './retry-decision.ts';

/** What the processor needs to act: the engine settles on the server, the test harness records. */
export interface ProcessorHost<T, D> {
  publish(subject: string, data: Uint8Array | string, options: PublishOptions): Promise<PubAck>;
  publishDeadLetter(subject: string, data: Uint8Array | string, options: PublishOptions): Promise<PubAck>;
  /** Acknowledges; a promise when that has to be waited for. */
  ack(delivery: Delivery<T>): Promise<void> | undefined;
  /** Naks the message with a delay; `failed`: its handler ran and failed. */
  retry(delivery: Delivery<T>, delayMs: number, failed: boolean): void;
  /** Keeps the message here and admits it again after the delay: no delivery is used up. */
  wait(delivery: Delivery<T>, delayMs: number): void;
  /** Naks the message without a delay, or, with `silently`, forgets it without telling the server. */
  release(delivery: Delivery<T>, silently: boolean): void;
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
}

/** How a handler call ended, its value not looked at yet. */
type Returned = { readonly ok: true; readonly value: unknown } | { readonly ok: false; readonly error: unknown };
type DeadLetter = Extract<Decision, { kind: 'deadLetter' }>;
type Deliveries<T> = readonly [Delivery<T>, ...Delivery<T>[]];

/** An outage of the idempotency store is over at most this long before messages notice. */
const MAX_STORE_WAIT_MS = 5000;
/** Failures whose record could not be published: remembered so that the next delivery keeps the true reason. */
const REMEMBERED_FAILURES = 1000;

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
  readonly #unstored = new Map<string, DeadLetter>();
  #warnedOfValue = false;

  constructor(spec: ResolvedSpec<T, D>, runtime: ProcessorRuntime<D>, host: ProcessorHost<T, D>, ackWaitMs: number) {
    this.#spec = spec;
    this.#runtime = runtime;
    this.#host = host;
    this.claims = new IdempotencyClaims(spec, runtime, ackWaitMs);
    this.attempts = new Attempts(spec, runtime.clock, runtime.log);
    this.#owner = { name: spec.name, log: runtime.log, inject: runtime.inject };
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
    if (this.#unstored.size > 0) {
      const earlier = this.#unstored.get(identityOf(delivery));
      if (earlier !== undefined) return this.#deadLetter(delivery, earlier, undefined);
    }
    return this.attempts.needsRecord(delivery) ? this.#admitAgain(delivery) : this.#check(delivery);
  }

  /** A message that was delivered before: whether its last run ended is asked before, and noted for, the next one. */
  async #admitAgain(delivery: Delivery<T>): Promise<boolean> {
    await this.attempts.read(delivery);
    if (this.attempts.crashLoop(delivery) === undefined) await this.attempts.begin(delivery);
    const passed = await this.#check(delivery);
    if (!passed && delivery.phase !== 'settled') await this.attempts.ended(delivery, false);
    return passed;
  }

  #check(delivery: Delivery<T>): boolean | Promise<boolean> {
    const { idempotency, decode } = this.#spec;
    const crashLoop = this.attempts.crashLoop(delivery);
    if (crashLoop !== undefined) {
      const decision: DeadLetter = { kind: 'deadLetter', why: 'crashLoop', reason: crashLoop, error: undefined };
      return this.#deadLetter(delivery, decision, undefined);
    }
    const { headerFault } = delivery;
    if (headerFault !== undefined) {
      const { error } = headerFault;
      const reason = `its headers cannot be read: ${errorMessage(error)}`;
      return this.#deadLetter(delivery, { kind: 'deadLetter', why: 'decode', reason, error }, undefined);
    }
    try {
      delivery.decode(decode);
    } catch (error) {
      return this.#deadLetter(
        delivery,
        { kind: 'deadLetter', why: 'decode', reason: errorMessage(error), error },
        undefined,
      );
    }
    if (delivery.fault !== undefined) return this.#fail(delivery, delivery.fault.error);
    return idempotency === undefined ? true : this.#claim(delivery);
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
        message: delivery,
        waitedMs: run.startedAt - delivery.receivedAt,
      });
    }
    this.#host.runStarted(run);
    let returned: Promise<unknown>;
    try {
      returned = instrument === undefined ? this.#invoke(run) : instrument(deliveries, () => this.#invokeInside(run));
    } catch (error) {
      returned = Promise.reject(error);
    }
    if (!(returned instanceof Promise)) returned = Promise.resolve(returned);
    returned
      .then(
        (value) => this.#returned(run, { ok: true, value }),
        (error: unknown) => this.#returned(run, { ok: false, error }),
      )
      .catch((error: unknown) => this.#containFault(run, error));
  }

  /** The grace is over and the handler has not returned: settles its messages without it. The slot stays taken. */
  settleHung(run: Run<T, D>): void {
    if (run.phase !== 'aborting') return;
    run.phase = 'hung';
    run.endedAt = this.#runtime.clock.now();
    this.#conclude(run, { ok: false, error: run.abortReason })?.catch((error: unknown) =>
      this.#retryUnsettled(run, error),
    );
  }

  #invoke(run: Run<T, D>): Promise<unknown> {
    const { work } = this.#spec;
    return work.kind === 'single' ? work.handle(run.deliveries[0], run) : work.handle(run.deliveries, run);
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

  #returned(run: Run<T, D>, returned: Returned): Promise<void> | undefined {
    if (run.phase === 'hung') {
      run.phase = 'ended';
      this.#host.runEnded(run);
      return undefined;
    }
    // Returning normally after being told to stop proves nothing: `if (signal.aborted) return` looks the same as success.
    const result = run.abortReason === undefined ? returned : ({ ok: false, error: run.abortReason } as const);
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
  #conclude(run: Run<T, D>, returned: Returned): Promise<void> | undefined {
    const { abortReason } = run;
    if (abortReason !== undefined && abortReason.code !== 'HANDLER_TIMEOUT') {
      return this.#releaseRun(run);
    }
    if (this.#spec.work.kind === 'batch' || run.emits !== undefined) {
      const results = this.#spread(run, returned);
      for (const one of results) this.#sample(one, run.startedAt);
      return this.#settleAll(run, results);
    }
    const [delivery] = run.deliveries;
    const result = returned.ok ? this.#read(returned.value) : returned;
    this.#sample(result, run.startedAt);
    const decision = this.#decision(delivery, result);
    this.#reportHandled(run, delivery, decision);
    if (decision.kind === 'ack' && delivery.claim === undefined) return this.#ack(delivery, 'ack');
    return this.#settle(run, delivery, decision);
  }

  async #settleAll(run: Run<T, D>, results: readonly HandlerResult[]): Promise<void> {
    let final = results;
    const [first] = run.deliveries;
    const succeeded = results.some(
      (result) => result.ok && result.outcome?.kind !== 'retry' && result.outcome?.kind !== 'deadLetter',
    );
    if (run.emits !== undefined && succeeded) {
      try {
        await Promise.all(
          run.emits.map((emit) =>
            this.#host.publish(emit.subject, emit.body, {
              id: emit.id,
              ...(emit.headers === undefined ? {} : { headers: emit.headers }),
            }),
          ),
        );
        this.#runtime.observe?.({
          type: 'emit.published',
          pipeline: this.#spec.name,
          message: first,
          count: run.emits.length,
        });
      } catch (error) {
        this.#runtime.observe?.({ type: 'emit.failed', pipeline: this.#spec.name, message: first, error });
        final = results.map((result) => (result.ok ? { ok: false, error } : result));
      }
    }
    await Promise.all(
      run.deliveries.map((delivery, index) => {
        const decision = this.#decision(delivery, final[index] as HandlerResult);
        this.#reportHandled(run, delivery, decision);
        return this.#settle(run, delivery, decision);
      }),
    );
  }

  /** One result per message. A batch handler that throws, or answers with the wrong number, fails them all. */
  #spread(run: Run<T, D>, returned: Returned): readonly HandlerResult[] {
    if (!returned.ok) return run.deliveries.map(() => returned);
    const { value } = returned;
    if (!Array.isArray(value) || this.#spec.work.kind === 'single') {
      const result = this.#read(value);
      return run.deliveries.map(() => result);
    }
    const list: readonly unknown[] = value;
    if (list.length !== run.deliveries.length) {
      const error = new TypeError(
        `the batch handler returned ${list.length} outcomes for ${run.deliveries.length} messages`,
      );
      return run.deliveries.map(() => ({ ok: false, error }));
    }
    return list.map((one) => this.#read(one));
  }

  /**
   * A value that is no outcome counts as success: the handler did its work and returned what its last call returned. A
   * retry would do the work again.
   */
  #read(value: unknown): HandlerResult {
    try {
      const { outcome, known } = readOutcome(value);
      if (!known && !this.#warnedOfValue) {
        this.#warnedOfValue = true;
        const hint = 'the handler returned a value that is no outcome: counted as success; return nothing instead';
        this.#runtime.log.warn({ pipeline: this.#spec.name, type: typeof value }, hint);
      }
      return { ok: true, outcome };
    } catch (error) {
      return { ok: false, error };
    }
  }

  #decision(delivery: Delivery<T>, result: HandlerResult): Decision {
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
  async #deadLetter(delivery: Delivery<T>, decision: DeadLetter, extra: HeaderInput | undefined): Promise<false> {
    const { observe, log, random } = this.#runtime;
    const { name, retry } = this.#spec;
    const base = { pipeline: name, message: delivery, error: decision.error };
    try {
      const { record, duplicate } = await this.#storeDeadLetter(delivery, decision, extra);
      this.#unstored.delete(identityOf(delivery));
      await this.claims.release(delivery);
      observe?.({ ...base, type: 'message.deadLettered', subject: record.subject, reason: decision.why, duplicate });
      log.warn(
        { pipeline: name, messageId: delivery.id, why: decision.why, reason: decision.reason },
        'message dead-lettered',
      );
      await this.#ack(delivery, 'deadLetter');
    } catch (error) {
      const delayMs = backoffMs(retry, delivery.attempt, random);
      this.#rememberFailure(delivery, decision);
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

  /**
   * Stores the record, a smaller one when it is too large for the connection or the stream: headers and failure are added
   * to the message, so that of a message which just fits max_payload does not.
   */
  async #storeDeadLetter(
    delivery: Delivery<T>,
    decision: DeadLetter,
    extra: HeaderInput | undefined,
  ): Promise<{ readonly record: DeadLetterRecord; readonly duplicate: boolean }> {
    const { name, deadLetter } = this.#spec;
    const failedAt = new Date(this.#runtime.clock.wall());
    let size: RecordSize = { headers: true, bodyBytes: deadLetter.maxPayloadBytes };
    for (;;) {
      const record = deadLetterRecord(delivery, decision, name, deadLetter, failedAt, extra, size);
      try {
        const { id, headers } = record;
        const { duplicate } = await this.#host.publishDeadLetter(record.subject, record.data, { id, headers });
        return { record, duplicate };
      } catch (error) {
        const smaller = isTooLarge(error) ? smallerRecord(size, delivery.bytes) : undefined;
        if (smaller === undefined) throw error;
        size = smaller;
      }
    }
  }

  #rememberFailure(delivery: Delivery<T>, decision: DeadLetter): void {
    // Only what is final for every next run: a permanent failure may turn out otherwise.
    if (this.#unstored.size >= REMEMBERED_FAILURES) {
      const [oldest] = this.#unstored.keys();
      if (oldest !== undefined) this.#unstored.delete(oldest);
    }
    this.#unstored.set(identityOf(delivery), decision);
  }

  #retry(delivery: Delivery<T>, delayMs: number, reason: string, error: unknown): void {
    this.#runtime.observe?.({
      type: 'message.retryScheduled',
      pipeline: this.#spec.name,
      message: delivery,
      delayMs,
      reason,
      error,
    });
    this.#settled(delivery, 'retry', () => this.#host.retry(delivery, delayMs, true));
  }

  /** A failure before the handler: decided as if the handler had thrown it. */
  async #fail(delivery: Delivery<T>, error: unknown): Promise<false> {
    const decision = this.#decision(delivery, { ok: false, error });
    if (decision.kind === 'deadLetter') return this.#deadLetter(delivery, decision, undefined);
    if (decision.kind === 'retry') this.#retry(delivery, decision.delayMs, decision.reason, error);
    return false;
  }

  async #claim(delivery: Delivery<T>): Promise<boolean> {
    const { retry } = this.#spec;
    let claimed: ClaimResult;
    try {
      claimed = await this.claims.claim(delivery);
    } catch (error) {
      return this.#fail(delivery, error);
    }
    if (claimed === 'new') return true;
    if (claimed === 'done') {
      await this.#ack(delivery, 'duplicate');
      return false;
    }
    if (claimed === 'storeFailed') {
      // Every message meets the same outage. Sent back, each would be delivered again and again for as long as it lasts;
      // kept here they fill the room there is, and pulling stops by itself.
      const delayMs = Math.min(MAX_STORE_WAIT_MS, backoffMs(retry, ++delivery.storeFailures, this.#runtime.random));
      this.#host.wait(delivery, delayMs);
      return false;
    }
    // A duplicate is being processed: this one comes back to find it done.
    const delayMs = Math.max(1, Math.min(claimed.waitMs, retry.maxMs));
    this.#settled(delivery, 'busy', () => this.#host.retry(delivery, delayMs, false));
    return false;
  }

  #ack(delivery: Delivery<T>, as: SettledAs): Promise<void> | undefined {
    this.attempts.gone(delivery);
    const confirmed = this.#host.ack(delivery);
    if (confirmed === undefined) {
      this.#reportSettled(delivery, as);
      return undefined;
    }
    return confirmed.then(() => this.#reportSettled(delivery, as));
  }

  #settled(delivery: Delivery<T>, as: SettledAs, carryOut: () => void): void {
    carryOut();
    this.#reportSettled(delivery, as);
  }

  #reportSettled(delivery: Delivery<T>, as: SettledAs): void {
    const { observe, clock } = this.#runtime;
    observe?.({
      type: 'message.settled',
      pipeline: this.#spec.name,
      message: delivery,
      as,
      heldMs: clock.now() - delivery.receivedAt,
    });
  }

  #reportHandled(run: Run<T, D>, delivery: Delivery<T>, decision: Decision): void {
    const { observe } = this.#runtime;
    observe?.({
      type: 'message.handled',
      pipeline: this.#spec.name,
      message: delivery,
      outcome: decision.kind,
      durationMs: run.endedAt - run.startedAt,
      error: decision.kind === 'retry' || decision.kind === 'deadLetter' ? decision.error : undefined,
    });
  }

  #sample(result: HandlerResult, startedAt: number): void {
    if (this.#spec.breaker === undefined) return;
    if (result.ok) {
      // A rejected message is the message's fault, it says nothing about the dependency.
      if (result.outcome?.kind !== 'deadLetter')
        this.#host.sample(result.outcome?.kind === 'retry', undefined, startedAt);
    } else if (!isInstance(result.error, PermanentError)) this.#host.sample(true, result.error, startedAt);
  }
}

const identityOf = (delivery: Delivery<unknown>): string =>
  `${delivery.source}:${delivery.sequence}:${delivery.storedAtMs}`;

const MESSAGE_TOO_LARGE = 10_054;

/** The client would not send it (max_payload), or the stream would not take it (max_msg_size). */
const isTooLarge = (error: unknown): boolean =>
  isInstance(error, PublishError) && (error.code === 'REFUSED' || error.apiCode === MESSAGE_TOO_LARGE);
