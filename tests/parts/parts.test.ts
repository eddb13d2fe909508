// The parts of docker-compose.yml with the configurations of this repository, and the services on them: what each has to
// show. Where one of the programs is missing nothing is tried, and the output says which.
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { metricsIn, readRules } from '@sluice/o11y';
import { createStore } from '@sluice/storage';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { gatewayClient, until, type JobAnswer } from '../e2e/gateway-client.ts';
import { isQuiet } from '../telemetry/quiet-queries.ts';
import { arrived, everyRoad } from '../telemetry/workload.ts';
import { filledIn, grafanaDashboards, queriesOf, traceLinks, variablesOf } from './grafana.ts';
import { jaegerTrace, linksOf, parentOf, wholeTrace, type JaegerSpan, type JaegerTrace } from './jaeger-api.ts';
import { spansOtlp } from './otlp-spans.ts';
import { findPrograms, startSystem, type System } from './system.ts';
import { startCollector } from './telemetry-parts.ts';

const ROOT = join(import.meta.dirname, '../..');
const { programs, missing } = await findPrograms();
if (missing.length > 0) {
  const left = programs === undefined ? 'nothing is tried' : 'what they show is not tried';
  console.warn(`parts of docker-compose.yml: no ${missing.join(', ')} on PATH or in ~/.cache/sluice: ${left}`);
}

/** Long enough for rules that are evaluated every 30 s, and for rates over what is scraped every 5 s. */
const LOAD_MS = 45_000;

/** Metrics of others that are not there before something goes wrong: the first time is then no increase. */
const ONLY_IN_TROUBLE = ['loki_discarded_samples_total'];

interface Series {
  readonly metric: Readonly<Record<string, string>>;
  readonly values: readonly (readonly [number, string])[];
}

describe.skipIf(programs === undefined)('the parts of docker-compose.yml', () => {
  let system: System;
  let image: JobAnswer;
  let trace: JaegerTrace;
  let startedAtS: number;
  beforeAll(async () => {
    if (programs === undefined) return;
    startedAtS = Date.now() / 1000;
    system = await startSystem(programs);
    for (const until = performance.now() + LOAD_MS; performance.now() < until;) await everyRoad(system.stack);
    const api = gatewayClient(system.stack.urls.gateway);
    const photo = await readFile(join(ROOT, 'samples/photo.jpg'));
    image = await api.ended((await api.accept('/v1/images', photo)).id);
    await arrived(system.stack);
    trace = await wholeTrace(system.jaeger.url, image.traceId, 'process client.image.converted');
  });
  afterAll(() => system?.stop());

  async function json(url: string): Promise<unknown> {
    const answer = await fetch(url);
    if (!answer.ok) throw new Error(`${url}: HTTP ${answer.status} ${await answer.text()}`);
    return await answer.json();
  }
  /** As a panel asks: over the time since the start. */
  async function prometheusRange(query: string): Promise<readonly Series[]> {
    const range = new URLSearchParams({ query, start: String(startedAtS), end: String(Date.now() / 1000), step: '5' });
    const { data } = (await json(`${system.prometheus.url}/api/v1/query_range?${range.toString()}`)) as {
      data: { result: readonly Series[] };
    };
    return data.result;
  }
  async function lokiRange(query: string): Promise<readonly Series[]> {
    const range = new URLSearchParams({ query, start: String(Math.floor(startedAtS)), step: '15s' });
    range.set('end', String(Math.ceil(Date.now() / 1000)));
    const { data } = (await json(`${system.loki?.url}/loki/api/v1/query_range?${range.toString()}`)) as {
      data: { result: readonly (Series & { readonly stream?: Readonly<Record<string, string>> })[] };
    };
    return data.result.map(({ metric, stream, values }) => ({ metric: metric ?? stream ?? {}, values }));
  }
  const isThere = ({ values }: Series): boolean => values.some(([, value]) => value !== 'NaN');

  describe('Prometheus', () => {
    test('scrapes every target of prometheus.yml', async () => {
      const targets = async () => {
        const { data } = (await json(`${system.prometheus.url}/api/v1/targets`)) as {
          data: { activeTargets: readonly { labels: { job: string }; health: string; lastError: string }[] };
        };
        return data.activeTargets
          .filter(({ health }) => health !== 'up')
          .map(({ labels, lastError }) => `${labels.job}: ${lastError}`);
      };
      await expect.poll(targets).toEqual([]);
    });

    test('evaluates every rule without an error', async () => {
      const { data } = (await json(`${system.prometheus.url}/api/v1/rules`)) as {
        data: { groups: readonly { rules: readonly { name: string; health: string; lastError?: string }[] }[] };
      };
      const rules = data.groups.flatMap((group) => group.rules);
      expect(rules.length).toBeGreaterThan(40);
      expect(
        rules.filter(({ health }) => health !== 'ok').map(({ name, lastError }) => `${name}: ${lastError}`),
      ).toEqual([]);
    });

    test.each(grafanaDashboards.map((each) => [each.title, each] as const))(
      'has data for every query of %s',
      async (_, dashboard) => {
        const empty: string[] = [];
        for (const { panel, datasource, expr } of queriesOf(dashboard)) {
          if (datasource !== 'prometheus') continue;
          const found = await prometheusRange(filledIn(expr));
          if (!found.some(isThere) && !isQuiet(expr)) empty.push(`${panel}: ${expr}`);
        }
        for (const { metric, label } of variablesOf(dashboard)) {
          const values = new URLSearchParams({ 'match[]': filledIn(metric) });
          const { data } = (await json(
            `${system.prometheus.url}/api/v1/label/${label}/values?${values.toString()}`,
          )) as { data: readonly string[] };
          if (data.length === 0) empty.push(`variable of ${metric}, ${label}`);
        }
        expect(empty).toEqual([]);
      },
    );

    test('gets no metric of the same name from the broker’s exporter and from a service', async () => {
      const names = async (job: string): Promise<ReadonlySet<string>> => {
        const matching = new URLSearchParams({ 'match[]': `{job=~"${job}"}` });
        const { data } = (await json(
          `${system.prometheus.url}/api/v1/label/__name__/values?${matching.toString()}`,
        )) as { data: readonly string[] };
        return new Set(data.filter((name) => !/^(?:up$|scrape_|process_)/.test(name)));
      };
      const ours = await names('gateway|email|image|client');
      const theirs = await names('nats');
      expect(theirs.size).toBeGreaterThan(20);
      expect([...theirs].filter((name) => ours.has(name))).toEqual([]);
    });

    test('has every metric that a rule reads', async () => {
      const { data } = (await json(`${system.prometheus.url}/api/v1/label/__name__/values`)) as { data: string[] };
      const named = new Set(readRules().flatMap(({ expr }) => metricsIn(expr)));
      expect(named.size).toBeGreaterThan(50);
      expect([...named].filter((name) => !data.includes(name) && !ONLY_IN_TROUBLE.includes(name))).toEqual([]);
    });

    test('has the metrics of the collector and Jaeger that an alert reads', async () => {
      for (const [job, metric] of [
        ['collector', 'otelcol_receiver_refused_spans'],
        ['collector', 'otelcol_receiver_refused_log_records'],
        ['jaeger', 'otelcol_receiver_refused_spans'],
      ]) {
        const series = await prometheusRange(`{__name__=~"${metric}(_total)?",job="${job}"}`);
        expect(series, `${metric} of ${job}`).not.toEqual([]);
      }
    });

    test('finds nothing to alert about but what was done to it', async () => {
      const firing = await prometheusRange('ALERTS{alertstate="firing",alertname!="Watchdog"}');
      // The load has torn pictures and unreadable messages in it, on purpose.
      const caused = ['ConversionFailureRatio', 'DeadLetters', 'DeadLetterBurst'];
      const names = firing.map(({ metric }) => metric['alertname'] ?? '').filter((name) => !caused.includes(name));
      expect(names).toEqual([]);
    });
  });

  describe.skipIf(missing.includes('loki'))('Loki', () => {
    test.each(grafanaDashboards.map((each) => [each.title, each] as const))(
      'answers every query of %s, with all values of its variables and with one',
      async (_, dashboard) => {
        for (const { panel, datasource, expr } of queriesOf(dashboard)) {
          if (datasource !== 'loki') continue;
          for (const value of ['.+', 'gateway']) {
            const found = await lokiRange(filledIn(expr, value));
            // A service that was not told to fail has no errors to show.
            if (value === '.+' && !expr.endsWith('error|fatal"'))
              expect(found.length, `${panel}: ${expr}`).toBeGreaterThan(0);
          }
        }
      },
    );

    test('has lines of every service, and labels by which none is told from another', async () => {
      const { data } = (await json(`${system.loki?.url}/loki/api/v1/label/service_name/values`)) as { data: string[] };
      expect(data).toEqual(expect.arrayContaining(['client', 'email', 'gateway', 'image']));
      const { data: labels } = (await json(`${system.loki?.url}/loki/api/v1/labels`)) as { data: string[] };
      expect(labels.filter((label) => /job|trace|span|message/.test(label))).toEqual([]);
    });
  });

  describe('Jaeger', () => {
    const named = (name: string) => {
      const span = trace.spans.find(({ operationName }) => operationName === name);
      if (span === undefined)
        throw new Error(`no span ${name}: ${trace.spans.map((each) => each.operationName).join(', ')}`);
      return span;
    };

    test('shows the trace of an image from the request to the callback, each span a child of its cause', () => {
      const nameOf = new Map(trace.spans.map(({ spanID, operationName }) => [spanID, operationName]));
      const path: string[] = [];
      let at: string | undefined = named('process client.image.converted').spanID;
      while (at !== undefined) {
        path.unshift(nameOf.get(at) ?? '');
        at = parentOf(trace.spans.find(({ spanID }) => spanID === at)!);
      }
      expect(path[0]).toBe('POST /v1/images');
      expect(path).toEqual(expect.arrayContaining(['process user.image.converted', 'publish client.image.converted']));
      expect(
        trace.spans.filter((span) => parentOf(span) === undefined).map(({ operationName }) => operationName),
      ).toEqual(['POST /v1/images']);
    });

    test('shows the links of the result and of the callback beside their parents', () => {
      expect(linksOf(named('process user.image.converted'))).toEqual([named('convert image').spanID]);
      expect(linksOf(named('process client.image.converted'))).toEqual([named('POST /v1/images').spanID]);
      const doubled = trace.spans.filter((span) => linksOf(span).includes(parentOf(span) ?? ''));
      expect(doubled.map(({ operationName }) => operationName)).toEqual([]);
    });

    test('finds the trace by the id of the job', async () => {
      const tags = JSON.stringify({ 'messaging.message.conversation_id': image.id });
      const search = new URLSearchParams({ service: 'image', tags });
      const { data } = (await json(`${system.jaeger.url}/api/traces?${search.toString()}`)) as { data: JaegerTrace[] };
      expect(data.map(({ traceID }) => traceID)).toEqual([image.traceId]);
    });

    test('draws its Monitor tab from the span metrics of the collector', async () => {
      for (const metric of ['calls', 'latencies', 'errors']) {
        const asked = new URLSearchParams({ service: 'gateway', quantile: '0.95', spanKind: 'server' });
        for (const [name, ms] of [
          ['endTs', Date.now()],
          ['lookback', 600_000],
          ['step', 5_000],
          ['ratePer', 600_000],
        ]) {
          asked.set(String(name), String(ms));
        }
        const { metrics } = (await json(`${system.jaeger.url}/api/metrics/${metric}?${asked.toString()}`)) as {
          metrics: readonly { metricPoints: readonly unknown[] }[];
        };
        expect(metrics.flatMap(({ metricPoints }) => metricPoints).length, metric).toBeGreaterThan(0);
      }
    });

    test('lists the tags that Grafana’s links need: they lead to the log lines and the metrics of a span', async () => {
      const { logs, metrics } = traceLinks();
      const filled = (query: string, tags: typeof logs.tags, span: JaegerSpan, of: JaegerTrace): string => {
        const { tags: ofProcess = [] } = of.processes[span.processID] ?? {};
        const known = new Map([...ofProcess, ...span.tags].map(({ key, value }) => [key, String(value)]));
        const matchers = tags.map(({ key, value }) => `${value}="${known.get(key) ?? ''}"`).join(', ');
        return query
          .replaceAll(/\$\{__tags\}|\$__tags/g, matchers)
          .replaceAll(/\$\{__trace\.traceId\}/g, of.traceID)
          .replaceAll(/\[1m\]/g, '[20s]');
      };
      if (system.loki !== undefined) {
        // What is done without a hitch writes no line: the trace of one that was written.
        const ofLine = async () => {
          const [line] = await lokiRange('{service_name="image"} | trace_id=~".+"');
          const written = await jaegerTrace(system.jaeger.url, line?.metric['trace_id'] ?? '');
          const span = written?.spans.find(({ spanID }) => spanID === line?.metric['span_id']);
          return written === undefined || span === undefined ? undefined : { written, span };
        };
        // The collector holds a trace back until it has decided on it.
        await expect.poll(ofLine).toBeDefined();
        const { written, span } = (await ofLine())!;
        const query = filled(logs.query, logs.tags, span, written);
        await expect.poll(async () => (await lokiRange(query)).length, { message: query }).toBeGreaterThan(0);
      }
      const convert = named('convert image');
      for (const { name, query } of metrics.queries) {
        const whole = filled(query, metrics.tags, convert, trace);
        await expect.poll(async () => (await prometheusRange(whole)).some(isThere), { message: name }).toBe(true);
      }
    });
  });

  describe('the collector', () => {
    test('keeps what failed, was redelivered or took long, drops the rest, and hides what is personal', async () => {
      if (programs === undefined) return;
      const { jaeger, loki, folder } = system;
      const own = await startCollector(
        programs.collector,
        join(folder, 'sampling'),
        { jaeger, loki },
        {
          TRACE_KEEP_PERCENT: '0',
        },
      );
      try {
        const sets = {
          plain: spansOtlp(20, {}),
          failed: spansOtlp(5, { failed: true }),
          redelivered: spansOtlp(5, { attributes: { 'nats.delivery_count': 2 } }),
          slow: spansOtlp(5, { durationMs: 6_000 }),
          personal: spansOtlp(1, {
            failed: true,
            attributes: { note: 'to ada@example.com', authorization: 'Basic Zm9v', url: 'x?X-Amz-Signature=abc123' },
          }),
        };
        for (const { body } of Object.values(sets)) {
          const answer = await fetch(`${own.url}/v1/traces`, {
            method: 'POST',
            body,
            headers: { 'content-type': 'application/json' },
          });
          expect(answer.status).toBe(200);
        }
        const kept = async (ids: readonly string[]): Promise<number> =>
          (await Promise.all(ids.map((id) => jaegerTrace(jaeger.url, id)))).filter((found) => found !== undefined)
            .length;
        for (const name of ['failed', 'redelivered', 'slow', 'personal'] as const) {
          const { traceIds } = sets[name];
          await until(`${name} traces are kept`, async () => (await kept(traceIds)) === traceIds.length);
        }
        // Judged no later than those, which came after them.
        expect(await kept(sets.plain.traceIds)).toBe(0);
        const shown = JSON.stringify(await jaegerTrace(jaeger.url, sets.personal.traceIds[0] ?? ''));
        expect(shown).toContain('"note"');
        for (const secret of ['ada@example.com', 'Zm9v', 'abc123']) expect(shown).not.toContain(secret);
      } finally {
        await own.stop();
      }
    });
  });

  test.skipIf(missing.includes('mailpit'))(
    'Mailpit shows the mails that the services sent, found by recipient and by Message-ID',
    async () => {
      const found = (await json(
        `${system.mailpit?.url}/api/v1/search?query=${encodeURIComponent('to:canary.notify@example.com')}`,
      )) as { messages: readonly { ID: string; MessageID: string; Subject: string; Attachments: number }[] };
      const [first] = found.messages;
      expect(first?.Subject).toBeTruthy();
      const same = (await json(
        `${system.mailpit?.url}/api/v1/search?query=${encodeURIComponent(`message-id:${first?.MessageID}`)}`,
      )) as { messages: readonly { ID: string }[] };
      expect(same.messages.map(({ ID }) => ID)).toEqual([first?.ID]);
      const whole = (await json(`${system.mailpit?.url}/api/v1/message/${first?.ID}`)) as {
        HTML: string;
        Text: string;
      };
      expect(whole.HTML).not.toBe('');
      expect(whole.Text).not.toBe('');
    },
  );

  test.skipIf(missing.includes('seaweedfs'))(
    'SeaweedFS has the PDF of the image, as the job says, and gives it to the holder of a URL alone',
    async () => {
      if (system.seaweedFs === undefined) return;
      const { url: endpoint, accessKeyId, secretAccessKey } = system.seaweedFs;
      const store = createStore({ endpoint, region: 'us-east-1', bucket: 'sluice', accessKeyId, secretAccessKey });
      try {
        expect((await store.head(`pdf/${image.id}.pdf`))?.sizeBytes).toBeGreaterThan(0);
      } finally {
        store.close();
      }
      const answer = await gatewayClient(system.stack.urls.gateway).pdf(image.id);
      expect(answer.url.startsWith(endpoint)).toBe(true);
      expect(
        Buffer.from(await answer.arrayBuffer())
          .subarray(0, 5)
          .toString(),
      ).toBe('%PDF-');
      expect((await fetch(new URL(new URL(answer.url).pathname, endpoint))).status).toBe(403);
    },
  );
});
