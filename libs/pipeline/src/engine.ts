import { Scheduler } from './schedule/scheduler.ts';
import { Batcher } from './schedule/batcher.ts';
import { Breaker } from './schedule/breaker.ts';
import { guardClock, type Clock } from './clock.ts';
import type { LiveConsumer } from './pull/consumer-check.ts';
import { LiveConsumers } from './pull/live-consumers.ts';
import { Settler } from './settle/settler.ts';
import { explain, findDeclared, healthOf, snapshotOf } from './status.ts';
import type { StatusSources } from './status.ts';
import { ConditionEvents } from './condition-events.ts';
import { Outage } from './settle/outage.ts';
import { Denials } from './settle/denials.ts';
import { Demand } from './pull/demand.ts';
import { Shutdown } from './shutdown.ts';
import { HandlerAborted, PipelineFault } from './errors.ts';
import { guardObserver } from './events.ts';
import type { Observer } from './events.ts';
import { guardLogger } from './log.ts';
import type { Logger } from './log.ts';
import { flowFields, rateFields } from './config/options.ts';
import { Limiter } from './limits/limiter.ts';
import type { Excess } from './limits/limiter.ts';
import { SetAside } from './limits/set-aside.ts';
import type { ConnectionEvent, NatsPort } from './nats/port.ts';
import { Partitions } from './partitions/partitions.ts';
import type { Delivery } from './process/delivery.ts';
import { Prefetch } from './pull/prefetch.ts';
import { Processor } from './process/processor.ts';
import { MOST_PER_PULL } from './pull/puller.ts';
import type { Puller } from './pull/puller.ts';
import { makeSources } from './pull/sources.ts';
import type { ResolvedRate, ResolvedSource, ResolvedSpec } from './config/resolve-spec.ts';
import type { DrainReport, Explanation, Health, RunningPipeline, Snapshot, State } from './running.ts';
import type { EngineEffects, Runtime } from './runtime.ts';
import { resolve } from './config/schema.ts';
import { Settlements } from './settle/settlements.ts';
import type { SourceHealth } from './pull/source-health.ts';
import { Heartbeat } from './settle/heartbeat.ts';
import { InFlight } from './schedule/in-flight.ts';

/** A consumer is looked at this often while messages are held. */
const RECHECK_MS = 1000;
/** And every so many lifetimes of a pull without a reason: every ten seconds by default. */
const PULLS_PER_RECHECK = 5;
/** Messages on their way to where they are set aside. */
const MAX_SETTING_ASIDE = 256;
/** Half of what the consumer hands out at most is prefetched: the rest is for other replicas and parked retries. */
const MAX_PREFETCH = 1024;

const isPartition = ({ partition }: ResolvedSource): boolean => partition !== undefined;

const mostPrefetched = (maxAckPending: number, concurrency: number): number =>
  Math.min(MAX_PREFETCH, Math.floor(maxAckPending / 2) - concurrency);

/** A pipeline at work: wires pulling, scheduling, handling and settling together and keeps the state in `State`. */
export class Engine<T, D> implements RunningPipeline {
  readonly done: Promise<void>;
  readonly #spec: ResolvedSpec<T, D>;
  readonly #port: NatsPort;
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #observe: Observer | undefined;
  readonly #live: LiveConsumers<T, D>;
  readonly #outage: Outage<T, D>;
  readonly #conditions: ConditionEvents;
  readonly #inFlight: InFlight<T, D>;
  readonly #settlements: Settlements;
  readonly #settler: Settler<T, D>;
  readonly #denials: Denials;
  readonly #scheduler: Scheduler<T, D>;
  readonly #heartbeat: Heartbeat<T, D>;
  readonly #shutdown: Shutdown<T, D>;
  readonly #pullers: readonly Puller[];
  readonly #sources: readonly SourceHealth[];
  readonly #demand: Demand;
  readonly #status: StatusSources<T, D>;
  readonly #breaker: Breaker | undefined;
  readonly #limiter: Limiter<T> | undefined;
  readonly #setAside: SetAside<T> | undefined;
  readonly #prefetch: Prefetch | undefined;
  readonly #partitions: Partitions<T, D> | undefined;
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
    systemClock: Clock,
    log: Logger,
    live: readonly LiveConsumer[],
    effects: EngineEffects = {},
  ) {
    this.#spec = spec;
    this.#port = runtime.nats;
    const guardedLog = guardLogger(log);
    const clock = guardClock(systemClock, (error) =>
      guardedLog.error({ pipeline: spec.name, err: error }, 'a timer failed'),
    );
    this.#clock = clock;
    this.#log = guardedLog;
    const observe = guardObserver(runtime.observe, guardedLog);
    this.#observe = observe;
    this.#live = new LiveConsumers(this.#port, spec, clock, live, (index, now, before, since) =>
      this.#seen(index, now, before, since),
    );
    const weights = spec.sources.map((source) => source.weight);
    const limiter: Limiter<T> | undefined =
      spec.limits === undefined
        ? undefined
        : new Limiter<T>(
            {
              limits: spec.limits,
              pipeline: spec.name,
              clock,
              log: guardedLog,
              observe,
              random: runtime.random ?? Math.random,
              slots: () => inFlight.concurrency,
              maySetAside: () => this.#setAside !== undefined && inFlight.settingAside < MAX_SETTING_ASIDE,
              maxAckPending: () => this.#live.maxAckPending,
              wake: () => this.#scheduler.advance(),
            },
            weights.length,
          );
    this.#limiter = limiter;
    this.#setAside =
      spec.delayed === undefined || limiter === undefined
        ? undefined
        : new SetAside<T>(this.#port, clock, spec.delayed.subject);
    const inFlight: InFlight<T, D> = new InFlight<T, D>(weights, spec.flow.concurrency, limiter?.queues);
    this.#inFlight = inFlight;
    this.#settlements = new Settlements(this.#port, clock, spec.ack.confirm);
    this.#breaker = spec.breaker === undefined ? undefined : new Breaker(spec.breaker);
    const { deps, instrument, inject, random = Math.random } = runtime;
    const hasReadableHeaders = this.#port.hasReadableHeaders?.bind(this.#port);
    const processing = { deps, clock, random, log: guardedLog, observe, instrument, inject, hasReadableHeaders };
    let prefetch: Prefetch | undefined;
    const settler = new Settler<T, D>({
      name: spec.name,
      effects,
      port: this.#port,
      clock,
      log: guardedLog,
      observe,
      inFlight,
      settlements: this.#settlements,
      breaker: this.#breaker,
      limiter,
      processor: () => processor,
      scheduler: () => this.#scheduler,
      prefetch: () => prefetch,
      tally: () => this.#shutdown.tally,
      stopped: () => this.#final !== undefined,
      countsAttempts: spec.attempts !== undefined,
      holds: spec.sources.some(isPartition) ? (source) => this.#partitions?.holds(source) !== false : undefined,
      breakerChanged: (reason) => this.#refresh(reason),
    });
    this.#settler = settler;
    const processor: Processor<T, D> = new Processor(spec, processing, settler, this.#live);
    const { pullers, sources } = makeSources({
      spec,
      port: this.#port,
      clock,
      log: guardedLog,
      observe,
      live: this.#live,
      // A replay's consumer is its own, and no other caller's to change.
      recheckEveryMs: effects.deadLetters === 'drop' ? undefined : PULLS_PER_RECHECK * spec.flow.expiresMs,
      receive: (index, raw, puller) => this.#scheduler.receive(index, raw, puller),
      unpinned: (index, pin) => this.#partitions?.refused(index, pin),
      requestSoon: () => this.#scheduler.requestSoon(),
      request: () => this.#scheduler.request(),
      probeSettling: (index) => this.#denials.probe(index),
      changed: (reason) => this.#refresh(reason),
    });
    this.#pullers = pullers;
    this.#denials = new Denials(this.#port, this.#settlements, pullers, sources);
    this.#sources = sources;
    const wake = (): void => this.#scheduler.advance();
    this.#demand = new Demand(this.#pullers, weights, spec.rate, clock, { pipeline: spec.name, observe, wake });
    if (spec.work.kind === 'batch') {
      inFlight.batcher = new Batcher(spec.work.batch, clock, (items, closedBy, waitedMs, bytes) => {
        inFlight.batches.add({ items, closedBy, waitedMs, bytes });
        this.#scheduler.startBatches();
      });
    } else if (spec.flow.prefetch === undefined) {
      prefetch = new Prefetch(
        spec.flow.concurrency,
        this.#live.ackWaitMs,
        mostPrefetched(this.#live.maxAckPending, spec.flow.concurrency),
      );
    }
    const shared = {
      spec,
      clock,
      log: guardedLog,
      observe,
      inFlight,
      processor,
      settlements: this.#settlements,
      prefetch,
      limiter,
    };
    this.#prefetch = prefetch;
    this.#conditions = new ConditionEvents(spec.name, clock, observe);
    this.#outage = new Outage<T, D>({
      ...shared,
      port: this.#port,
      settler,
      live: this.#live,
      heartbeat: () => this.#heartbeat,
      stopped: () => this.#final !== undefined,
    });
    this.#partitions = spec.sources.some(isPartition)
      ? new Partitions<T, D>({
          ...shared,
          port: this.#port,
          live: this.#live,
          pullers: this.#pullers,
          sources: this.#sources,
          requestSoon: () => this.#scheduler.requestSoon(),
          startKept: (deliveries) => this.#scheduler.startKept(deliveries),
          releaseWaitingOf: (index) => this.#shutdown.releaseWaitingOf(index),
        })
      : undefined;
    this.#status = {
      ...shared,
      partitions: this.#partitions,
      port: this.#port,
      pullers: this.#pullers,
      sources: this.#sources,
      live: this.#live,
      demand: this.#demand,
    };
    this.#scheduler = new Scheduler<T, D>({
      ...shared,
      demand: this.#demand,
      attempts: processor.attempts,
      breaker: this.#breaker,
      wait: (delivery, delayMs) => settler.wait(delivery, delayMs),
      defer: (excess) => this.#defer(excess),
      open: () => !this.#closing && this.#breaker?.phase !== 'open' && this.#port.connected,
      closing: () => this.#closing,
      usable: (index) => this.#sources[index]?.usable === true,
      outdated: (delivery) => this.#outage.outdate(delivery),
      epoch: (index) => this.#live.epoch(index),
      partitions: this.#partitions,
    });
    this.#heartbeat = new Heartbeat<T, D>({
      ...shared,
      pullers: this.#pullers,
      sources: this.#sources,
      heartbeatMs: () => Math.min(spec.ack.heartbeatMs ?? Number.POSITIVE_INFINITY, this.#live.ackWaitMs / 3),
      holding: (oldestReceivedAt) => this.#recheck(oldestReceivedAt),
      connected: () => this.#port.connected && this.#final === undefined,
      ticking: () => this.#partitions?.tick(),
      request: () => this.#scheduler.request(),
      ticked: () => this.#conditions.compare(this.health().conditions),
      allHung: () => {
        if (this.#draining !== undefined) return;
        this.#fault(
          'ALL_HANDLERS_HUNG',
          `all ${inFlight.hungHandlers} slots are taken by handlers that ignore their abort signal`,
        );
      },
    });
    this.#shutdown = new Shutdown<T, D>({
      ...shared,
      port: this.#port,
      resent: () => this.#outage.resent,
      heartbeat: this.#heartbeat,
      pullers: this.#pullers,
      release: (delivery, delayMs) => settler.release(delivery, false, delayMs),
    });
    this.done = new Promise<void>((resolve, reject) => {
      this.#resolveDone = resolve;
      this.#rejectDone = reject;
    });
    this.#stopListening = this.#port.onConnection((event) => this.#connection(event));
    for (const puller of this.#pullers) puller.open();
    this.#partitions?.join();
    this.#refresh('started');
    this.#scheduler.advance();
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
    this.#demand.setRate(resolved);
    this.#scheduler.advance();
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
    const { maxAckPending } = this.#live;
    const held = work.kind === 'batch' ? concurrency * work.batch.maxSize : concurrency + (flow.prefetch ?? 0);
    if (held > maxAckPending) {
      throw new RangeError(
        `with concurrency ${concurrency} it may hold ${held} messages, and max_ack_pending is ${maxAckPending}`,
      );
    }
    this.#inFlight.concurrency = concurrency;
    this.#prefetch?.resize(concurrency, mostPrefetched(maxAckPending, concurrency));
    this.#scheduler.advance();
  }

  cancel(sequence: number, options: { readonly source?: number; readonly reason?: string } = {}): boolean {
    const delivery = this.#find(sequence, options.source ?? 0);
    if (delivery === undefined || this.#spec.work.kind === 'batch') return false;
    const error = new HandlerAborted('CANCELLED', options.reason ?? 'cancelled');
    if (delivery.phase === 'waiting') {
      delivery.fault = { error };
      this.#settler.endWait(delivery);
      return true;
    }
    const run = this.#inFlight.runOf(delivery);
    if (run?.phase !== 'running') return false;
    run.abort(error, this.#clock.now());
    return true;
  }

  async pause(reason: string): Promise<void> {
    if (this.#draining !== undefined || this.#final !== undefined) return;
    const pause = (this.#paused ??= Symbol(reason));
    this.#refresh(reason);
    this.#partitions?.leave();
    const stillPaused = (): boolean => this.#paused === pause && this.#draining === undefined;
    await this.#shutdown.pullsEnded();
    if (!stillPaused()) return;
    await this.#shutdown.releaseUnstarted(stillPaused);
    if (stillPaused()) await this.#partitions?.release();
  }

  resume(): void {
    if (this.#paused === undefined) return;
    this.#paused = undefined;
    this.#partitions?.join();
    this.#refresh('resumed');
    this.#scheduler.advance();
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
    return snapshotOf(this.#status, this.#state, this.#outage.connections);
  }

  health(): Health {
    return healthOf(this.#status, this.#final ?? this.#state);
  }

  explain(sequence: number, source = 0): Explanation {
    return explain(this.#status, this.#state, sequence, source);
  }

  /** A message by the place of its source in the spec: each partition is a source of its own here. */
  #find(sequence: number, declared: number): Delivery<T> | undefined {
    return findDeclared(this.#spec, this.#inFlight, sequence, declared);
  }

  // --- connection ----------------------------------------------------------------------------------------------------

  #connection(event: ConnectionEvent): void {
    if (this.#final !== undefined) return;
    if (event.type === 'denied') {
      this.#denials.noted(event);
      return;
    }
    if (event.type === 'closed') {
      this.#observe?.({ type: 'connection.closed', pipeline: this.#spec.name });
      if (this.#draining === undefined) {
        const cause = event.error === undefined ? {} : { cause: event.error };
        this.#fault('CONNECTION_CLOSED', 'the NATS connection was closed for good', cause);
      } else for (const puller of this.#pullers) puller.close();
      return;
    }
    if (event.type === 'disconnected') {
      this.#outage.began();
      for (const puller of this.#pullers) puller.close();
      this.#observe?.({ type: 'connection.lost', pipeline: this.#spec.name });
      this.#refresh('connection lost');
      return;
    }
    this.#denials.reset();
    if (this.#draining === undefined) for (const puller of this.#pullers) puller.open();
    for (const source of this.#sources) source.reset();
    // A pin whose time ran out meanwhile takes with it what is held of its partition, before it is sent.
    this.#partitions?.reconnected();
    this.#outage.ended();
    this.#refresh('connection restored');
    this.#scheduler.advance();
  }

  /** A consumer was looked at: its limits may have been changed, and it may have been made again. */
  #seen(index: number, now: LiveConsumer, before: LiveConsumer, since: number): void {
    const source = this.#spec.sources[index];
    const puller = this.#pullers[index];
    if (source === undefined || puller === undefined) return;
    puller.maxBatch = now.maxBatch ?? MOST_PER_PULL;
    if (now.ackWaitMs < before.ackWaitMs) this.#heartbeat.extend();
    if (before.created === undefined || before.created === now.created) return;
    this.#outage.consumerMadeAgain(index, since);
  }

  /** While messages are held for long: a lowered ack_wait would have them redelivered between two heartbeats. */
  #recheck(oldestReceivedAt: number): void {
    if (this.#final !== undefined || this.#clock.now() - oldestReceivedAt < RECHECK_MS) return;
    for (const [index, source] of this.#sources.entries()) {
      if (source.trouble === undefined && this.#live.ageMs(index) >= RECHECK_MS) source.askAboutConsumer();
    }
  }

  /** A limit keeps the message from starting for long: it makes room for others and comes again. */
  #defer({ delivery, delayMs, aside }: Excess<T>): void {
    const limit = this.#limiter?.waitsFor(delivery)?.limit ?? 'slots';
    this.#observe?.({ type: 'message.deferred', pipeline: this.#spec.name, message: delivery.message, delayMs, limit });
    if (aside && this.#setAside !== undefined) {
      this.#inFlight.settingAside++;
      void this.#settler.setAside(delivery, this.#setAside.store(delivery, delayMs), delayMs);
      return;
    }
    this.#limiter?.deferrals.add(delivery, delayMs, limit);
    this.#settler.defer(delivery, delayMs);
  }

  // --- ending --------------------------------------------------------------------------------------------------------

  async #drain(timeoutMs: number): Promise<DrainReport> {
    // Let `#draining` be set before anything looks at it.
    await Promise.resolve();
    this.#refresh('draining');
    this.#partitions?.leave();
    const report = await this.#shutdown.drain(timeoutMs);
    if (this.#port.connected) await this.#partitions?.release();
    // What it holds of limits is free at once, not when it is found gone.
    await this.#limiter?.close();
    this.#observe?.({ type: 'drain.finished', pipeline: this.#spec.name, report });
    this.#stop('drained');
    this.#resolveDone();
    return report;
  }

  #fault(code: PipelineFault['code'], message: string, options?: ErrorOptions): void {
    const fault = new PipelineFault(code, `pipeline ${this.#spec.name}: ${message}`, options);
    this.#log.error({ pipeline: this.#spec.name, code }, fault.message);
    const now = this.#clock.now();
    for (const run of this.#inFlight.runs) run.abort(new HandlerAborted('DRAIN_FORCED', message), now);
    this.#stop(message);
    this.#rejectDone(fault);
  }

  #stop(reason: string): void {
    this.#final = 'stopped';
    this.#partitions?.close();
    this.#heartbeat.close();
    this.#stopListening();
    this.#settlements.close();
    this.#demand.close();
    void this.#limiter?.close();
    for (const source of this.#sources) source.close();
    for (const puller of this.#pullers) puller.close();
    this.#inFlight.waits.endAll();
    this.#refresh(reason);
    this.#inFlight.wakeIdle(true);
  }

  // --- state ---------------------------------------------------------------------------------------------------------

  #refresh(reason: string): void {
    const from = this.#state;
    const to = this.#whatState();
    if (to === from) return;
    this.#state = to;
    this.#observe?.({ type: 'state.changed', pipeline: this.#spec.name, from, to, reason });
    this.#log.info({ pipeline: this.#spec.name, from, to, reason }, 'pipeline state');
  }

  get #closing(): boolean {
    return this.#paused !== undefined || this.#draining !== undefined || this.#final !== undefined;
  }

  #whatState(): State {
    if (this.#final !== undefined) return this.#final;
    if (this.#draining !== undefined) return 'draining';
    if (!this.#port.connected || this.#sources.some((source) => source.trouble !== undefined)) return 'disconnected';
    if (this.#paused !== undefined) return 'paused';
    if (this.#breaker !== undefined && this.#breaker.phase !== 'closed') return 'tripped';
    return 'running';
  }
}
