import { Scheduler } from './schedule/scheduler.ts';
import { Batcher } from './schedule/batcher.ts';
import { Breaker } from './schedule/breaker.ts';
import type { Clock } from './clock.ts';
import { checkConsumer } from './pull/consumer-check.ts';
import type { LiveConsumer } from './pull/consumer-check.ts';
import type { Delivery } from './process/delivery.ts';
import { Demand } from './pull/demand.ts';
import { errorMessage } from './process/describe-error.ts';
import { Shutdown } from './shutdown.ts';
import { HandlerAborted, PipelineFault } from './errors.ts';
import type { Observer } from './events.ts';
import { guardLogger } from './log.ts';
import type { Logger } from './log.ts';
import { rateFields } from './config/options.ts';
import type { ConnectionEvent, NatsPort } from './nats/port.ts';
import { Prefetch } from './pull/prefetch.ts';
import { Processor } from './process/processor.ts';
import type { ProcessorHost } from './process/processor.ts';
import { MOST_PER_PULL, Puller } from './pull/puller.ts';
import type { ResolvedRate, ResolvedSpec } from './config/resolve-spec.ts';
import type { Run } from './process/run.ts';
import type { DrainReport, Explanation, Health, RunningPipeline, Snapshot, State } from './running.ts';
import type { Runtime } from './runtime.ts';
import { resolve } from './config/schema.ts';
import { Settlements } from './settle/settlements.ts';
import { withTimeout } from './settle/with-timeout.ts';
import { SourceHealth } from './pull/source-health.ts';
import { Heartbeat } from './settle/heartbeat.ts';
import { InFlight } from './schedule/in-flight.ts';

/** How long an answer about a consumer may take before what is known has to do. */
const CHECK_TIMEOUT_MS = 2000;
const RECHECK_MS = 1000;
const MAX_PREFETCH = 1024;

/** What a pipeline may do besides handling: a replay of history has no effects of its own. */
export interface EngineEffects {
  readonly emits?: 'drop' | 'publish';
  readonly deadLetters?: 'drop' | 'publish';
}

const DROPPED = Promise.resolve({ stream: '', sequence: 0, duplicate: false });

/** A pipeline at work: wires pulling, scheduling, handling and settling together and keeps the state in `State`. */
export class Engine<T, D> implements RunningPipeline, ProcessorHost<T, D> {
  readonly done: Promise<void>;
  readonly #spec: ResolvedSpec<T, D>;
  readonly #effects: EngineEffects;
  readonly #port: NatsPort;
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #observe: Observer | undefined;
  /** The consumers as they were seen last. */
  readonly #live: LiveConsumer[];
  #checkedAt = 0;
  #checking = false;
  #resent: Promise<void> = Promise.resolve();
  readonly #started: readonly LiveConsumer[];
  readonly #inFlight: InFlight<T, D>;
  readonly #settlements: Settlements;
  readonly #processor: Processor<T, D>;
  readonly #scheduler: Scheduler<T, D>;
  readonly #heartbeat: Heartbeat<T, D>;
  readonly #shutdown: Shutdown<T, D>;
  readonly #pullers: readonly Puller[];
  readonly #sources: readonly SourceHealth[];
  readonly #demand: Demand;
  readonly #prefetch: Prefetch | undefined;
  readonly #breaker: Breaker | undefined;
  readonly #stopListening: () => void;
  #resolveDone: () => void = () => undefined;
  #rejectDone: (fault: PipelineFault) => void = () => undefined;
  #state: State = 'starting';
  #paused: string | undefined;
  #draining: Promise<DrainReport> | undefined;
  #final: 'stopped' | undefined;
  #connections = 1;
  #lostAt = 0;

  constructor(
    spec: ResolvedSpec<T, D>,
    runtime: Runtime<D>,
    clock: Clock,
    log: Logger,
    live: readonly LiveConsumer[],
    effects: EngineEffects = {},
  ) {
    this.#spec = spec;
    this.#effects = effects;
    this.#port = runtime.nats;
    this.#clock = clock;
    const guardedLog = guardLogger(log);
    this.#log = guardedLog;
    const observe = guardObserver(runtime.observe, guardedLog);
    this.#observe = observe;
    this.#live = [...live];
    this.#checkedAt = clock.now();
    this.#started = live;
    const weights = spec.sources.map((source) => source.weight);
    const inFlight = new InFlight<T, D>(weights);
    this.#inFlight = inFlight;
    this.#settlements = new Settlements(this.#port, clock, spec.ack.confirm);
    this.#breaker = spec.breaker === undefined ? undefined : new Breaker(spec.breaker);
    const { deps, instrument, inject, random = Math.random } = runtime;
    const processing = { deps, clock, random, log: guardedLog, observe, instrument, inject };
    this.#processor = new Processor(spec, processing, this, this.#ackWaitMs);
    this.#pullers = spec.sources.map((source, index) => this.#makePuller(source, index, live[index]?.maxBatch));
    this.#sources = this.#pullers.map((puller, index) => this.#makeHealth(puller, index));
    const wake = (): void => this.#scheduler.advance();
    this.#demand = new Demand(this.#pullers, weights, spec.rate, clock, { pipeline: spec.name, observe, wake });
    if (spec.work.kind === 'batch') {
      inFlight.batcher = new Batcher(spec.work.batch, clock, (items, closedBy, waitedMs, bytes) => {
        inFlight.batches.add({ items, closedBy, waitedMs, bytes });
        this.#scheduler.startBatches();
      });
    } else if (spec.flow.prefetch === undefined) {
      this.#prefetch = new Prefetch(spec.flow.concurrency, this.#ackWaitMs, maxPrefetch(live, spec.flow.concurrency));
    }
    const shared = {
      spec,
      clock,
      log: guardedLog,
      observe,
      inFlight,
      processor: this.#processor,
      settlements: this.#settlements,
      prefetch: this.#prefetch,
    };
    this.#scheduler = new Scheduler<T, D>({
      ...shared,
      demand: this.#demand,
      attempts: this.#processor.attempts,
      breaker: this.#breaker,
      open: () => !this.#closing && this.#breaker?.phase !== 'open' && this.#port.connected,
      closing: () => this.#closing,
      usable: (index) => this.#sources[index]?.usable === true,
      outdated: (delivery) => this.#outdate(delivery),
    });
    this.#heartbeat = new Heartbeat<T, D>({
      ...shared,
      pullers: this.#pullers,
      sources: this.#sources,
      heartbeatMs: () => Math.min(spec.ack.heartbeatMs ?? Number.POSITIVE_INFINITY, this.#ackWaitMs / 3),
      holding: (oldestReceivedAt) => this.#recheck(oldestReceivedAt),
      connected: () => this.#port.connected && this.#final === undefined,
      request: () => this.#scheduler.request(),
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
      resent: () => this.#resent,
      heartbeat: this.#heartbeat,
      pullers: this.#pullers,
      release: (delivery, delayMs) => this.release(delivery, false, delayMs),
    });
    this.done = new Promise<void>((resolve, reject) => {
      this.#resolveDone = resolve;
      this.#rejectDone = reject;
    });
    this.#stopListening = this.#port.onConnection((event) => this.#connection(event));
    for (const puller of this.#pullers) puller.open();
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

  async pause(reason: string): Promise<void> {
    if (this.#draining !== undefined || this.#final !== undefined) return;
    this.#paused = reason;
    this.#refresh(reason);
    await this.#shutdown.pullsEnded();
    if (this.#paused === undefined || this.#draining !== undefined) return;
    await this.#shutdown.releaseUnstarted(() => this.#paused !== undefined && this.#draining === undefined);
  }

  resume(): void {
    if (this.#paused === undefined) return;
    this.#paused = undefined;
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
    const inFlight = this.#inFlight;
    const { inHandlers } = inFlight;
    return {
      state: this.#state,
      inFlight: inHandlers + (this.#spec.work.kind === 'single' ? inFlight.admitting : 0),
      buffered: inFlight.buffer.heldCount() - inHandlers - inFlight.admitting,
      requested: this.#pullers.reduce((sum, puller) => sum + puller.requested, 0),
      prefetch: this.#prefetch?.current ?? this.#spec.flow.prefetch ?? 0,
      unconfirmedAcks: this.#settlements.unconfirmed,
      heldSettlements: this.#settlements.held,
      hungHandlers: inFlight.hungHandlers,
      parked: inFlight.parked(this.#clock.now()),
      lag: this.#pullers.reduce((sum, puller) => sum + puller.lag, 0),
      connections: this.#connections,
    };
  }

  health(): Health {
    const silentMs = Math.max(0, ...this.#pullers.map((puller) => puller.silentMs()));
    let reason: string | undefined;
    if (this.#final !== undefined) reason = 'stopped';
    else if (!this.#port.connected) reason = 'not connected to NATS';
    else if (this.#state === 'disconnected') {
      const index = this.#sources.findIndex((source) => source.trouble !== undefined);
      const source = this.#spec.sources[index];
      const { trouble = 'unreachable', detail = '' } = this.#sources[index] ?? {};
      reason = `${source?.stream ?? ''}/${source?.consumer ?? ''} is ${trouble}${detail === '' ? '' : `: ${detail}`}`;
    } else if (this.#processor.claims.failing !== undefined) {
      reason = `the idempotency store fails: ${this.#processor.claims.failing}`;
    } else if (this.#inFlight.parked(this.#clock.now()) >= this.#maxAckPending) {
      reason = `max_ack_pending (${this.#maxAckPending}) is taken by messages that wait for their retry`;
    } else if (this.#inFlight.hungHandlers >= this.#spec.flow.concurrency)
      reason = 'every slot is taken by a handler that does not return';
    return { ok: reason === undefined, reason, silentMs };
  }

  explain(sequence: number, source = 0): Explanation {
    const delivery = this.#inFlight.buffer.find(source, sequence);
    if (delivery === undefined) return { state: 'notHeld' };
    const now = this.#clock.now();
    for (const run of this.#inFlight.runs) {
      if (run.deliveries.includes(delivery)) return { state: 'running', forMs: now - run.startedAt };
    }
    const waiting = this.#inFlight.waitingHere.get(delivery);
    if (waiting !== undefined) return { state: 'backingOff', forMs: Math.max(0, waiting.dueAt - now) };
    const { key } = delivery;
    if (key !== undefined && this.#inFlight.buffer.keyOrder.isBehind(key, delivery))
      return { state: 'orderKeyBusy', key };
    return { state: this.#state === 'starting' || this.#state === 'running' ? 'queued' : this.#state };
  }

  // --- what the processor asks for -----------------------------------------------------------------------------------

  publish(...args: Parameters<NatsPort['publish']>): ReturnType<NatsPort['publish']> {
    return this.#effects.emits === 'drop' ? DROPPED : this.#port.publish(...args);
  }

  publishDeadLetter(...args: Parameters<NatsPort['publish']>): ReturnType<NatsPort['publish']> {
    return this.#effects.deadLetters === 'drop' ? DROPPED : this.#port.publish(...args);
  }

  ack(delivery: Delivery<T>): Promise<void> | undefined {
    this.#scheduler.requestSoon();
    if (delivery.outdated) return undefined;
    const confirmed = this.#settlements.ack(delivery);
    this.#shutdown.tally.settled++;
    if (confirmed === undefined) {
      this.#inFlight.buffer.remove(delivery);
      return undefined;
    }
    return confirmed.then(() => this.#inFlight.buffer.remove(delivery));
  }

  retry(delivery: Delivery<T>, delayMs: number, failed: boolean): void {
    if (delivery.outdated) return;
    if (delivery.key !== undefined && this.#final === undefined) {
      // Its successors wait for it, so it must not leave: if the buffer filled up behind it, the server could not
      // bring it back. Heartbeats keep it here while it waits.
      if (failed) delivery.attempt++;
      this.wait(delivery, delayMs);
      return;
    }
    this.#processor.attempts.left(delivery, failed);
    this.#settlements.nak(delivery, delayMs);
    this.#shutdown.tally.settled++;
    const now = this.#clock.now();
    this.#inFlight.naked.add(now + delayMs, now);
    this.#inFlight.buffer.remove(delivery);
  }

  wait(delivery: Delivery<T>, delayMs: number): void {
    if (delivery.outdated) return;
    delivery.phase = 'waiting';
    // Beside a hung handler of its key it must not run: its wait begins to count when that one returns.
    const timer = delivery.hung ? undefined : this.#clock.after(delayMs, () => this.#waitEnded(delivery));
    this.#inFlight.waitingHere.set(delivery, { timer, dueAt: this.#clock.now() + delayMs });
  }

  #waitEnded(delivery: Delivery<T>): void {
    this.#inFlight.waitingHere.delete(delivery);
    try {
      this.#inFlight.buffer.queue(delivery);
    } catch (error) {
      this.#processor.fault(delivery, error);
    }
    this.#scheduler.advance();
  }

  release(delivery: Delivery<T>, silently: boolean, delayMs?: number): void {
    if (delivery.outdated) return;
    this.#processor.attempts.left(delivery, false);
    if (!silently) {
      this.#settlements.nak(delivery, delayMs);
      this.#shutdown.tally.released++;
    }
    this.#inFlight.buffer.remove(delivery);
  }

  /** A hung handler returned after all: its keys are free, and what waits for its retry may run. */
  #hungReturned(run: Run<T, D>): void {
    for (const delivery of run.deliveries) {
      delivery.hung = false;
      const waiting = this.#inFlight.waitingHere.get(delivery);
      if (waiting === undefined) this.#inFlight.buffer.freeKey(delivery);
      else this.wait(delivery, Math.max(0, waiting.dueAt - this.#clock.now()));
    }
  }

  runStarted(run: Run<T, D>): void {
    this.#inFlight.runs.add(run);
  }

  runEnded(run: Run<T, D>): void {
    this.#inFlight.runs.delete(run);
    if (run.deliveries.some(({ hung }) => hung)) this.#hungReturned(run);
    if (run.countedAsHung) {
      this.#inFlight.hungHandlers--;
      this.#inFlight.hungMessages -= run.deliveries.length;
      const { hungHandlers } = this.#inFlight;
      const [message] = run.deliveries;
      this.#observe?.({ type: 'handler.hungReturned', pipeline: this.#spec.name, message, hungHandlers });
    }
    this.#prefetch?.learn(run.endedAt - run.startedAt);
    this.#scheduler.slotFreed();
  }

  sample(failed: boolean, error: unknown, startedAt: number): void {
    const breaker = this.#breaker;
    if (breaker === undefined || (failed && !breaker.counts(error))) return;
    const change = breaker.record(failed, startedAt);
    if (change === 'close') {
      this.#observe?.({ type: 'breaker.closed', pipeline: this.#spec.name });
      this.#refresh('the probe succeeded');
    } else if (change === 'trip') {
      const { failures, samples, coolDownMs } = breaker;
      this.#observe?.({ type: 'breaker.tripped', pipeline: this.#spec.name, failures, samples, coolDownMs });
      this.#clock.after(coolDownMs, () => {
        breaker.probe(this.#clock.now());
        this.#observe?.({ type: 'breaker.probing', pipeline: this.#spec.name });
        this.#scheduler.advance();
      });
      this.#refresh('too many failures');
    }
  }

  // --- connection ----------------------------------------------------------------------------------------------------

  #connection(event: ConnectionEvent): void {
    if (this.#final !== undefined) return;
    if (event.type === 'closed') {
      this.#observe?.({ type: 'connection.closed', pipeline: this.#spec.name });
      if (this.#draining === undefined) {
        const cause = event.error === undefined ? {} : { cause: event.error };
        this.#fault('CONNECTION_CLOSED', 'the NATS connection was closed for good', cause);
      } else for (const puller of this.#pullers) puller.close();
      return;
    }
    if (event.type === 'disconnected') {
      this.#lostAt = this.#clock.now();
      for (const puller of this.#pullers) puller.close();
      this.#observe?.({ type: 'connection.lost', pipeline: this.#spec.name });
      this.#refresh('connection lost');
      return;
    }
    this.#connections++;
    if (this.#draining === undefined) for (const puller of this.#pullers) puller.open();
    for (const source of this.#sources) source.reset();
    this.#afterOutage();
    this.#resent = this.#resend();
    this.#refresh('connection restored');
    this.#scheduler.advance();
  }

  /** Sends held settlements, unless the consumer is another one by now: they would settle messages of other holders. */
  async #resend(): Promise<void> {
    const connections = this.#connections;
    await this.#check();
    // Cut again meanwhile: the next connection sends them.
    if (this.#final !== undefined || connections !== this.#connections || !this.#port.connected) return;
    const resent = this.#settlements.resend(this.#ackWaitMs);
    this.#observe?.({ type: 'connection.restored', pipeline: this.#spec.name, connections, resent });
  }

  /** Looks at the live consumers: their ack_wait may have been changed, and they may have been made again. */
  async #check(): Promise<void> {
    this.#checkedAt = this.#clock.now();
    this.#checking = true;
    await Promise.all(
      this.#spec.sources.map(async (_, index) => {
        try {
          const call = checkConsumer(this.#port, this.#spec, index);
          const { live } = await withTimeout(call, CHECK_TIMEOUT_MS, this.#clock, 'CONSUMER.INFO');
          if (live !== undefined) this.#seen(index, live);
        } catch {
          // Without an answer what is known stays; a consumer that is gone is noticed by its pulls.
        }
      }),
    );
    this.#checking = false;
  }

  #seen(index: number, live: LiveConsumer): void {
    const before = this.#live[index];
    this.#live[index] = live;
    const source = this.#spec.sources[index];
    const puller = this.#pullers[index];
    if (puller !== undefined) puller.maxBatch = live.maxBatch ?? MOST_PER_PULL;
    if (before === undefined || source === undefined) return;
    if (live.ackWaitMs < before.ackWaitMs) this.#heartbeat.extend();
    if (before.created === live.created) return;
    this.#settlements.forget(index, `$JS.ACK.${source.stream}.${source.consumer}.`);
    for (const delivery of this.#inFlight.buffer.held()) if (delivery.source === index) this.#outdate(delivery);
  }

  /** While messages are held for long: a lowered ack_wait would have them redelivered between two heartbeats. */
  #recheck(oldestReceivedAt: number): void {
    const now = this.#clock.now();
    if (this.#checking || !this.#port.connected || this.#final !== undefined) return;
    if (now - oldestReceivedAt < RECHECK_MS || now - this.#checkedAt < RECHECK_MS) return;
    void this.#check();
  }

  /** The message is no longer in the stream under its sequence: its handler goes on, and nothing is settled. */
  #outdate(delivery: Delivery<T>): void {
    delivery.outdated = true;
    delivery.hung = delivery.phase === 'running';
    this.#inFlight.waitingHere.get(delivery)?.timer?.cancel();
    this.#inFlight.waitingHere.delete(delivery);
    this.#inFlight.buffer.remove(delivery);
    this.#log.warn(
      { pipeline: this.#spec.name, stream: delivery.stream, sequence: delivery.sequence },
      'the consumer was made again: what is held of it is not settled',
    );
  }

  get #maxAckPending(): number {
    return Math.min(...this.#live.map(({ maxAckPending }) => maxAckPending ?? Number.POSITIVE_INFINITY));
  }

  get #ackWaitMs(): number {
    return Math.min(...this.#live.map(({ ackWaitMs }) => ackWaitMs));
  }

  /** What was held through an outage: either ack_wait starts again now, or it has run out and the server redelivers. */
  #afterOutage(): void {
    if (this.#clock.now() - this.#lostAt > this.#ackWaitMs) {
      for (const { delivery } of this.#inFlight.takeWaiting(this.#clock.now())) this.release(delivery, true);
    }
    this.#heartbeat.extend(true);
  }

  // --- ending --------------------------------------------------------------------------------------------------------

  async #drain(timeoutMs: number): Promise<DrainReport> {
    // Let `#draining` be set before anything looks at it.
    await Promise.resolve();
    this.#refresh('draining');
    const report = await this.#shutdown.drain(timeoutMs);
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
    this.#heartbeat.close();
    this.#stopListening();
    this.#settlements.close();
    this.#demand.close();
    for (const source of this.#sources) source.close();
    for (const puller of this.#pullers) puller.close();
    this.#inFlight.cancelWaits();
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

  #makePuller(source: ResolvedSpec<T, D>['sources'][number], index: number, maxBatch: number | undefined): Puller {
    const { expiresMs, idleHeartbeatMs } = this.#spec.flow;
    const options = { stream: source.stream, consumer: source.consumer, expiresMs, idleHeartbeatMs };
    const puller: Puller = new Puller(this.#port, this.#clock, options, {
      message: (raw) => this.#scheduler.receive(index, raw, puller),
      ended: () => this.#scheduler.requestSoon(),
      refused: (description) => this.#sources[index]?.refused(description),
      missing: (description) => this.#sources[index]?.missing(description),
      alive: () => this.#sources[index]?.alive(),
      bodyless: (raw) => {
        if (source.body === 'none') this.#scheduler.receive(index, raw, puller);
        else this.#sources[index]?.bodyless();
      },
      failed: (error) => {
        const fields = { pipeline: this.#spec.name, stream: source.stream, error: errorMessage(error) };
        this.#log.error(fields, 'a delivery could not be read, ack_wait brings it back');
      },
    });
    if (maxBatch !== undefined) puller.maxBatch = maxBatch;
    return puller;
  }

  #makeHealth(puller: Puller, index: number): SourceHealth {
    return new SourceHealth(puller, this.#clock, {
      pipeline: this.#spec.name,
      observe: this.#observe,
      log: this.#log,
      retry: () => this.#scheduler.request(),
      changed: () => this.#refresh(this.#sources[index]?.trouble ?? 'source is back'),
      recheck: async () => {
        const { problems, live, missing } = await checkConsumer(this.#port, this.#spec, index, this.#started[index]);
        // Pulls say that themselves, and are what it takes to notice that it is back.
        if (missing) return [];
        // That it was made again is left to who looks before a resend: here its new messages may be in hand already.
        const before = this.#live[index];
        if (live !== undefined && before !== undefined) this.#seen(index, { ...live, created: before.created });
        return problems.map((problem) => problem.message);
      },
      // A replay's consumer is its own, and no other caller's to change.
      recheckEveryMs: this.#effects.deadLetters === 'drop' ? undefined : RECHECKS_PER_PULL * this.#spec.flow.expiresMs,
    });
  }
}

/** The consumer is looked at every so many lifetimes of a pull: every ten seconds by default. */
const RECHECKS_PER_PULL = 2;

/** Half of what the consumer hands out at most: the rest is for other replicas and for retries that are parked. */
function maxPrefetch(live: readonly LiveConsumer[], concurrency: number): number {
  const pending = Math.min(...live.map(({ maxAckPending }) => maxAckPending ?? Number.POSITIVE_INFINITY));
  return Math.max(0, Math.min(MAX_PREFETCH, Math.floor(pending / 2) - concurrency));
}

/** An observer that throws must not take a message with it. */
function guardObserver(observe: Observer | undefined, log: Logger): Observer | undefined {
  if (observe === undefined) return undefined;
  return (event) => {
    try {
      observe(event);
    } catch (error) {
      log.error({ event: event.type, error: errorMessage(error) }, 'observer failed');
    }
  };
}
