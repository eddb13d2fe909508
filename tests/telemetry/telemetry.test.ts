import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startStack, type ServiceName, type Stack } from '@sluice/dev';
import { dashboards, familyOf, metricsIn, promExpressions, readRules } from '@sluice/o11y';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { inventory, tableUnder, type Inventory } from './inventory.ts';
import { arrived, CANARIES, everyRoad, type Called } from './workload.ts';

const DOCS = join(import.meta.dirname, '../../docs/telemetry.md');
/** What docs/telemetry.md describes: a service made by `pnpm new service` has tables of its own to write. */
const SERVICES = ['gateway', 'email', 'image', 'client'] as const satisfies readonly ServiceName[];

let directory: string;
let stack: Stack;
let found: Inventory;
let docs: string;
let jobIds: readonly string[];
let called: Called;

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'sluice-telemetry-'));
  docs = await readFile(DOCS, 'utf8');
  stack = await startStack({ dataDirectory: directory, services: SERVICES });
  ({ jobIds, called } = await everyRoad(stack));
  await arrived(stack);
  found = await inventory(stack);
});
afterAll(async () => {
  await stack?.stop();
  await rm(directory, { recursive: true, force: true });
});

describe.each(SERVICES)('%s', (service) => {
  test('sends spans', () => {
    expect(found.spans.filter((span) => span.endsWith(`| ${service}`))).not.toEqual([]);
  });

  test('serves metrics of itself, its pipelines and its telemetry', () => {
    for (const family of [
      'service_info',
      'pipeline_messages_settled',
      'nodejs_gc_duration_seconds',
      'telemetry_items_exported',
    ]) {
      expect(found.metrics.get(family)?.services, family).toContain(service);
    }
  });

  test('sends the log lines it writes', () => {
    const logs = stack.otlp.store.logs({}).filter((log) => log.service === service);
    expect(logs).not.toEqual([]);
    expect(new Set(logs.map((log) => log.level))).toContain('info');
  });
});

describe('a trace', () => {
  test('is one for each job, from the request to the callback', () => {
    for (const jobId of jobIds) {
      const traces = stack.otlp.store.tracesOfJob(jobId);
      expect(traces, jobId).toHaveLength(1);
      const spans = stack.otlp.store.spans(traces[0] ?? '');
      expect(spans.map((span) => span.service)).toContain('client');
      const known = new Set(spans.map((span) => span.spanId));
      const lost = spans.filter((span) => span.parentSpanId !== undefined && !known.has(span.parentSpanId));
      expect(lost.map((span) => span.name)).toEqual([]);
    }
  });

  test('links no span to its parent, callbacks to the accepted request and results to the work', () => {
    const processed = stack.otlp.store
      .list()
      .flatMap(({ traceId }) => stack.otlp.store.spans(traceId))
      .filter((span) => span.kind === 'consumer');
    const twice = processed.filter((span) => span.links.some(({ spanId }) => spanId === span.parentSpanId));
    expect(twice.map((span) => span.name)).toEqual([]);
    const callbacks = processed.filter((span) => span.name.startsWith('process client.'));
    expect(callbacks).not.toEqual([]);
    expect(callbacks.filter((span) => span.links.length === 0).map((span) => span.name)).toEqual([]);
    const results = processed.filter((span) => /^process user\.(image\.converted|email\.sent)$/.test(span.name));
    expect(results).not.toEqual([]);
    expect(results.filter((span) => span.links.length === 0).map((span) => span.name)).toEqual([]);
  });
});

test('a webhook carries the trace of its job to the receiver', () => {
  const [, traceId = '', spanId] = called.traceparent?.split('-') ?? [];
  expect(stack.otlp.store.tracesOfJob(called.jobId)).toEqual([traceId]);
  const caller = stack.otlp.store.spans(traceId).find((span) => span.spanId === spanId);
  expect(caller?.name).toBe('process webhook.{account}.finished');
});

test('a call over Connect is one trace with the request it came in', () => {
  const spans = stack.otlp.store.list().flatMap(({ traceId }) => stack.otlp.store.spans(traceId));
  const call = spans.find((span) => span.name === 'sluice.v1.UserService/CreateUser');
  const request = spans.find((span) => span.spanId === call?.parentSpanId);
  expect(request?.name).toBe('POST /sluice.v1.UserService/CreateUser');
});

describe('the tables of docs/telemetry.md', () => {
  test('name every edge between services, and no other', () => {
    const documented = tableUnder(docs, 'Edges').map(
      ([from, span, to, reached]) => `${from}: ${span} → ${to}: ${reached}`,
    );
    expect(found.edges).toEqual(documented.toSorted());
  });

  test('name every link to a span other than the parent, and no other', () => {
    const documented = tableUnder(docs, 'Links').map(
      ([from, span, to, reached]) => `${to}: ${reached} ← ${from}: ${span}`,
    );
    expect(found.links).toEqual(documented.toSorted());
  });

  test('name every span, and no other', () => {
    const documented = tableUnder(docs, 'Spans').flatMap(([name, kind, services]) =>
      (services ?? '').split(', ').map((service) => `${name} | ${kind} | ${service}`),
    );
    expect(found.spans).toEqual(documented.toSorted());
  });

  test('name every metric, its type and who has it, and no other', () => {
    const documented = tableUnder(docs, 'Metrics').map(([name, type, services]) => `${name} | ${type} | ${services}`);
    const emitted = [...found.metrics].map(([family, { type, services }]) => {
      const by = services.length === SERVICES.length ? 'all' : services.toSorted().join(', ');
      return `${type === 'counter' ? `${family}_total` : family} | ${type} | ${by}`;
    });
    expect(emitted.toSorted()).toEqual(documented.toSorted());
  });
});

test('dashboards and alerts name only metrics that are emitted', () => {
  // From Prometheus itself, from recording rules, from the broker's own exporter, and from what keeps the telemetry.
  const others =
    /^(?:up|ALERTS|sluice:.*|gnatsd_varz_.*|jetstream_(?:server|account)_.*|otelcol_.*|loki_discarded_samples_total)$/;
  const named = [
    ...dashboards.flatMap((each) => promExpressions(each).map(({ expr }) => expr)),
    ...readRules().map((rule) => rule.expr),
  ].flatMap(metricsIn);
  expect(named.length).toBeGreaterThan(100);
  const unknown = named.filter((name) => {
    const known = found.metrics.has(name) || found.metrics.has(familyOf(name));
    return !others.test(name) && !known;
  });
  expect([...new Set(unknown)]).toEqual([]);
});

test('nothing personal is in any span or log line', () => {
  const spans = stack.otlp.store.list().flatMap(({ traceId }) => stack.otlp.store.spans(traceId));
  const text = JSON.stringify([spans, stack.otlp.store.logs({ limit: 100_000 })]);
  for (const canary of CANARIES) expect(text).not.toContain(canary);
});

test('a response and a problem say which trace they belong to', async () => {
  const answer = await fetch(`${stack.urls.gateway}/v1/jobs/${jobIds[0]}`);
  const traceId = answer.headers.get('x-trace-id');
  expect(answer.headers.get('traceresponse')).toContain(traceId);
  const problem = await fetch(`${stack.urls.gateway}/v1/jobs/job_none`);
  expect(await problem.json()).toMatchObject({ traceId: problem.headers.get('x-trace-id') });
});

test('durations carry exemplars of traces that were kept', async () => {
  const [gateway] = stack.services;
  const text = await (await fetch(`${gateway?.opsUrl}/metrics`)).text();
  const ids = [...text.matchAll(/ # \{trace_id="([0-9a-f]{32})"/g)].map(([, id]) => id);
  expect(ids.length).toBeGreaterThan(5);
  const kept = new Set(stack.otlp.store.list().map(({ traceId }) => traceId));
  expect(ids.filter((id) => kept.has(id ?? '')).length).toBeGreaterThan(0);
});
