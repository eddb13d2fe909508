import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { serviceNames, startStack, type Stack } from '@sluice/dev';
import { dashboards, promExpressions, withoutMacros } from '@sluice/o11y';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { findPrometheusVersions } from '../tools/find-part.ts';
import { startPrometheus, type Prometheus } from './prometheus.ts';
import { isQuiet } from './quiet-queries.ts';
import { everyRoad } from './workload.ts';

const versions = await findPrometheusVersions();
for (const major of ['2', '3'] as const) {
  if (!versions.has(major)) console.warn(`no Prometheus ${major} here: dashboards are not run on its live data`);
}

let directory: string;
let stack: Stack | undefined;
const servers = new Map<string, Prometheus>();

/** What the broker's own exporter says, which compose runs. */
const BY_EXPORTER = /gnatsd_varz_/;

describe.skipIf(versions.size === 0)('under load', () => {
  beforeAll(async () => {
    directory = await mkdtemp(join(tmpdir(), 'sluice-dashboards-'));
    stack = await startStack({
      dataDirectory: directory,
      imageReplicas: 2,
      env: { gateway: { RATE_LIMIT_RECIPIENT_PER_HOUR: '0' } },
    });
    for (const [major, program] of versions) servers.set(major, await startPrometheus(program, stack));
    // Long enough for rules that are evaluated every 30 s.
    for (const until = performance.now() + 40_000; performance.now() < until;) await everyRoad(stack);
  });
  afterAll(async () => {
    await Promise.all([...servers.values()].map((server) => server.stop()));
    await stack?.stop();
    await rm(directory, { recursive: true, force: true });
  });

  describe.each([...versions.keys()])('Prometheus %s', (major) => {
    const server = (): Prometheus => {
      const found = servers.get(major);
      if (found === undefined) throw new Error(`Prometheus ${major} was not started`);
      return found;
    };

    test('scrapes every replica of every service', async () => {
      const counts = async () => {
        const up = await server().query('sum by (job) (up)');
        return new Map(up.map(({ metric, value }) => [metric['job'], value[1]]));
      };
      await expect
        .poll(counts)
        .toEqual(new Map(serviceNames.map((service) => [service, service === 'image' ? '2' : '1'])));
    });

    test.each(dashboards.map((each) => [each.title, each] as const))(
      'has data for every query of %s',
      async (_, dashboard) => {
        const empty: string[] = [];
        for (const { panel, expr } of promExpressions(dashboard)) {
          if (isQuiet(expr) || BY_EXPORTER.test(expr)) continue;
          // A minute reaches back into the load, however long it took to come here.
          const found = await server().query(withoutMacros(expr).replaceAll('[5m]', '[1m]'));
          const numbers = found.filter(({ value }) => value[1] !== 'NaN');
          if (numbers.length === 0) empty.push(`${panel}: ${expr}`);
        }
        expect(empty).toEqual([]);
      },
    );

    test('finds nothing to alert about but what was done to it', async () => {
      const firing = await server().query('ALERTS{alertstate="firing",alertname!="Watchdog"}');
      // The load has torn pictures and unreadable messages in it, on purpose.
      const caused = ['ConversionFailureRatio', 'DeadLetters', 'DeadLetterBurst'];
      const names = firing.map(({ metric }) => metric['alertname'] ?? '').filter((name) => !caused.includes(name));
      expect(names).toEqual([]);
    });

    test('keeps exemplars that lead to traces', async () => {
      const query = 'messaging_process_duration_seconds_bucket';
      const now = Date.now() / 1000;
      const range = new URLSearchParams({ query, start: String(now - 120), end: String(now) });
      const answer = await fetch(`${server().url}/api/v1/query_exemplars?${range.toString()}`);
      const { data } = (await answer.json()) as {
        data: readonly { exemplars: readonly { labels: { trace_id: string } }[] }[];
      };
      const ids = data.flatMap(({ exemplars }) => exemplars.map(({ labels }) => labels.trace_id));
      expect(ids.length).toBeGreaterThan(0);
      expect(ids.some((id) => (stack?.otlp.store.spans(id) ?? []).length > 0)).toBe(true);
    });
  });
});
