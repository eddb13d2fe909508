import { Batcher } from './batcher.ts';
import type { ClosedBy } from './batcher.ts';
import { Breaker } from './breaker.ts';
import type { Clock, Timer } from './clock.ts';
import { checkConsumer } from './consumer-check.ts';
import type { LiveConsumer } from './consumer-check.ts';
import { Delivery, parseAckSubject } from './delivery.ts';
import type { DeliveryMeta, DeliverySource } from './delivery.ts';
import { Demand } from './demand.ts';
import { HandlerAborted, PipelineFault } from './errors.ts';
import type { Observer } from './events.ts';
import { Fifo } from './fifo.ts';
import { Intake } from './intake.ts';
import type { Logger } from './log.ts';
import type { ConnectionEvent, NatsMessage, NatsPort } from './port.ts';
import { Prefetch } from './prefetch.ts';
import { Processor } from './processor.ts';
import type { ProcessorHost } from './processor.ts';
import { Puller } from './puller.ts';
import type { ResolvedRate, ResolvedSpec } from './resolve-spec.ts';
import type { Run } from './run.ts';
import type { DrainReport, Health, RunningPipeline, Snapshot, State } from './running.ts';
import type { Runtime } from './runtime.ts';
import { resolve } from './schema.ts';
import { rateFields } from './options.ts';
import { Settlements } from './settlement.ts';
import { SourceHealth } from './source-health.ts';

type Batch<T> = readonly [Delivery<T>, ...Delivery<T>[]];

const FLUSH_TIMEOUT_MS = 2000;
/** With ordered lanes, messages that wait behind their key do not use up the room of others, up to this many per slot. */
const LANE_ROOM_PER_SLOT = 3;

/** What a pipeline may do besides handling: a replay of history has no effects of its own. */
export interface EngineEffects {
  readonly emits?: 'drop' | 'publish';
  readonly deadLetters?: 'drop' | 'publish';
}

const DROPPED = Promise.resolve({ stream: '', sequence: 0, duplicate: false });

/** A pipeline at work: wires pulling, admission, handling and settling together and keeps the state in `State`. */
export class Engine<T, D> implements RunningPipeline, ProcessorHost<T, D> {
  readonly done: Promise<void>;
  readonly #spec: ResolvedSpec<T, D>;
  readonly #effects: EngineEffects;
  readonly #port: NatsPort;
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #observe: Observer | undefined;
  readonly #live: LiveConsumer;
  readonly #heartbeatMs: number;
  readonly #settlements: Settlements;
  readonly #processor: Processor<T, D>;
  readonly #intake: Intake<T>;
  readonly #pullers: readonly Puller[];
  readonly #sources: readonly SourceHealth[];
  readonly #demand: Demand;
  readonly #prefetch: Prefetch | undefined;
  readonly #breaker: Breaker | undefined;
  readonly #batcher: Batcher<T, Delivery<T>> | undefined;
  readonly #batches = new Fifo<{ items: Batch<T>; by: ClosedBy; waitedMs: number; bytes: number }>();
  readonly #runs = new Set<Run<T, D>>();
  readonly #parkedHere = new Map<Delivery<T>, Timer>();
  readonly #stopListening: () => void;
  readonly #sweeper: Timer;
  #resolveDone: () => void = () => undefined;
  #rejectDone: (fault: PipelineFault) => void = () => undefined;

  #state: State = 'starting';
  #paused: string | undefined;
  #draining: Promise<DrainReport> | undefined;
  #final: 'stopped' | undefined;
  #epoch = 1;
  #lostAt = 0;
  /** Messages in handlers that were given up on. */
  #zombieLoad = 0;
  #zombies = 0;
  #gating = 0;
  #starting = false;
  #asking = false;
  readonly #origins: readonly DeliverySource[];
  /** Overwritten for every message: what is needed of it goes into the delivery at once. */
  readonly #meta: DeliveryMeta = { attempt: 0, sequence: 0, pending: 0 };
  #sweptAt: number;
  readonly #sweepMs: number;
  #parkedUntil: number[] = [];
  #idleWaiters: (() => void)[] = [];
  #tally = { settled: 0, returned: 0 };

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
    this.#log = log;
    this.#observe = guarded(runtime.observe, log);
    const ackWaitMs = Math.min(...live.map((consumer) => consumer.ackWaitMs));
    this.#live = { ackWaitMs, maxBatch: undefined, maxExpiresMs: undefined };
    this.#heartbeatMs = spec.lease.heartbeatMs ?? ackWaitMs / 3;
    this.#settlements = new Settlements(this.#port, clock, spec.lease.confirm);
    const random = runtime.random ?? Math.random;
    this.#processor = new Processor(
      spec,
      {
        deps: runtime.deps,
        clock,
        random,
        log,
        observe: this.#observe,
        instrument: runtime.instrument,
        inject: runtime.inject,
      },
      this,
      ackWaitMs,
    );
    this.#origins = spec.sources.map(({ stream, consumer }, index) => ({
      index,
      stream,
      consumer,
      maxAttempts: spec.retry.maxAttempts,
      ackPrefix: `$JS.ACK.${stream}.${consumer}.`,
    }));
    const weights = spec.sources.map((source) => source.weight);
    this.#intake = new Intake<T>(weights);
    this.#pullers = spec.sources.map((source, index) => this.#makePuller(source, index, live[index]?.maxBatch));
    this.#sources = this.#pullers.map((puller, index) => this.#makeHealth(puller, index));
    this.#demand = new Demand(this.#pullers, weights, spec.rate, clock, {
      pipeline: spec.name,
      observe: this.#observe,
      wake: () => this.#pump(),
    });
    this.#breaker = spec.breaker === undefined ? undefined : new Breaker(spec.breaker);
    if (spec.work.kind === 'batch') {
      this.#batcher = new Batcher(spec.work.batch, clock, (items, by, waitedMs, bytes) => {
        this.#batches.add({ items, by, waitedMs, bytes });
        this.#startBatches();
      });
    } else if (spec.flow.prefetch === undefined) {
      this.#prefetch = new Prefetch(spec.flow.concurrency, ackWaitMs, 1024);
    }
    this.done = new Promise<void>((resolve, reject) => {
      this.#resolveDone = resolve;
      this.#rejectDone = reject;
    });
    this.#sweptAt = clock.now();
    this.#sweepMs = Math.max(
      5,
      Math.min(
        250,
        this.#heartbeatMs / 2,
        spec.flow.idleHeartbeatMs / 2,
        spec.lease.handlerTimeoutMs / 4,
        Math.max(20, spec.lease.graceMs / 2),
      ),
    );
    this.#sweeper = clock.every(this.#sweepMs, () => this.#sweep());
    this.#stopListening = this.#port.onConnection((event) => this.#connection(event));
    for (const puller of this.#pullers) puller.open();
    this.#refresh('started');
    this.#pump();
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
    this.#pump();
  }

  async pause(reason: string): Promise<void> {
    if (this.#draining !== undefined || this.#final !== undefined) return;
    this.#paused = reason;
    this.#refresh(reason);
    await this.#pullsEnded();
    if (this.#paused === undefined || this.#draining !== undefined) return;
    this.#returnWaiting();
    await this.#handlersEnded();
  }

  resume(): void {
    if (this.#paused === undefined) return;
    this.#paused = undefined;
    this.#refresh('resumed');
    this.#pump();
  }

  drain(options: { timeoutMs?: number } = {}): Promise<DrainReport> {
    if (this.#final !== undefined && this.#draining === undefined) {
      return Promise.resolve({ settled: 0, returned: 0, abandoned: 0 });
    }
    this.#draining ??= this.#drain(options.timeoutMs ?? this.#spec.drainTimeoutMs);
    return this.#draining;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.drain();
  }

  snapshot(): Snapshot {
    const now = this.#clock.now();
    this.#parkedUntil = this.#parkedUntil.filter((dueAt) => dueAt > now);
    const running = [...this.#runs].reduce((sum, run) => sum + (run.phase === 'zombie' ? 0 : run.deliveries.length), 0);
    return {
      state: this.#state,
      inFlight: this.#spec.work.kind === 'single' ? this.#runs.size - this.#zombies + this.#gating : running,
      buffered: this.#intake.heldCount() - running - this.#gating,
      requested: this.#pullers.reduce((sum, puller) => sum + puller.requested, 0),
      prefetch: this.#prefetch?.current ?? this.#spec.flow.prefetch ?? 0,
      unconfirmedAcks: this.#settlements.unconfirmed,
      heldSettlements: this.#settlements.held,
      zombies: this.#zombies,
      parked: this.#parkedUntil.length + this.#parkedHere.size,
      lag: this.#pullers.reduce((sum, puller) => sum + puller.lag, 0),
      epoch: this.#epoch,
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
      reason = `${source?.stream ?? ''}/${source?.consumer ?? ''} is ${this.#sources[index]?.trouble ?? 'unreachable'}`;
    } else if (this.#zombies >= this.#spec.flow.concurrency)
      reason = 'every slot is taken by a handler that does not return';
    return { ok: reason === undefined, reason, silentMs };
  }

  // --- what the processor asks for -----------------------------------------------------------------------------------

  publish(...args: Parameters<NatsPort['publish']>): ReturnType<NatsPort['publish']> {
    return this.#effects.emits === 'drop' ? DROPPED : this.#port.publish(...args);
  }

  publishDeadLetter(...args: Parameters<NatsPort['publish']>): ReturnType<NatsPort['publish']> {
    return this.#effects.deadLetters === 'drop' ? DROPPED : this.#port.publish(...args);
  }

  ack(delivery: Delivery<T>): Promise<void> | undefined {
    this.#askSoon();
    const confirmed = this.#settlements.ack(delivery);
    this.#tally.settled++;
    if (confirmed === undefined) {
      this.#intake.remove(delivery);
      return undefined;
    }
    return confirmed.then(() => this.#intake.remove(delivery));
  }

  retry(delivery: Delivery<T>, delayMs: number): void {
    this.#tally.settled++;
    if (delivery.key !== undefined && this.#final === undefined && this.#draining === undefined) {
      // Its successors wait for it, so it must not leave: if the buffer filled up behind it, the server could not
      // bring it back. It keeps its lease and waits here.
      delivery.phase = 'waiting';
      delivery.attempt++;
      const timer = this.#clock.after(delayMs, () => {
        this.#parkedHere.delete(delivery);
        this.#intake.queue(delivery);
        this.#pump();
      });
      this.#parkedHere.set(delivery, timer);
      return;
    }
    this.#settlements.nak(delivery, delayMs);
    this.#parkedUntil.push(this.#clock.now() + delayMs);
    this.#intake.remove(delivery);
  }

  giveBack(delivery: Delivery<T>, silently: boolean): void {
    if (!silently) {
      this.#settlements.nak(delivery, undefined);
      this.#tally.returned++;
    }
    this.#intake.remove(delivery);
  }

  runStarted(run: Run<T, D>): void {
    this.#runs.add(run);
  }

  runEnded(run: Run<T, D>): void {
    this.#runs.delete(run);
    if (run.onZombie !== undefined) {
      run.onZombie = undefined;
      this.#zombies--;
      this.#zombieLoad -= run.deliveries.length;
      this.#observe?.({
        type: 'handler.zombieEnded',
        pipeline: this.#spec.name,
        message: run.deliveries[0],
        zombies: this.#zombies,
      });
    }
    this.#prefetch?.learn(run.endedAt - run.startedAt);
    this.#freed();
  }

  sample(failed: boolean, error: unknown): void {
    const breaker = this.#breaker;
    if (breaker === undefined || (failed && !breaker.counts(error))) return;
    const change = breaker.record(failed);
    if (change === 'close') {
      this.#observe?.({ type: 'breaker.closed', pipeline: this.#spec.name });
      this.#refresh('the probe succeeded');
    } else if (change === 'trip') {
      const { failures, samples, coolDownMs } = breaker;
      this.#observe?.({ type: 'breaker.tripped', pipeline: this.#spec.name, failures, samples, coolDownMs });
      this.#clock.after(coolDownMs, () => {
        breaker.probe();
        this.#observe?.({ type: 'breaker.probing', pipeline: this.#spec.name });
        this.#pump();
      });
      this.#refresh('too many failures');
    }
  }

  // --- messages in ---------------------------------------------------------------------------------------------------

  #receive(source: number, raw: NatsMessage): void {
    const puller = this.#pullers[source];
    const from = this.#origins[source];
    const reply = raw.reply ?? '';
    const meta = this.#meta;
    if (puller === undefined || from === undefined || !parseAckSubject(reply, meta, from.ackPrefix)) {
      this.#log.warn({ pipeline: this.#spec.name, subject: raw.subject }, 'not a JetStream delivery, ignored');
      return;
    }
    puller.lag = meta.pending;
    const running = this.#intake.find(source, meta.sequence);
    if (running !== undefined) {
      // The server thinks our lease ran out. One settlement, on the newest delivery, covers both.
      running.reply = reply;
      running.attempt = Math.max(running.attempt, meta.attempt);
      running.beatAt = this.#clock.now();
      this.#observe?.({ type: 'message.joined', pipeline: this.#spec.name, message: running });
      this.#askSoon();
      return;
    }
    const delivery = new Delivery<T>(raw, reply, meta, from, this.#clock.now());
    if (meta.attempt > 1 && this.#settlements.ackedHere(source, meta.sequence)) {
      void this.#settlements.ack(delivery);
      this.#observe?.({ type: 'message.joined', pipeline: this.#spec.name, message: delivery });
      this.#askSoon();
      return;
    }
    this.#findKey(delivery);
    this.#intake.add(delivery);
    this.#observe?.({ type: 'message.received', pipeline: this.#spec.name, message: delivery });
    // Before any ack of this turn is queued: then the next pull leaves in the same socket write.
    this.#askSoon();
    this.#startReady();
  }

  #findKey(delivery: Delivery<T>): void {
    const { orderBy, decode } = this.#spec;
    if (orderBy === undefined) return;
    try {
      delivery.decode(decode);
    } catch {
      // The gate meets the same failure and dead-letters the message.
      return;
    }
    try {
      delivery.key = orderBy(delivery);
    } catch (error) {
      delivery.fault = { error };
    }
  }

  // --- starting ------------------------------------------------------------------------------------------------------

  get #mayStart(): boolean {
    return (
      this.#paused === undefined &&
      this.#draining === undefined &&
      this.#final === undefined &&
      this.#breaker?.phase !== 'open' &&
      this.#port.connected
    );
  }

  get #slots(): number {
    return this.#breaker?.phase === 'probing' ? 1 : this.#spec.flow.concurrency;
  }

  #startReady(): void {
    if (this.#starting || !this.#mayStart) return;
    this.#starting = true;
    // Batches take their slots when they close, not while they fill.
    while (this.#intake.ready > 0 && (this.#batcher !== undefined || this.#runs.size + this.#gating < this.#slots)) {
      if (!this.#demand.mayStart()) break;
      const delivery = this.#intake.take();
      if (delivery === undefined) break;
      const passed = this.#processor.gate(delivery);
      if (passed === true) this.#pass(delivery);
      else if (passed !== false) {
        this.#gating++;
        void passed.then((ok) => {
          this.#gating--;
          if (ok) this.#pass(delivery);
          else this.#freed();
        });
      }
    }
    this.#starting = false;
  }

  #pass(delivery: Delivery<T>): void {
    if (this.#final !== undefined || delivery.phase === 'settled') return;
    if (this.#batcher === undefined) {
      this.#processor.execute([delivery]);
      return;
    }
    if (this.#draining !== undefined || this.#paused !== undefined) {
      this.#intake.queue(delivery);
      return;
    }
    try {
      this.#batcher.add(delivery);
    } catch (error) {
      delivery.fault = { error };
      void this.#processor.gate(delivery);
    }
  }

  #startBatches(): void {
    while (this.#batches.size > 0 && this.#runs.size < this.#slots && this.#breaker?.phase !== 'open') {
      const batch = this.#batches.take();
      if (batch === undefined) return;
      this.#observe?.({
        type: 'batch.started',
        pipeline: this.#spec.name,
        size: batch.items.length,
        bytes: batch.bytes,
        waitedMs: batch.waitedMs,
        closedBy: batch.by,
      });
      this.#processor.execute(batch.items);
    }
  }

  /** A slot is free: start what is here, ask for what is not. */
  #freed(): void {
    this.#startBatches();
    this.#startReady();
    this.#askSoon();
    if (this.#runs.size - this.#zombies + this.#gating === 0 && this.#batches.size === 0) {
      const waiters = this.#idleWaiters;
      this.#idleWaiters = [];
      for (const wake of waiters) wake();
    }
  }

  #pump(): void {
    this.#startBatches();
    this.#startReady();
    this.#ask();
  }

  /** Many slots become free in one turn of the event loop: one pull for all of them. */
  #askSoon(): void {
    if (this.#asking) return;
    this.#asking = true;
    this.#clock.soon(() => {
      this.#asking = false;
      this.#ask();
    });
  }

  #ask(): void {
    if (!this.#mayStart) return;
    const held = this.#intake.heldCount() + this.#zombieLoad;
    const waiting = this.#intake.ready + this.#intake.lanes.waiting;
    this.#demand.ask({ capacity: this.#capacity(), held, waiting }, (index) => this.#sources[index]?.usable === true);
    const { work } = this.#spec;
    if (
      work.kind === 'batch' &&
      held >= this.#capacity() &&
      this.#runs.size < this.#slots &&
      this.#batches.size === 0
    ) {
      // Every place is taken by batches that wait for more: there is no more, until one of them goes.
      this.#batcher?.closeOldest('demand');
    }
  }

  #capacity(): number {
    const { work, flow, orderBy } = this.#spec;
    const slots = this.#slots;
    if (slots === 1 && this.#breaker?.phase === 'probing') return 1;
    if (work.kind === 'batch') return slots * work.batch.maxSize;
    const behind = orderBy === undefined ? 0 : Math.min(this.#intake.lanes.waiting, LANE_ROOM_PER_SLOT * slots);
    return slots + (this.#prefetch?.current ?? flow.prefetch ?? 0) + behind;
  }

  // --- the sweep: heartbeats, timeouts, watchdog ---------------------------------------------------------------------

  #sweep(): void {
    const now = this.#clock.now();
    const lateMs = now - this.#sweptAt - this.#sweepMs;
    this.#sweptAt = now;
    this.#beat(now);
    let oldestMs = 0;
    for (const run of this.#runs) {
      const ageMs = now - run.startedAt;
      if (run.phase === 'running') {
        oldestMs = Math.max(oldestMs, ageMs);
        if (ageMs >= this.#spec.lease.handlerTimeoutMs) this.#timeOut(run, now);
      } else if (run.phase === 'aborting' && now - run.abortedAt >= this.#spec.lease.graceMs) this.#giveUp(run);
    }
    this.#processor.renewClaims(this.#runs);
    if (this.#prefetch !== undefined) {
      const before = this.#prefetch.current;
      const after = this.#prefetch.retune(oldestMs);
      if (after !== before) this.#observe?.({ type: 'prefetch.changed', pipeline: this.#spec.name, prefetch: after });
    }
    if (!this.#port.connected || this.#final !== undefined) return;
    let freed = false;
    for (const [index, puller] of this.#pullers.entries()) {
      if (puller.expire()) freed = true;
      // After a pause of this very process the silence is ours, not the server's.
      else if (lateMs < puller.options.idleHeartbeatMs) this.#sources[index]?.watch();
    }
    if (freed) this.#ask();
  }

  #beat(now: number): void {
    if (!this.#port.connected) return;
    let count = 0;
    for (const delivery of this.#intake.held()) {
      if (now - delivery.beatAt < this.#heartbeatMs) continue;
      delivery.beatAt = now;
      this.#settlements.working(delivery);
      count++;
    }
    if (count > 0) this.#observe?.({ type: 'heartbeats.sent', pipeline: this.#spec.name, count });
  }

  #timeOut(run: Run<T, D>, now: number): void {
    const timeoutMs = this.#spec.lease.handlerTimeoutMs;
    run.abort(new HandlerAborted('HANDLER_TIMEOUT', `the handler did not finish within ${timeoutMs} ms`), now);
    for (const delivery of run.deliveries) {
      this.#observe?.({ type: 'message.timedOut', pipeline: this.#spec.name, message: delivery, timeoutMs });
    }
  }

  #giveUp(run: Run<T, D>): void {
    this.#zombies++;
    this.#zombieLoad += run.deliveries.length;
    run.onZombie = () => undefined;
    this.#observe?.({
      type: 'handler.zombie',
      pipeline: this.#spec.name,
      message: run.deliveries[0],
      zombies: this.#zombies,
    });
    this.#processor.giveUp(run);
    if (this.#zombies >= this.#spec.flow.concurrency && this.#draining === undefined) {
      this.#fault('ZOMBIES', `all ${this.#zombies} slots are taken by handlers that ignore their abort signal`);
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
    this.#epoch++;
    if (this.#draining === undefined) for (const puller of this.#pullers) puller.open();
    for (const source of this.#sources) source.reset();
    const replayed = this.#settlements.replay();
    this.#afterOutage();
    this.#observe?.({ type: 'connection.restored', pipeline: this.#spec.name, epoch: this.#epoch, replayed });
    this.#refresh('connection restored');
    this.#pump();
  }

  /** What was held through an outage: either the lease is extended now, or it has run out and the server acts. */
  #afterOutage(): void {
    const now = this.#clock.now();
    if (now - this.#lostAt > this.#live.ackWaitMs) {
      for (const delivery of this.#takeWaiting()) this.giveBack(delivery, true);
    }
    for (const delivery of this.#intake.held()) delivery.beatAt = now - this.#heartbeatMs;
    this.#beat(now);
  }

  // --- ending --------------------------------------------------------------------------------------------------------

  async #drain(timeoutMs: number): Promise<DrainReport> {
    // Let `#draining` be set before anything looks at it.
    await Promise.resolve();
    const deadline = this.#clock.now() + timeoutMs;
    this.#tally = { settled: 0, returned: 0 };
    this.#refresh('draining');
    this.#batcher?.closeAll('drain');
    await Promise.race([this.#pullsEnded(), this.#sleep(Math.max(0, timeoutMs))]);
    await this.#closeInboxes();
    this.#returnWaiting();
    await Promise.race([this.#handlersEnded(), this.#sleep(Math.max(0, deadline - this.#clock.now()))]);
    await this.#forceEnd();
    const report = await this.#account();
    this.#observe?.({ type: 'drain.finished', pipeline: this.#spec.name, report });
    this.#stop('drained');
    this.#resolveDone();
    return report;
  }

  /** Aborts what still runs, gives it the grace, and gives its messages back. */
  async #forceEnd(): Promise<void> {
    if (this.#runs.size - this.#zombies + this.#gating === 0 && this.#batches.size === 0) return;
    const now = this.#clock.now();
    for (const { items } of this.#batches.takeAll()) {
      for (const delivery of items) this.#return(delivery);
    }
    for (const run of this.#runs) {
      run.abort(new HandlerAborted('DRAIN_FORCED', 'the pipeline is stopping and its drain timeout is over'), now);
    }
    await Promise.race([this.#handlersEnded(), this.#sleep(this.#spec.lease.graceMs)]);
    for (const run of this.#runs) {
      if (run.phase === 'aborting') this.#giveUp(run);
    }
    // The settlements of what was given up are queued by now or never.
    await new Promise<void>((resolve) => this.#clock.soon(resolve));
  }

  async #account(): Promise<DrainReport> {
    const { settled, returned } = this.#tally;
    const proven = await this.#settlements.flush(FLUSH_TIMEOUT_MS);
    const left = this.#intake.heldCount();
    const unsent = proven ? 0 : Math.min(settled + returned, this.#settlements.held);
    const fromReturned = Math.min(returned, unsent);
    return {
      settled: settled - (unsent - fromReturned),
      returned: returned - fromReturned,
      abandoned: unsent + left,
    };
  }

  async #pullsEnded(): Promise<void> {
    await Promise.all(this.#pullers.map((puller) => puller.idle()));
  }

  async #closeInboxes(): Promise<void> {
    if (!this.#port.connected) return;
    const closing = Promise.all(this.#pullers.map((puller) => puller.drain()));
    await Promise.race([closing.catch(() => undefined), this.#sleep(FLUSH_TIMEOUT_MS)]);
  }

  #handlersEnded(): Promise<void> {
    if (this.#runs.size - this.#zombies + this.#gating === 0 && this.#batches.size === 0) return Promise.resolve();
    return new Promise((resolve) => this.#idleWaiters.push(resolve));
  }

  #returnWaiting(): void {
    for (const delivery of this.#takeWaiting()) this.#return(delivery);
  }

  #return(delivery: Delivery<T>): void {
    this.giveBack(delivery, false);
    void this.#processor.abandon(delivery);
    this.#observe?.({
      type: 'message.settled',
      pipeline: this.#spec.name,
      message: delivery,
      as: 'returned',
      heldMs: this.#clock.now() - delivery.receivedAt,
    });
  }

  /** Everything that is held and has not started. */
  #takeWaiting(): Delivery<T>[] {
    const parked = [...this.#parkedHere.keys()];
    for (const timer of this.#parkedHere.values()) timer.cancel();
    this.#parkedHere.clear();
    return [...this.#intake.takeWaiting(), ...parked, ...(this.#batcher?.takeAll() ?? [])];
  }

  #fault(code: PipelineFault['code'], message: string, options?: ErrorOptions): void {
    const fault = new PipelineFault(code, `pipeline ${this.#spec.name}: ${message}`, options);
    this.#log.error({ pipeline: this.#spec.name, code }, fault.message);
    const now = this.#clock.now();
    for (const run of this.#runs) run.abort(new HandlerAborted('DRAIN_FORCED', message), now);
    this.#stop(message);
    this.#rejectDone(fault);
  }

  #stop(reason: string): void {
    this.#final = 'stopped';
    this.#sweeper.cancel();
    this.#stopListening();
    this.#settlements.close();
    this.#demand.close();
    for (const source of this.#sources) source.close();
    for (const puller of this.#pullers) puller.close();
    for (const timer of this.#parkedHere.values()) timer.cancel();
    this.#refresh(reason);
    for (const wake of this.#idleWaiters.splice(0)) wake();
  }

  #sleep(ms: number): Promise<void> {
    return new Promise((resolve) => this.#clock.after(ms, resolve));
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
    const puller = new Puller(this.#port, this.#clock, options, {
      message: (raw) => this.#receive(index, raw),
      ended: () => this.#askSoon(),
      refused: (description) => this.#sources[index]?.refused(description),
      missing: (description) => this.#sources[index]?.missing(description),
      alive: () => this.#sources[index]?.alive(),
    });
    if (maxBatch !== undefined) puller.maxBatch = maxBatch;
    return puller;
  }

  #makeHealth(puller: Puller, index: number): SourceHealth {
    return new SourceHealth(puller, this.#clock, {
      pipeline: this.#spec.name,
      observe: this.#observe,
      log: this.#log,
      retry: () => this.#ask(),
      changed: () => this.#refresh(this.#sources[index]?.trouble ?? 'source is back'),
      recheck: async () => {
        const { problems } = await checkConsumer(this.#port, this.#spec, index);
        return problems.map((problem) => problem.message);
      },
    });
  }
}

/** An observer that throws must not take a message with it. */
function guarded(observe: Observer | undefined, log: Logger): Observer | undefined {
  if (observe === undefined) return undefined;
  return (event) => {
    try {
      observe(event);
    } catch (error) {
      log.error({ event: event.type, error: String(error) }, 'observer failed');
    }
  };
}
