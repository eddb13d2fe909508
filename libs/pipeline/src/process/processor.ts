import { Attempts } from '../attempts/attempts.ts';
import { Admission } from './admission.ts';
import { IdempotencyClaims } from '../idempotency/claims.ts';
import { DeadLetters } from '../dead-letter/dead-letters.ts';
import { Decisions } from './decisions.ts';
import type { Delivery } from './delivery.ts';
import { errorMessage, isInstance } from './describe-error.ts';
import { HandlerAborted, PermanentError } from '../errors.ts';
import type { Message } from './message.ts';
import { ResultReader } from './handler-result.ts';
import type { Returned } from './handler-result.ts';
import type { HeaderInput, NatsPort } from '../nats/port.ts';
import type { ResolvedSpec } from '../config/resolve-spec.ts';
import { publishEmits } from './publish-emits.ts';
import { Run } from './run.ts';
import type { RunOwner } from './run.ts';
import type { ProcessorHost, ProcessorRuntime } from './host.ts';
import type { Failure, Outcome } from './outcome.ts';
import { decide } from './retry-decision.ts';
import type { Decision } from './retry-decision.ts';

type Deliveries<T> = readonly [Delivery<T>, ...Delivery<T>[]];

/**
 * What happens to a message from the moment it may start until its outcome is known: admission (crash loop, decode,
 * idempotency), handler and decision, which `Decisions` carries out.
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
  readonly #decisions: Decisions<T, D>;
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
    const { claims, attempts } = this;
    const decisions = new Decisions({ spec, runtime, host, claims, attempts, deadLetters: this.#deadLetters });
    this.#decisions = decisions;
    this.#admission = new Admission(
      spec,
      runtime.random,
      claims,
      attempts,
      {
        deadLetter: (delivery, decision) => decisions.deadLetter(delivery, decision, undefined),
        fail: (delivery, error) => decisions.fail(delivery, error),
        duplicate: async (delivery) => {
          await decisions.ack(delivery, 'duplicate');
          return false;
        },
        busy: (delivery, delayMs) => {
          decisions.busy(delivery, delayMs);
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
        : passed.catch((error: unknown) => this.#decisions.retryAfterFault(delivery, error));
    } catch (error) {
      return this.#decisions.retryAfterFault(delivery, error);
    }
  }

  #admit(delivery: Delivery<T>): boolean | Promise<boolean> {
    const unstored = this.#deadLetters.unstored(delivery);
    if (unstored !== undefined) return this.#decisions.deadLetter(delivery, unstored, undefined);
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
  #invokeInside(run: Run<T, D>): Promise<unknown> {
    const failed = (error: unknown): Promise<never> => {
      run.failureHeaders = this.#traceHeaders();
      // Also of a handler that throws before it returns a promise: who instruments it is promised one.
      return Promise.reject(error);
    };
    let returned: unknown;
    try {
      returned = this.#invoke(run);
    } catch (error) {
      return failed(error);
    }
    // Not async itself, which would make a promise more for each message.
    return Promise.resolve(returned).then((value) => {
      // Anything but nothing may be a dead letter.
      if (value !== undefined) run.failureHeaders = this.#traceHeaders();
      return value;
    }, failed);
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
      if (delivery.phase === 'running') void this.#decisions.retryAfterFault(delivery, error);
    }
  }

  /** The engine failed on a message outside of its run. Never throws. */
  fault(delivery: Delivery<T>, error: unknown): void {
    this.#decisions.retryAfterFault(delivery, error).catch(() => this.#host.release(delivery, true));
  }

  /** Another worker holds the claim of a message that has not started: that worker settles it. */
  releaseLost(delivery: Delivery<T>): void {
    this.#decisions.releaseLost(delivery);
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
    if (decision.kind === 'ack' && delivery.claim === undefined) return this.#decisions.ack(delivery, 'ack');
    return this.#decisions.carryOut(delivery, decision, run.failureHeaders);
  }

  async #releaseRun({ deliveries }: Run<T, D>): Promise<void> {
    for (const delivery of deliveries) await this.#decisions.release(delivery);
  }

  async #settleAll(run: Run<T, D>, results: readonly (Outcome | Failure)[]): Promise<void> {
    const { observe } = this.#runtime;
    const publish: NatsPort['publish'] = (subject, data, given = {}) => this.#host.publish(subject, data, given);
    const final = await publishEmits(run, results, publish, this.#spec, observe);
    await Promise.all(
      run.deliveries.map((delivery, index) => {
        const decision = this.#decision(delivery, final[index] as Outcome | Failure);
        this.#reportHandled(run, delivery, decision);
        return this.#decisions.carryOut(delivery, decision, run.failureHeaders);
      }),
    );
  }

  #decision(delivery: Delivery<T>, result: Outcome | Failure): Decision {
    return decide(result, delivery.attempt, this.#spec.retry, this.#runtime.random);
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
      case 'snooze':
        if (result.error !== undefined) this.#host.sample(true, result.error, startedAt);
        return;
      // A rejected message is the message's fault, and says nothing of the dependency.
      case 'deadLetter':
      default:
    }
  }
}

const messagesOf = <T>(deliveries: Deliveries<T>): readonly [Message<T>, ...Message<T>[]] => {
  const [first, ...rest] = deliveries;
  return [first.message, ...rest.map(({ message }) => message)];
};
