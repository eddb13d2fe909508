import { Counter, Histogram, Registry } from 'prom-client';
import { expect, test } from 'vitest';
import { SeriesCounter, SeriesHistogram } from '../src/prometheus/series.ts';

const buckets = [0.1, 1, 10];
const observed = [0, 0.1, 0.100_1, 5, 5, 10, 11, 1000];
const histogram = { name: 'waited_seconds', help: 'A wait.', labelNames: ['pipeline', 'outcome'], buckets } as const;
const counter = { name: 'seen_total', help: 'Seen.', labelNames: ['pipeline'] } as const;

function openMetrics(): Registry {
  const registry = new Registry();
  registry.setContentType(Registry.OPENMETRICS_CONTENT_TYPE as never);
  registry.setDefaultLabels({ service: 'image' });
  return registry;
}

test.each([
  ['Prometheus', () => new Registry()],
  ['OpenMetrics', openMetrics],
])('series that are found once read as those of prom-client, as %s and as JSON', async (_, make) => {
  const own = make();
  const theirs = make();
  const ours = new SeriesHistogram({ ...histogram, buckets, registers: [own] });
  const plain = new Histogram({ ...histogram, buckets, registers: [theirs] });
  const count = new SeriesCounter({ ...counter, registers: [own] });
  const plainCount = new Counter({ ...counter, registers: [theirs] });
  for (const outcome of ['ack', 'a "quoted" one']) {
    for (const value of observed) {
      ours.of({ pipeline: 'p', outcome }).observe(value);
      plain.observe({ pipeline: 'p', outcome }, value);
    }
    count.of({ pipeline: outcome }).add(2);
    plainCount.inc({ pipeline: outcome }, 2);
    // A scrape in between changes nothing.
    await own.metrics();
  }
  count.of({ pipeline: 'none yet' }).add(0);
  plainCount.inc({ pipeline: 'none yet' }, 0);
  expect(await own.metrics()).toBe(await theirs.metrics());
  const asJson = async (registry: Registry): Promise<unknown> =>
    JSON.parse(JSON.stringify(await registry.getMetricsAsJSON()));
  expect(await asJson(own)).toEqual(await asJson(theirs));
});

test('a series that was only looked up is not shown, and one that was reset begins again', async () => {
  const registry = new Registry();
  const ours = new SeriesHistogram({ ...histogram, buckets, registers: [registry] });
  const count = new SeriesCounter({ ...counter, registers: [registry] });
  const series = ours.of({ pipeline: 'p', outcome: 'ack' });
  count.of({ pipeline: 'p' });
  expect(await registry.metrics()).not.toContain('pipeline="p"');
  expect(ours.of({ outcome: 'ack', pipeline: 'p' })).toBe(series);
  series.observe(3);
  registry.resetMetrics();
  expect(await registry.metrics()).not.toContain('pipeline="p"');
  series.observe(3);
  expect(await registry.metrics()).toContain('waited_seconds_count{pipeline="p",outcome="ack"} 1');
});
