import { Counter, Gauge, Histogram, Registry } from 'prom-client';
import type { OpenMetricsContentType } from 'prom-client';
import type { DeadLetterReason, PipelineEvent } from '../events.ts';
import type { Outcome, Settlement } from '../process/outcome.ts';
import type { RunningPipeline, State } from '../running.ts';
import { pipelineMetricNames as metricNames } from './names.ts';
import { SeriesCounter, SeriesHistogram, type CounterSeries, type HistogramSeries } from './series.ts';

export interface PipelineMetricsOptions {
  /** Where the metrics are registered. One for OpenMetrics carries exemplars. */
  readonly registry: Registry<OpenMetricsContentType> | Registry;
  /** Labels of the exemplar of a duration: the trace to open behind a point, e.g. `{ trace_id, span_id }`. */
  readonly exemplarOf?: (event: PipelineEvent) => Readonly<Record<string, string>> | undefined;
}

/** What of a running pipeline the gauges read at scrape time. */
export type Watched = Pick<RunningPipeline, 'state' | 'snapshot' | 'health'>;

export interface PipelineMetrics {
  /** For `observe` of the runtime. */
  readonly observe: (event: PipelineEvent) => void;
  /** Exposes a pipeline's snapshot as gauges, from now on. */
  readonly watch: (pipeline: string, running: Watched) => void;
}

/** Sub-second work up to minutes: the buckets of OpenTelemetry's conventions, extended at the top. */
const DURATION_BUCKETS_SECONDS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60];
/** Waits: from a queue that is empty to one that is an hour behind. */
const WAIT_BUCKETS_SECONDS = [0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10, 30, 60, 300, 900, 3600];

const states: readonly State[] = ['starting', 'running', 'paused', 'tripped', 'disconnected', 'draining', 'stopped'];

// Objects, so that a new one of the union is missed by the compiler.
const reasons: Readonly<Record<DeadLetterReason, true>> = {
  rejected: true,
  permanent: true,
  exhausted: true,
  decode: true,
  crashLoop: true,
  cancelled: true,
  stranded: true,
};
const settlements: Readonly<Record<Settlement, true>> = {
  ack: true,
  skip: true,
  retry: true,
  snooze: true,
  deadLetter: true,
  duplicate: true,
  busy: true,
  released: true,
  deferred: true,
};

/**
 * The engine's events as Prometheus metrics, with `prom-client`. Labels are names from configuration only, so series stay
 * few.
 *
 * @example
 * const metrics = pipelineMetrics({ registry });
 * metrics.watch('mail', await pipeline.start({ nats, deps, observe: metrics.observe }));
 */
export function pipelineMetrics({ registry, exemplarOf }: PipelineMetricsOptions): PipelineMetrics {
  const registers = [registry as Registry];
  const enableExemplars = registry.contentType === Registry.OPENMETRICS_CONTENT_TYPE;
  const counter = <L extends string>(name: string, help: string, ...labelNames: L[]): Counter<'pipeline' | L> =>
    new Counter({ name, help, labelNames: ['pipeline', ...labelNames], registers });
  const gauge = <L extends string>(name: string, help: string, ...labelNames: L[]): Gauge<'pipeline' | L> =>
    new Gauge({ name, help, labelNames: ['pipeline', ...labelNames], registers });

  const duration = new SeriesHistogram({
    name: metricNames.processDuration,
    help: 'How long a handler took, by how it ended.',
    labelNames: ['pipeline', 'outcome'],
    buckets: DURATION_BUCKETS_SECONDS,
    enableExemplars,
    registers,
  });
  const wait = new SeriesHistogram({
    name: metricNames.queueWait,
    help: 'From being stored to its handler starting, first deliveries only.',
    labelNames: ['pipeline'],
    buckets: WAIT_BUCKETS_SECONDS,
    enableExemplars,
    registers,
  });
  const batch = new Histogram({
    name: metricNames.batchSize,
    help: 'Messages per batch.',
    labelNames: ['pipeline', 'closed_by'],
    buckets: [1, 2, 5, 10, 25, 50, 100, 250, 500, 1000],
    registers,
  });
  const received = new SeriesCounter({
    name: metricNames.received,
    help: 'Deliveries received.',
    labelNames: ['pipeline', 'stream', 'consumer'],
    registers,
  });
  const settled = new SeriesCounter({
    name: metricNames.settled,
    help: 'Deliveries settled, by how.',
    labelNames: ['pipeline', 'as'],
    registers,
  });
  const redelivered = counter(metricNames.redeliveries, 'Deliveries that were not the first of their message.');
  const retries = counter(metricNames.retries, 'Messages nacked with a delay.');
  const timeouts = counter(metricNames.timeouts, 'Handlers that ran out of time.');
  const deadLettered = counter(metricNames.deadLettered, 'Messages given up, by reason.', 'reason');
  const deadLetterFailures = counter(metricNames.deadLetterFailures, 'Dead letters that could not be stored yet.');
  const emitted = counter(metricNames.emitted, 'Messages emitted by handlers.');
  const emitFailures = counter(metricNames.emitFailures, 'Emits that could not be stored; the message is retried.');
  const idempotencyFailures = counter(
    metricNames.idempotencyFailures,
    'Calls to the idempotency store that failed.',
    'step',
  );
  const claimsLost = counter(metricNames.claimsLost, 'Idempotency keys taken over by another replica while working.');
  const rateWait = counter(metricNames.rateWait, 'Time the rate limit held messages back.');
  const deferred = counter(metricNames.deferred, 'Messages sent back because of a limit, to come again.', 'limit');
  const limitWrites = counter(metricNames.limitWrites, 'Writes of leases of shared limits.');
  const limitFailures = counter(metricNames.limitFailures, 'Calls to the store of shared limits that failed.');
  const stalls = counter(metricNames.stalls, 'Times the server went silent on a pull.', 'stream', 'consumer');
  const losses = counter(metricNames.connectionLosses, 'Times the connection was lost.');
  const partitionsLost = counter(
    metricNames.partitionsLost,
    'Partitions that another replica got while they were held.',
  );
  const trips = counter(metricNames.breakerTrips, 'Times the breaker stopped pulling.');

  const hungHandlers = gauge(metricNames.hungHandlers, 'Handlers that timed out and have not returned.');
  const prefetch = gauge(metricNames.prefetch, 'Messages held beyond concurrency, adapted to their speed.');
  const missing = gauge(metricNames.sourceMissing, '1 while a consumer is missing.', 'stream', 'consumer');
  const breaker = gauge(metricNames.breakerOpen, '1 while the breaker keeps the pipeline from pulling.');

  const watched = new Map<string, Watched>();
  watchedGauge(metricNames.inFlight, 'Handlers running now.', (each) => each.snapshot().inFlight);
  watchedGauge(metricNames.buffered, 'Held here, not started.', (each) => each.snapshot().buffered);
  watchedGauge(metricNames.requested, 'Asked of the server, not yet delivered.', (each) => each.snapshot().requested);
  watchedGauge(metricNames.unconfirmedAcks, 'Acks not yet confirmed.', (each) => each.snapshot().unconfirmedAcks);
  watchedGauge(metricNames.partitionsHeld, 'Partitions that this replica reads.', (each) => each.snapshot().partitions);
  watchedGauge(metricNames.parked, 'Retries that are not due yet.', (each) => each.snapshot().parked);
  watchedGauge(metricNames.limited, 'Held here, waiting for a limit or a turn.', (each) => each.snapshot().limited);
  watchedGauge(metricNames.healthy, '1 while the pipeline makes progress.', (each) => (each.health().ok ? 1 : 0));
  const stateGauge = new Gauge({
    name: metricNames.state,
    help: '1 for the state the pipeline is in.',
    labelNames: ['pipeline', 'state'],
    registers: [],
    // Read, not recorded: the states that a pipeline went through before it was watched would be missing.
    collect() {
      for (const [pipeline, running] of watched) {
        for (const state of states) this.set({ pipeline, state }, state === running.state ? 1 : 0);
      }
    },
  });
  // Not through `registers`: with it, prom-client reads the gauge once where it is made.
  registers[0]?.registerMetric(stateGauge);

  function watchedGauge(name: string, help: string, value: (running: Watched) => number): void {
    const read = new Gauge({
      name,
      help,
      labelNames: ['pipeline'],
      registers: [],
      collect() {
        for (const [pipeline, running] of watched) this.set({ pipeline }, value(running));
      },
    });
    registers[0]?.registerMetric(read);
  }

  const exemplar = (event: PipelineEvent): Readonly<Record<string, string>> | undefined =>
    enableExemplars ? exemplarOf?.(event) : undefined;

  /** The series that every message counts into, of each pipeline. */
  const hot = new Map<string, HotSeries>();
  let last: HotSeries | undefined;
  function hotSeriesOf(pipeline: string): HotSeries {
    // Most processes have one pipeline, and messages come in runs.
    if (last?.pipeline === pipeline) return last;
    last = hot.get(pipeline);
    if (last === undefined) hot.set(pipeline, (last = new HotSeries(pipeline, { received, settled, wait, duration })));
    return last;
  }

  function observe(event: PipelineEvent): void {
    const { pipeline } = event;
    switch (event.type) {
      case 'message.received':
        hotSeriesOf(pipeline).received(event.message.stream, event.message.consumer).add(1);
        if (event.message.deliveries > 1) redelivered.inc({ pipeline });
        return;
      case 'message.started': {
        if (event.message.deliveries > 1) return;
        // The broker's clock against ours: on one machine the same, on two a skew can make it negative.
        const waitedSeconds = Math.max(0, Date.now() - event.message.publishedAt.getTime()) / 1000;
        hotSeriesOf(pipeline).wait.observe(waitedSeconds, exemplar(event));
        return;
      }
      case 'message.handled':
        hotSeriesOf(pipeline)
          .handled(event.outcome)
          .observe(event.durationMs / 1000, exemplar(event));
        return;
      case 'message.settled':
        hotSeriesOf(pipeline).settled(event.as).add(1);
        return;
      case 'message.retryScheduled':
        retries.inc({ pipeline });
        return;
      case 'message.timedOut':
        timeouts.inc({ pipeline });
        return;
      case 'message.deadLettered':
        deadLettered.inc({ pipeline, reason: event.reason });
        return;
      case 'message.deadLetterFailed':
        deadLetterFailures.inc({ pipeline });
        return;
      case 'emit.published':
        emitted.inc({ pipeline }, event.count);
        return;
      case 'emit.failed':
        emitFailures.inc({ pipeline });
        return;
      case 'idempotency.failed':
        idempotencyFailures.inc({ pipeline, step: event.step });
        return;
      case 'claim.lost':
        claimsLost.inc({ pipeline });
        return;
      case 'handler.hung':
      case 'handler.hungReturned':
        hungHandlers.set({ pipeline }, event.hungHandlers);
        return;
      case 'batch.started':
        batch.observe({ pipeline, closed_by: event.closedBy }, event.size);
        return;
      case 'prefetch.changed':
        prefetch.set({ pipeline }, event.prefetch);
        return;
      case 'rate.limited':
        rateWait.inc({ pipeline }, event.waitMs / 1000);
        return;
      case 'message.deferred':
        deferred.inc({ pipeline, limit: event.limit });
        return;
      case 'limits.written':
        limitWrites.inc({ pipeline });
        return;
      case 'limits.failed':
        limitFailures.inc({ pipeline });
        return;
      case 'source.stalled':
        stalls.inc({ pipeline, stream: event.stream, consumer: event.consumer });
        return;
      case 'source.missing':
      case 'source.drifted':
      case 'source.refused':
        missing.set({ pipeline, stream: event.stream, consumer: event.consumer }, 1);
        return;
      case 'source.recovered':
        missing.set({ pipeline, stream: event.stream, consumer: event.consumer }, 0);
        return;
      case 'partition.lost':
        partitionsLost.inc({ pipeline });
        return;
      case 'connection.lost':
        losses.inc({ pipeline });
        return;
      case 'breaker.tripped':
        trips.inc({ pipeline });
        breaker.set({ pipeline }, 1);
        return;
      case 'breaker.closed':
        breaker.set({ pipeline }, 0);
        return;
      // Counted when it is settled.
      case 'message.snoozed':
      case 'state.changed':
      case 'message.alreadyHeld':
      case 'heartbeats.sent':
      case 'pull.requested':
      case 'connection.restored':
      case 'connection.closed':
      case 'breaker.probing':
      // What holds a pipeline up is in its health, which is a gauge.
      case 'source.denied':
      case 'partition.taken':
      case 'partition.released':
      case 'condition.began':
      case 'condition.ended':
      case 'drain.finished':
        return;
    }
  }

  return {
    observe,
    watch(pipeline, running) {
      watched.set(pipeline, running);
      // Series that exist from the first scrape on: a rate over a counter that appears with its first event misses it.
      for (const each of [
        retries,
        redelivered,
        timeouts,
        deadLetterFailures,
        emitFailures,
        claimsLost,
        partitionsLost,
        losses,
        trips,
        limitWrites,
        limitFailures,
      ]) {
        each.inc({ pipeline }, 0);
      }
      for (const each of [hungHandlers, breaker]) each.inc({ pipeline }, 0);
      for (const reason of Object.keys(reasons)) {
        deadLettered.inc({ pipeline, reason }, 0);
      }
      for (const as of Object.keys(settlements)) {
        settled.of({ pipeline, as }).add(0);
      }
    },
  };
}

/** Series of one pipeline, found once for all its messages. */
class HotSeries {
  readonly pipeline: string;
  readonly wait: HistogramSeries;
  readonly #families: HotFamilies;
  readonly #settled = new Map<Settlement, CounterSeries>();
  readonly #handled = new Map<Outcome['kind'], HistogramSeries>();
  /** By consumer: its name is of one stream, but where two streams have one of the same name. */
  readonly #received = new Map<string, { readonly stream: string; readonly series: CounterSeries }>();

  constructor(pipeline: string, families: HotFamilies) {
    this.pipeline = pipeline;
    this.wait = families.wait.of({ pipeline });
    this.#families = families;
  }

  received(stream: string, consumer: string): CounterSeries {
    let found = this.#received.get(consumer);
    if (found?.stream !== stream) {
      found = { stream, series: this.#families.received.of({ pipeline: this.pipeline, stream, consumer }) };
      this.#received.set(consumer, found);
    }
    return found.series;
  }

  settled(as: Settlement): CounterSeries {
    let series = this.#settled.get(as);
    if (series === undefined)
      this.#settled.set(as, (series = this.#families.settled.of({ pipeline: this.pipeline, as })));
    return series;
  }

  handled(outcome: Outcome['kind']): HistogramSeries {
    let series = this.#handled.get(outcome);
    if (series === undefined) {
      this.#handled.set(outcome, (series = this.#families.duration.of({ pipeline: this.pipeline, outcome })));
    }
    return series;
  }
}

interface HotFamilies {
  readonly received: SeriesCounter<'pipeline' | 'stream' | 'consumer'>;
  readonly settled: SeriesCounter<'pipeline' | 'as'>;
  readonly wait: SeriesHistogram<'pipeline'>;
  readonly duration: SeriesHistogram<'pipeline' | 'outcome'>;
}
