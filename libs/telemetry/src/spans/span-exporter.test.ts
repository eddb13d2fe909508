import { SpanKind } from '@opentelemetry/api';
import { readSpans, readTraces } from '@sluice/dev';
import { once } from 'node:events';
import { createServer, type IncomingHttpHeaders, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, describe, expect, test } from 'vitest';
import { newSpanId, newTraceId } from './ids.ts';
import { otlpHeaders, otlpSender } from './otlp-http.ts';
import { SpanExporter } from './span-exporter.ts';
import { RecordedSpan } from './span.ts';

const servers: Server[] = [];
afterEach(() => {
  for (const server of servers.splice(0)) {
    server.closeAllConnections();
    server.close();
  }
});

interface Received {
  readonly headers: IncomingHttpHeaders;
  readonly names: readonly string[];
}
type Answer = (attempt: number) => number | 'never' | 'hang up';

/** A receiver that reads what it is sent and answers as it is told. */
async function receiver(answer: Answer = () => 200) {
  const received: Received[] = [];
  let attempts = 0;
  const server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      const given = answer((attempts += 1));
      if (given === 'hang up') response.destroy();
      if (typeof given !== 'number') return;
      if (given === 200) {
        const spans = readSpans(readTraces(Buffer.concat(chunks)));
        received.push({ headers: request.headers, names: spans.map(({ name }) => name) });
      }
      response.writeHead(given, { 'retry-after': '0' }).end();
    });
  });
  servers.push(server);
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/v1/traces`;
  return { received, url, attempts: () => attempts };
}

function exporterTo(url: string, { timeoutMs = 5000, headers = {} } = {}) {
  const failures: string[] = [];
  const exporter = new SpanExporter({
    resource: { 'service.name': 'image' },
    sender: otlpSender({ url, headers, timeoutMs }),
    onFailure: (reason) => failures.push(reason),
  });
  return { exporter, failures };
}

function spanOf(name: string, scope = 'sluice', text = ''): RecordedSpan {
  const span = new RecordedSpan({
    name,
    scope,
    kind: SpanKind.INTERNAL,
    context: { traceId: newTraceId(), spanId: newSpanId(), traceFlags: 1 },
    parent: undefined,
    startTime: undefined,
    onEnd: () => undefined,
  });
  if (text !== '') span.setAttribute('text', text);
  span.end();
  return span;
}

describe('an exporter of spans', () => {
  test('sends what has waited in one request, each library under its own scope', async () => {
    const { url, received } = await receiver();
    const { exporter } = exporterTo(url, { headers: { authorization: 'Bearer t' } });
    for (const name of ['a', 'b']) exporter.add(spanOf(name));
    exporter.add(spanOf('c', '@sluice/storage'));
    await expect.poll(() => received.length).toBe(1);
    expect(received[0]?.names).toEqual(['a', 'b', 'c']);
    expect(received[0]?.headers).toMatchObject({
      authorization: 'Bearer t',
      'content-type': 'application/x-protobuf',
    });
    await expect.poll(() => exporter.counts).toEqual({ offered: 3, exported: 3, failed: 0, dropped: 0 });
    await exporter.shutdown();
  });

  test('sends large batches at once, and what is left at shutdown', async () => {
    const { url, received } = await receiver();
    const { exporter } = exporterTo(url);
    const names = Array.from({ length: 3000 }, (_, at) => `span ${at}`);
    for (const name of names) exporter.add(spanOf(name, 'sluice', 'x'.repeat(400)));
    await exporter.shutdown();
    expect(received.length).toBeGreaterThan(3);
    expect(received.flatMap((request) => request.names).toSorted()).toEqual(names.toSorted());
    expect(exporter.counts).toMatchObject({ offered: 3000, exported: 3000, dropped: 0 });
  });

  test('tries again what the receiver was too busy for, or lost', async () => {
    const { url, received } = await receiver((attempt) => (attempt === 1 ? 503 : attempt === 2 ? 'hang up' : 200));
    const { exporter, failures } = exporterTo(url, { timeoutMs: 60_000 });
    exporter.add(spanOf('a'));
    await exporter.flush();
    expect(received.map(({ names }) => names)).toEqual([['a']]);
    expect(failures).toEqual([]);
    await exporter.shutdown();
  });

  test('counts as failed what is refused, once, and what was never answered', async () => {
    const refusing = await receiver(() => 400);
    const first = exporterTo(refusing.url);
    first.exporter.add(spanOf('a'));
    await first.exporter.shutdown();
    expect(first.exporter.counts).toEqual({ offered: 1, exported: 0, failed: 1, dropped: 0 });
    expect(first.failures).toEqual(['the receiver answers 400']);
    expect(refusing.attempts()).toBe(1);

    const silent = await receiver(() => 'never');
    const second = exporterTo(silent.url, { timeoutMs: 50 });
    second.exporter.add(spanOf('a'));
    await second.exporter.shutdown();
    expect(second.exporter.counts.failed).toBe(1);
    expect(second.failures).toEqual(['the receiver did not answer in time']);
  });

  test('keeps a bounded number of bytes for a receiver that does not answer, and counts what it drops', async () => {
    const { url } = await receiver(() => 'never');
    const { exporter } = exporterTo(url);
    const before = process.memoryUsage();
    for (let at = 0; at < 40_000; at += 1) exporter.add(spanOf('a', 'sluice', 'x'.repeat(1000)));
    const after = process.memoryUsage();
    expect(after.external + after.arrayBuffers - before.external - before.arrayBuffers).toBeLessThan(64 * 2 ** 20);
    const { offered, dropped } = exporter.counts;
    expect(offered).toBe(40_000);
    expect(dropped).toBeGreaterThan(25_000);
    expect(dropped).toBeLessThan(35_000);
  });
});

test('headers come from the variables of OpenTelemetry, those of traces above those of all', () => {
  expect(
    otlpHeaders({
      OTEL_EXPORTER_OTLP_HEADERS: 'Authorization=Bearer%20a, x-tenant = one ,nonsense',
      OTEL_EXPORTER_OTLP_TRACES_HEADERS: 'x-tenant=two',
    }),
  ).toEqual({ authorization: 'Bearer a', 'x-tenant': 'two' });
  expect(otlpHeaders({})).toEqual({});
});
