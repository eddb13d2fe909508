import type { Clock } from './clock.ts';
import { flowFields, rateFields } from './config/options.ts';
import type { ResolvedRate, ResolvedSpec } from './config/resolve-spec.ts';
import { resolve } from './config/schema.ts';
import { HandlerAborted, PipelineFault } from './errors.ts';
import type { Logger } from './log.ts';
import type { ConnectionEvent } from './nats/port.ts';
import { makeParts, mostPrefetched, type Parts } from './parts.ts';
import type { Delivery } from './process/delivery.ts';
import type { LiveConsumer } from './pull/consumer-check.ts';
import type { DrainReport, Explanation, Health, RunningPipeline, Snapshot, State } from './running.ts';
import type { EngineEffects, Runtime } from './runtime.ts';
import { explain, findDeclared, healthOf, snapshotOf } from './status.ts';

/** A pipeline at work: what its user asks of it, what the connection does to it, and its `State`. */
export class Engine<T, D> implements RunningPipeline {
  readonly done: Promise<void>;
  readonly #spec: ResolvedSpec<T, D>;
  readonly #parts: Parts<T, D>;
  readonly #stopListening: () => void;
  #resolveDone: () => void = () => undefined;
  #rejectDone: (fault: PipelineFault) => void = () => undefined;
  #state: State = 'starting';
  /** One for each pause: what an earlier one has begun does not go on in a later one. */
  #paused: symbol | undefined;
  #draining: Promise<DrainReport> | undefined;
  #final: 'stopped' | undefined;

  constructor(
    spec: ResolvedSpec<T, D>,
    runtime: Runtime<D>,
    clock: Clock,
    log: Logger,
    live: readonly LiveConsumer[],
    effects: EngineEffects = {},
  ) {
    this.#spec = spec;
    this.#parts = makeParts(spec, runtime, clock, log, live, effects, {
      isClosing: () => this.#closing,
      isStopped: () => this.#final !== undefined,
      changed: (reason) => this.#refresh(reason),
      conditions: () => this.health().conditions,
      allHung: () => {
        if (this.#draining !== undefined) return;
        const { hungHandlers } = this.#parts.inFlight;
        this.#fault(
          'ALL_HANDLERS_HUNG',
          `all ${hungHandlers} slots are taken by handlers that ignore their abort signal`,
        );
      },
    });
    this.done = new Promise<void>((resolve, reject) => {
      this.#resolveDone = resolve;
      this.#rejectDone = reject;
    });
    this.#stopListening = this.#parts.port.onConnection((event) => this.#connection(event));
    for (const puller of this.#parts.pullers) puller.open();
    this.#parts.partitions?.join();
    this.#refresh('started');
    this.#parts.scheduler.advance();
  }

  // --- what the user sees --------------------------------------------------------------------------------------------

  get state(): State {
    return this.#state;
  }

  setRate(rate: { limit: number; perMs: number; burst?: number } | undefined): void {
    const problems: { path: string; message: string }[] = [];
    const resolved: ResolvedRate | undefined =
      rate === undefined ? undefined : resolve(rateFields, rate, 'rate', problems);
    if (problems[0] !== undefined) throw new RangeError(`${problems[0].path} ${problems[0].message}`);
    this.#parts.demand.setRate(resolved);
    this.#parts.scheduler.advance();
  }

  setConcurrency(concurrency: number): void {
    const { flow, work } = this.#spec;
    const sources = new Set(this.#spec.sources.map(({ declared }) => declared)).size;
    const problems: { path: string; message: string }[] = [];
    resolve({ concurrency: flowFields.concurrency }, { concurrency }, '', problems);
    if (problems[0] !== undefined) throw new RangeError(`${problems[0].path} ${problems[0].message}`);
    if (concurrency < sources) {
      throw new RangeError(`concurrency must be at least the number of sources (${sources})`);
    }
    const { maxAckPending } = this.#parts.live;
    const held = work.kind === 'batch' ? concurrency * work.batch.maxSize : concurrency + (flow.prefetch ?? 0);
    if (held > maxAckPending) {
      throw new RangeError(
        `with concurrency ${concurrency} it may hold ${held} messages, and max_ack_pending is ${maxAckPending}`,
      );
    }
    this.#parts.inFlight.concurrency = concurrency;
    this.#parts.prefetch?.resize(concurrency, mostPrefetched(maxAckPending, concurrency));
    this.#parts.scheduler.advance();
  }

  cancel(sequence: number, options: { readonly source?: number; readonly reason?: string } = {}): boolean {
    const delivery = this.#find(sequence, options.source ?? 0);
    if (delivery === undefined || this.#spec.work.kind === 'batch') return false;
    const error = new HandlerAborted('CANCELLED', options.reason ?? 'cancelled');
    if (delivery.phase === 'waiting') {
      delivery.fault = { error };
      this.#parts.settler.endWait(delivery);
      return true;
    }
    const run = this.#parts.inFlight.runOf(delivery);
    if (run?.phase !== 'running') return false;
    run.abort(error, this.#parts.clock.now());
    return true;
  }

  async pause(reason: string): Promise<void> {
    if (this.#draining !== undefined || this.#final !== undefined) return;
    const pause = (this.#paused ??= Symbol(reason));
    this.#refresh(reason);
    this.#parts.partitions?.leave();
    const stillPaused = (): boolean => this.#paused === pause && this.#draining === undefined;
    await this.#parts.shutdown.pullsEnded();
    if (!stillPaused()) return;
    await this.#parts.shutdown.releaseUnstarted(stillPaused);
    if (stillPaused()) await this.#parts.partitions?.release();
  }

  resume(): void {
    if (this.#paused === undefined) return;
    this.#paused = undefined;
    this.#parts.partitions?.join();
    this.#refresh('resumed');
    this.#parts.scheduler.advance();
  }

  drain(options: { timeoutMs?: number } = {}): Promise<DrainReport> {
    if (this.#final !== undefined && this.#draining === undefined) {
      return Promise.resolve({ settled: 0, released: 0, abandoned: 0 });
    }
    this.#draining ??= this.#drain(options.timeoutMs ?? this.#spec.drainTimeoutMs);
    return this.#draining;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.drain();
  }

  snapshot(): Snapshot {
    return snapshotOf(this.#parts.status, this.#state, this.#parts.outage.connections);
  }

  health(): Health {
    return healthOf(this.#parts.status, this.#final ?? this.#state);
  }

  explain(sequence: number, source = 0): Explanation {
    return explain(this.#parts.status, this.#state, sequence, source);
  }

  /** A message by the place of its source in the spec: each partition is a source of its own here. */
  #find(sequence: number, declared: number): Delivery<T> | undefined {
    return findDeclared(this.#spec, this.#parts.inFlight, sequence, declared);
  }

  // --- connection ----------------------------------------------------------------------------------------------------

  #connection(event: ConnectionEvent): void {
    if (this.#final !== undefined) return;
    if (event.type === 'denied') {
      this.#parts.denials.noted(event);
      return;
    }
    if (event.type === 'closed') {
      this.#parts.observe?.({ type: 'connection.closed', pipeline: this.#spec.name });
      if (this.#draining === undefined) {
        const cause = event.error === undefined ? {} : { cause: event.error };
        this.#fault('CONNECTION_CLOSED', 'the NATS connection was closed for good', cause);
      } else for (const puller of this.#parts.pullers) puller.close();
      return;
    }
    if (event.type === 'disconnected') {
      this.#parts.outage.began();
      for (const puller of this.#parts.pullers) puller.close();
      this.#parts.observe?.({ type: 'connection.lost', pipeline: this.#spec.name });
      this.#refresh('connection lost');
      return;
    }
    this.#parts.denials.reset();
    if (this.#draining === undefined) for (const puller of this.#parts.pullers) puller.open();
    for (const source of this.#parts.sources) source.reset();
    // A pin whose time ran out meanwhile takes with it what is held of its partition, before it is sent.
    this.#parts.partitions?.reconnected();
    this.#parts.outage.ended();
    this.#refresh('connection restored');
    this.#parts.scheduler.advance();
  }

  // --- ending --------------------------------------------------------------------------------------------------------

  async #drain(timeoutMs: number): Promise<DrainReport> {
    // Let `#draining` be set before anything looks at it.
    await Promise.resolve();
    this.#refresh('draining');
    this.#parts.partitions?.leave();
    const report = await this.#parts.shutdown.drain(timeoutMs);
    if (this.#parts.port.connected) await this.#parts.partitions?.release();
    // What it holds of limits is free at once, not when it is found gone.
    await this.#parts.limiter?.close();
    this.#parts.observe?.({ type: 'drain.finished', pipeline: this.#spec.name, report });
    this.#stop('drained');
    this.#resolveDone();
    return report;
  }

  #fault(code: PipelineFault['code'], message: string, options?: ErrorOptions): void {
    const fault = new PipelineFault(code, `pipeline ${this.#spec.name}: ${message}`, options);
    this.#parts.log.error({ pipeline: this.#spec.name, code }, fault.message);
    const now = this.#parts.clock.now();
    for (const run of this.#parts.inFlight.runs) run.abort(new HandlerAborted('DRAIN_FORCED', message), now);
    this.#stop(message);
    this.#rejectDone(fault);
  }

  #stop(reason: string): void {
    this.#final = 'stopped';
    this.#parts.partitions?.close();
    this.#parts.heartbeat.close();
    this.#stopListening();
    this.#parts.settlements.close();
    this.#parts.demand.close();
    void this.#parts.limiter?.close();
    for (const source of this.#parts.sources) source.close();
    for (const puller of this.#parts.pullers) puller.close();
    this.#parts.inFlight.waits.endAll();
    this.#refresh(reason);
    this.#parts.inFlight.wakeIdle(true);
  }

  // --- state ---------------------------------------------------------------------------------------------------------

  #refresh(reason: string): void {
    const from = this.#state;
    const to = this.#whatState();
    if (to === from) return;
    this.#state = to;
    this.#parts.observe?.({ type: 'state.changed', pipeline: this.#spec.name, from, to, reason });
    this.#parts.log.info({ pipeline: this.#spec.name, from, to, reason }, 'pipeline state');
  }

  get #closing(): boolean {
    return this.#paused !== undefined || this.#draining !== undefined || this.#final !== undefined;
  }

  #whatState(): State {
    if (this.#final !== undefined) return this.#final;
    if (this.#draining !== undefined) return 'draining';
    if (!this.#parts.port.connected || this.#parts.sources.some((source) => source.trouble !== undefined))
      return 'disconnected';
    if (this.#paused !== undefined) return 'paused';
    if (this.#parts.breaker !== undefined && this.#parts.breaker.phase !== 'closed') return 'tripped';
    return 'running';
  }
}
