import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { serviceNames, startStack, type Stack } from '@sluice/dev';
import { dashboards, promExpressions, withoutMacros } from '@sluice/o11y';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { hasPrometheus, startPrometheus, type Prometheus } from './prometheus.ts';
import { everyRoad } from './workload.ts';

const here = hasPrometheus();
if (!here) console.warn('prometheus is not here (apt-get install prometheus): dashboards are not run on live data');

let directory: string;
let stack: Stack | undefined;
let prometheus: Prometheus | undefined;

/** Panels that show something only when something is wrong, or when the part they show is there. */
const QUIET = [
  /status=~"429\|503"/, // turned away
  /error_type!=""/, // refused publishes
  /outcome="error"/, // errors of the object store
  /email_failovers_total/, // a second provider
  /email_smtp_connections_opened_total/, // a counter that is reset between two scrapes has no rate at rest
  /email_ambiguous_total/,
  /email_over_quota_total/,
  /image_decoders_ended_total/,
  /gnatsd_varz_/, // the broker's exporter, which compose runs
];

describe.skipIf(!here)('under load, Prometheus', () => {
  beforeAll(async () => {
    directory = await mkdtemp(join(tmpdir(), 'sluice-dashboards-'));
    stack = await startStack({
      dataDirectory: directory,
      imageReplicas: 2,
      env: { gateway: { RATE_LIMIT_RECIPIENT_PER_HOUR: '0' } },
    });
    prometheus = await startPrometheus(stack);
    // Long enough for rules that are evaluated every 30 s.
    for (const until = performance.now() + 40_000; performance.now() < until;) await everyRoad(stack);
  }, 300_000);
  afterAll(async () => {
    await prometheus?.stop();
    await stack?.stop();
    await rm(directory, { recursive: true, force: true });
  });

  test('scrapes every replica of every service', async () => {
    const counts = async () => {
      const up = (await prometheus?.query('sum by (job) (up)')) ?? [];
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
        if (QUIET.some((quiet) => quiet.test(expr))) continue;
        // A minute reaches back into the load, however long it took to come here.
        const found = (await prometheus?.query(withoutMacros(expr).replaceAll('[5m]', '[1m]'))) ?? [];
        const numbers = found.filter(({ value }) => value[1] !== 'NaN');
        if (numbers.length === 0) empty.push(`${panel}: ${expr}`);
      }
      expect(empty).toEqual([]);
    },
  );

  test('finds nothing to alert about but what was done to it', async () => {
    const firing = (await prometheus?.query('ALERTS{alertstate="firing",alertname!="Watchdog"}')) ?? [];
    // The load has torn pictures and unreadable messages in it, on purpose.
    const caused = ['ConversionFailureRatio', 'DeadLetters', 'DeadLetterBurst'];
    const names = firing.map(({ metric }) => metric['alertname'] ?? '').filter((name) => !caused.includes(name));
    expect(names).toEqual([]);
  });

  test('keeps exemplars that lead to traces', async () => {
    const query = 'messaging_process_duration_seconds_bucket';
    const now = Date.now() / 1000;
    const range = new URLSearchParams({ query, start: String(now - 120), end: String(now) });
    const answer = await fetch(`${prometheus?.url}/api/v1/query_exemplars?${range.toString()}`);
    const { data } = (await answer.json()) as {
      data: readonly { exemplars: readonly { labels: { trace_id: string } }[] }[];
    };
    const ids = data.flatMap(({ exemplars }) => exemplars.map(({ labels }) => labels.trace_id));
    expect(ids.length).toBeGreaterThan(0);
    expect(ids.some((id) => (stack?.otlp.store.spans(id) ?? []).length > 0)).toBe(true);
  });
});
