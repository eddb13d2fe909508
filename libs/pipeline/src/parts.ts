import { Scheduler } from './schedule/scheduler.ts';
import { Batcher } from './schedule/batcher.ts';
import { Breaker } from './schedule/breaker.ts';
import { guardClock, type Clock } from './clock.ts';
import type { LiveConsumer } from './pull/consumer-check.ts';
import { LiveConsumers } from './pull/live-consumers.ts';
import { Settler } from './settle/settler.ts';
import type { StatusSources } from './status.ts';
import { ConditionEvents } from './condition-events.ts';
import { Outage } from './settle/outage.ts';
import { Denials } from './settle/denials.ts';
import { Demand } from './pull/demand.ts';
import { Shutdown } from './shutdown.ts';
import { guardObserver } from './events.ts';
import type { Observer } from './events.ts';
import { guardLogger } from './log.ts';
import type { Logger } from './log.ts';
import { Limiter } from './limits/limiter.ts';
import type { Excess } from './limits/limiter.ts';
import { SetAside } from './limits/set-aside.ts';
import type { NatsPort } from './nats/port.ts';
import { Partitions } from './partitions/partitions.ts';
import { Prefetch } from './pull/prefetch.ts';
import { Processor } from './process/processor.ts';
import { MOST_PER_PULL } from './pull/puller.ts';
import type { Puller } from './pull/puller.ts';
import { makeSources } from './pull/sources.ts';
import type { ResolvedSource, ResolvedSpec } from './config/resolve-spec.ts';
import type { Condition } from './running.ts';
import type { EngineEffects, Runtime } from './runtime.ts';
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

/** How many messages may wait here for a slot. */
export const mostPrefetched = (maxAckPending: number, concurrency: number): number =>
  Math.min(MAX_PREFETCH, Math.floor(maxAckPending / 2) - concurrency);

/** What the parts of a pipeline ask of the whole, and tell it. */
export interface Whole {
  /** Paused, draining or stopped: nothing is started. */
  isClosing(): boolean;
  isStopped(): boolean;
  /** What its state is made of may have changed. */
  changed(reason: string): void;
  conditions(): readonly Condition[];
  /** Every slot is taken by a handler that ignores its abort signal. */
  allHung(): void;
}

/** What a pipeline is made of. */
export interface Parts<T, D> {
  readonly port: NatsPort;
  readonly clock: Clock;
  readonly log: Logger;
  readonly observe: Observer | undefined;
  readonly live: LiveConsumers<T, D>;
  readonly inFlight: InFlight<T, D>;
  readonly settlements: Settlements;
  readonly settler: Settler<T, D>;
  readonly denials: Denials;
  readonly outage: Outage<T, D>;
  readonly scheduler: Scheduler<T, D>;
  readonly heartbeat: Heartbeat<T, D>;
  readonly shutdown: Shutdown<T, D>;
  readonly pullers: readonly Puller[];
  readonly sources: readonly SourceHealth[];
  readonly demand: Demand;
  readonly status: StatusSources<T, D>;
  readonly breaker: Breaker | undefined;
  readonly limiter: Limiter<T> | undefined;
  readonly prefetch: Prefetch | undefined;
  readonly partitions: Partitions<T, D> | undefined;
}

/** Makes the parts of a pipeline and ties them together. Nothing is pulled yet. */
export function makeParts<T, D>(
  spec: ResolvedSpec<T, D>,
  runtime: Runtime<D>,
  systemClock: Clock,
  systemLog: Logger,
  started: readonly LiveConsumer[],
  effects: EngineEffects,
  whole: Whole,
): Parts<T, D> {
  const { nats: port, deps, instrument, inject, random = Math.random } = runtime;
  const log = guardLogger(systemLog);
  const clock = guardClock(systemClock, (error) => log.error({ pipeline: spec.name, err: error }, 'a timer failed'));
  const observe = guardObserver(runtime.observe, log);

  /** A consumer was looked at: its limits may have been changed, and it may have been made again. */
  const seen = (index: number, now: LiveConsumer, before: LiveConsumer, since: number): void => {
    const puller = pullers[index];
    if (spec.sources[index] === undefined || puller === undefined) return;
    puller.maxBatch = now.maxBatch ?? MOST_PER_PULL;
    if (now.ackWaitMs < before.ackWaitMs) heartbeat.extend();
    if (before.created === undefined || before.created === now.created) return;
    outage.consumerMadeAgain(index, since);
  };
  const live = new LiveConsumers<T, D>(port, spec, clock, started, seen);

  const weights = spec.sources.map((source) => source.weight);
  const limiter: Limiter<T> | undefined =
    spec.limits === undefined
      ? undefined
      : new Limiter<T>(
          {
            limits: spec.limits,
            pipeline: spec.name,
            clock,
            log,
            observe,
            random,
            slots: () => inFlight.concurrency,
            maySetAside: () => setAside !== undefined && inFlight.settingAside < MAX_SETTING_ASIDE,
            maxAckPending: () => live.maxAckPending,
            wake: () => scheduler.advance(),
          },
          weights.length,
        );
  const setAside: SetAside<T> | undefined =
    spec.delayed === undefined || limiter === undefined
      ? undefined
      : new SetAside<T>(port, clock, spec.delayed.subject);
  /** A limit keeps the message from starting for long: it makes room for others and comes again. */
  const defer = ({ delivery, delayMs, aside }: Excess<T>): void => {
    const limit = limiter?.waitsFor(delivery)?.limit ?? 'slots';
    observe?.({ type: 'message.deferred', pipeline: spec.name, message: delivery.message, delayMs, limit });
    if (aside && setAside !== undefined) {
      inFlight.settingAside++;
      void settler.setAside(delivery, setAside.store(delivery, delayMs), delayMs);
      return;
    }
    limiter?.deferrals.add(delivery, delayMs, limit);
    settler.defer(delivery, delayMs);
  };

  const inFlight: InFlight<T, D> = new InFlight<T, D>(weights, spec.flow.concurrency, limiter?.queues);
  const settlements = new Settlements(port, clock, spec.ack.confirm);
  const breaker = spec.breaker === undefined ? undefined : new Breaker(spec.breaker);
  let prefetch: Prefetch | undefined;
  const settler: Settler<T, D> = new Settler<T, D>({
    name: spec.name,
    effects,
    port,
    clock,
    log,
    observe,
    inFlight,
    settlements,
    breaker,
    limiter,
    processor: () => processor,
    scheduler: () => scheduler,
    prefetch: () => prefetch,
    tally: () => shutdown.tally,
    stopped: () => whole.isStopped(),
    countsAttempts: spec.attempts !== undefined,
    holds: spec.sources.some(isPartition) ? (source) => partitions?.holds(source) !== false : undefined,
    breakerChanged: (reason) => whole.changed(reason),
  });
  const hasReadableHeaders = port.hasReadableHeaders?.bind(port);
  const processing = { deps, clock, random, log, observe, instrument, inject, hasReadableHeaders };
  const processor: Processor<T, D> = new Processor(spec, processing, settler, live);
  const { pullers, sources } = makeSources({
    spec,
    port,
    clock,
    log,
    observe,
    live,
    // A replay's consumer is its own, and no other caller's to change.
    recheckEveryMs: effects.deadLetters === 'drop' ? undefined : PULLS_PER_RECHECK * spec.flow.expiresMs,
    receive: (index, raw, puller) => scheduler.receive(index, raw, puller),
    unpinned: (index, pin) => partitions?.refused(index, pin),
    requestSoon: () => scheduler.requestSoon(),
    request: () => scheduler.request(),
    probeSettling: (index) => denials.probe(index),
    changed: (reason) => whole.changed(reason),
  });
  const denials = new Denials(port, settlements, pullers, sources);
  const wake = (): void => scheduler.advance();
  const demand = new Demand(pullers, weights, spec.rate, clock, { pipeline: spec.name, observe, wake });
  if (spec.work.kind === 'batch') {
    inFlight.batcher = new Batcher(spec.work.batch, clock, (items, closedBy, waitedMs, bytes) => {
      inFlight.batches.add({ items, closedBy, waitedMs, bytes });
      scheduler.startBatches();
    });
  } else if (spec.flow.prefetch === undefined) {
    const most = mostPrefetched(live.maxAckPending, spec.flow.concurrency);
    prefetch = new Prefetch(spec.flow.concurrency, live.ackWaitMs, most);
  }

  const shared = {
    spec,
    port,
    clock,
    log,
    observe,
    live,
    inFlight,
    processor,
    settlements,
    settler,
    pullers,
    sources,
    demand,
    breaker,
    prefetch,
    limiter,
  };
  const conditions = new ConditionEvents(spec.name, clock, observe);
  const outage: Outage<T, D> = new Outage<T, D>({
    ...shared,
    heartbeat: () => heartbeat,
    stopped: () => whole.isStopped(),
  });
  const partitions: Partitions<T, D> | undefined = spec.sources.some(isPartition)
    ? new Partitions<T, D>({
        ...shared,
        requestSoon: () => scheduler.requestSoon(),
        startKept: (deliveries) => scheduler.startKept(deliveries),
        releaseWaitingOf: (index) => shutdown.releaseWaitingOf(index),
      })
    : undefined;
  const scheduler: Scheduler<T, D> = new Scheduler<T, D>({
    ...shared,
    attempts: processor.attempts,
    wait: (delivery, delayMs) => settler.wait(delivery, delayMs),
    defer,
    open: () => !whole.isClosing() && breaker?.phase !== 'open' && port.connected,
    closing: () => whole.isClosing(),
    usable: (index) => sources[index]?.usable === true,
    outdated: (delivery) => outage.outdate(delivery),
    epoch: (index) => live.epoch(index),
    partitions,
  });
  /** While messages are held for long: a lowered ack_wait would have them redelivered between two heartbeats. */
  const recheck = (oldestReceivedAt: number): void => {
    if (whole.isStopped() || clock.now() - oldestReceivedAt < RECHECK_MS) return;
    for (const [index, source] of sources.entries()) {
      if (source.trouble === undefined && live.ageMs(index) >= RECHECK_MS) source.askAboutConsumer();
    }
  };
  const heartbeat: Heartbeat<T, D> = new Heartbeat<T, D>({
    ...shared,
    heartbeatMs: () => Math.min(spec.ack.heartbeatMs ?? Number.POSITIVE_INFINITY, live.ackWaitMs / 3),
    holding: recheck,
    connected: () => port.connected && !whole.isStopped(),
    ticking: () => partitions?.tick(),
    request: () => scheduler.request(),
    ticked: () => conditions.compare(whole.conditions()),
    allHung: () => whole.allHung(),
  });
  const shutdown: Shutdown<T, D> = new Shutdown<T, D>({
    ...shared,
    resent: () => outage.resent,
    heartbeat,
    release: (delivery, delayMs) => settler.release(delivery, false, delayMs),
  });
  return {
    ...shared,
    denials,
    outage,
    scheduler,
    heartbeat,
    shutdown,
    partitions,
    status: { ...shared, partitions },
  };
}
