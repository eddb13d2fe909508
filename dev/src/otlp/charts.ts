import type { Sample } from './exposition.ts';
import type { Scrape } from './scraper.ts';

/** One line of a chart; `undefined` where there is a gap. */
export interface Line {
  readonly label: string;
  readonly points: readonly (number | undefined)[];
}

export interface Chart {
  readonly title: string;
  readonly unit: '/s' | 's' | '' | 'bytes' | 'ratio';
  readonly atMs: readonly number[];
  readonly lines: readonly Line[];
}

type Value = ReadonlyMap<string, number>;
type Labelled = (sample: Sample, instance: string) => string;

const byPipeline: Labelled = ({ labels }) => labels['pipeline'] ?? '';
const byInstance: Labelled = (_, instance) => instance;

/** The charts of the engine: what the dashboards show, for a system without Prometheus. */
export function engineCharts(scrapes: readonly Scrape[]): readonly Chart[] {
  const atMs = scrapes.map((scrape) => scrape.atMs);
  const chart = (title: string, unit: Chart['unit'], values: readonly (Value | undefined)[]): Chart => {
    const labels = [...new Set(values.flatMap((value) => [...(value?.keys() ?? [])]))].toSorted();
    return { title, unit, atMs, lines: labels.map((label) => ({ label, points: values.map((v) => v?.get(label)) })) };
  };
  const gauge = (names: readonly string[], label: Labelled): readonly Value[] =>
    scrapes.map((scrape) => sum(scrape, (sample) => names.includes(sample.name), label));
  const rate = (matches: (sample: Sample) => boolean, label: Labelled): readonly (Value | undefined)[] =>
    scrapes.map((scrape, at) => {
      const before = scrapes[at - 1];
      return before === undefined ? undefined : rates(before, scrape, matches, label);
    });
  const done = (sample: Sample): boolean =>
    sample.name === 'pipeline_messages_settled_total' && sample.labels['as'] === 'ack';

  return [
    chart('Messages done, by pipeline', '/s', rate(done, byPipeline)),
    chart('Messages done, by replica', '/s', rate(done, byInstance)),
    chart('In flight', '', gauge(['pipeline_messages_in_flight'], byPipeline)),
    chart('Handler time, p95', 's', quantiles(scrapes, 'messaging_process_duration_seconds_bucket', 0.95)),
    chart('Queue wait, p95', 's', quantiles(scrapes, 'pipeline_queue_wait_seconds_bucket', 0.95)),
    chart(
      'Lag: waiting and unsettled',
      '',
      gauge(
        ['jetstream_consumer_pending_messages', 'jetstream_consumer_ack_pending_messages'],
        ({ labels }) => labels['consumer'] ?? '',
      ),
    ),
    chart(
      'Stuck in a work queue',
      '',
      gauge(['jetstream_stream_stuck_messages'], ({ labels }) => labels['stream'] ?? ''),
    ),
    chart(
      'HTTP requests',
      '/s',
      rate(
        ({ name }) => name === 'http_server_request_duration_seconds_count',
        ({ labels }) => `${labels['method']} ${labels['route']} ${labels['status']}`,
      ),
    ),
    chart('Event loop busy', 'ratio', gauge(['nodejs_eventloop_utilization_ratio'], byInstance)),
    chart('Resident memory', 'bytes', gauge(['process_resident_memory_bytes'], byInstance)),
  ];
}

function instanceOf(samples: readonly Sample[], target: string): string {
  const info = samples.find(({ name }) => name === 'service_info');
  return info?.labels['service_instance'] ?? target;
}

function sum(scrape: Scrape, matches: (sample: Sample) => boolean, label: Labelled): Map<string, number> {
  const totals = new Map<string, number>();
  for (const [target, samples] of scrape.targets) {
    const instance = instanceOf(samples, target);
    for (const sample of samples) {
      if (!matches(sample)) continue;
      const key = label(sample, instance);
      totals.set(key, (totals.get(key) ?? 0) + sample.value);
    }
  }
  return totals;
}

/** Per second. Targets are compared one by one: a restarted one begins at zero again and counts from there. */
function rates(before: Scrape, after: Scrape, matches: (sample: Sample) => boolean, label: Labelled): Value {
  const seconds = (after.atMs - before.atMs) / 1000;
  const totals = new Map<string, number>();
  for (const [target, samples] of after.targets) {
    const one = (scrape: Scrape, found: readonly Sample[]) =>
      sum({ ...scrape, targets: new Map([[target, found]]) }, matches, label);
    const earlier = one(before, before.targets.get(target) ?? []);
    // A replica that was not there before has no rate yet; its first count would be a spike.
    if (earlier.size === 0) continue;
    for (const [key, value] of one(after, samples)) {
      const was = earlier.get(key) ?? 0;
      totals.set(key, (totals.get(key) ?? 0) + (value >= was ? value - was : value) / seconds);
    }
  }
  return totals;
}

/** A quantile per pipeline from the growth of histogram buckets over the last minute, as `histogram_quantile` does. */
function quantiles(scrapes: readonly Scrape[], name: string, q: number): readonly (Value | undefined)[] {
  return scrapes.map((scrape, at) => {
    const before = scrapes.findLast((each, i) => i < at && scrape.atMs - each.atMs >= 15_000) ?? scrapes[0];
    if (before === undefined || before === scrape) return undefined;
    const grown = rates(
      before,
      scrape,
      (sample) => sample.name === name,
      ({ labels }) => `${labels['pipeline']} ${labels['le']}`,
    );
    const byName = Map.groupBy([...grown], ([key]) => key.slice(0, key.lastIndexOf(' ')));
    const found = new Map<string, number>();
    for (const [pipeline, entries] of byName) {
      const buckets = entries
        .map(([key, count]) => ({ le: bound(key.slice(key.lastIndexOf(' ') + 1)), count }))
        .toSorted((a, b) => a.le - b.le);
      const value = interpolate(buckets, q);
      if (value !== undefined) found.set(pipeline, value);
    }
    return found;
  });
}

function bound(le: string): number {
  return le === '+Inf' ? Infinity : Number(le);
}

function interpolate(
  buckets: readonly { readonly le: number; readonly count: number }[],
  q: number,
): number | undefined {
  const total = buckets.at(-1)?.count ?? 0;
  if (total === 0) return undefined;
  const rank = q * total;
  const at = buckets.findIndex(({ count }) => count >= rank);
  const bucket = buckets[at];
  if (bucket === undefined) return undefined;
  const lower = buckets[at - 1] ?? { le: 0, count: 0 };
  if (bucket.le === Infinity) return lower.le;
  return lower.le + ((bucket.le - lower.le) * (rank - lower.count)) / Math.max(1e-9, bucket.count - lower.count);
}
