import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { startOtlpReceiver } from '@sluice/dev';
import { afterEach, describe, expect, test, vi } from 'vitest';
import {
  currentTraceId,
  currentTraceparent,
  extractContext,
  injectHeaders,
  linkTo,
  startTelemetry,
  withSpan,
  type Telemetry,
  type TelemetryOptions,
} from './index.ts';
import { endedSpans } from './spans/ended-spans.ts';

const started: Telemetry[] = [];
const servers: Server[] = [];

function start(options: Partial<TelemetryOptions> = {}) {
  const lines: Record<string, unknown>[] = [];
  const spans = endedSpans();
  const telemetry = startTelemetry({
    service: 'image',
    version: '1.2.3',
    instance: 'image-1',
    onSpanEnd: spans.add,
    logTo: { write: (line) => lines.push(JSON.parse(line) as Record<string, unknown>) },
    ...options,
  });
  started.push(telemetry);
  return { telemetry, lines, spans };
}

/** A receiver that keeps what it is sent; `answer` decides how it replies, or not at all. */
async function receiver(answer: 'ok' | 'silent' = 'ok') {
  const received: { path: string; body: string }[] = [];
  const server = createServer((request, response) => {
    let body = '';
    request.setEncoding('utf8').on('data', (chunk: string) => (body += chunk));
    request.on('end', () => {
      received.push({ path: request.url ?? '', body });
      if (answer === 'ok') response.writeHead(200, { 'content-type': 'application/json' }).end('{}');
    });
  });
  servers.push(server);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return { received, url: `http://127.0.0.1:${(server.address() as AddressInfo).port}` };
}

afterEach(async () => {
  await Promise.all(started.splice(0).map((each) => each.shutdown()));
  for (const server of servers.splice(0)) {
    server.closeAllConnections();
    server.close();
  }
});

describe('tracing', () => {
  test('a trace goes on through headers', async () => {
    const { spans } = start();
    let headers: Record<string, string> = {};
    await withSpan('publish', { kind: 'producer' }, () => {
      headers = injectHeaders();
    });
    await withSpan('process', { kind: 'consumer', parent: extractContext(headers) }, () => {});
    const [publish, process] = spans.getFinishedSpans();
    expect(process?.spanContext().traceId).toBe(publish?.spanContext().traceId);
    expect(process?.parentSpanContext?.spanId).toBe(publish?.spanContext().spanId);
  });

  test('has an id without a receiver too: logs and jobs name it', async () => {
    start();
    await withSpan('request', {}, () => {
      expect(currentTraceId()).toMatch(/^(?!0+$)[0-9a-f]{32}$/);
      expect(injectHeaders()['traceparent']).toContain(currentTraceId());
      return Promise.resolve();
    });
  });

  test('reads headers of any spelling, from a map with several values and from a plain object', () => {
    start();
    const traceparent = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01';
    const inside = (headers: Parameters<typeof extractContext>[0]) =>
      withSpan('read', { parent: extractContext(headers) }, currentTraceId);
    return expect(
      Promise.all([
        inside({ traceparent }),
        inside({ Traceparent: [traceparent] }),
        inside(new Map([['TRACEPARENT', [traceparent]]])),
      ]),
    ).resolves.toEqual(Array(3).fill('0af7651916cd43dd8448eb211c80319c'));
  });

  test('a malformed header begins a new trace instead of failing', async () => {
    start();
    await withSpan('read', { parent: extractContext({ traceparent: 'nonsense' }) }, () => {
      expect(currentTraceId()).toMatch(/^[0-9a-f]{32}$/);
    });
    expect(linkTo('nonsense')).toBeUndefined();
  });

  test('a span is named in a message by its traceparent and linked to later', async () => {
    const { spans } = start();
    const origin = await withSpan('work', {}, currentTraceparent);
    const link = linkTo(origin);
    await withSpan('answer', { root: true, links: link === undefined ? [] : [link] }, () => {});
    const [work, answer] = spans.getFinishedSpans();
    expect(answer?.spanContext().traceId).not.toBe(work?.spanContext().traceId);
    expect(answer?.links[0]?.context.spanId).toBe(work?.spanContext().spanId);
  });

  test('a failure marks the span with the code of the error and keeps addresses out of it', async () => {
    const { spans } = start();
    const failing = withSpan('send', {}, () => {
      throw Object.assign(new Error('550 no mailbox ada@example.com'), { code: 'EENVELOPE' });
    });
    await expect(failing).rejects.toThrow('550');
    const [span] = spans.getFinishedSpans();
    expect(span?.attributes['error.type']).toBe('EENVELOPE');
    expect(span?.status.message).toMatch(/^550 no mailbox \[[0-9a-f]{12}\]@example\.com$/);
  });

  test('a caller that decided not to sample is followed', async () => {
    const { spans } = start({ sampleRatio: 1 });
    const parent = extractContext({ traceparent: '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00' });
    await withSpan('read', { parent }, () => {
      expect(currentTraceId()).toBe('0af7651916cd43dd8448eb211c80319c');
    });
    expect(spans.getFinishedSpans()).toHaveLength(0);
  });
});

describe('log lines', () => {
  test('have one shape and carry the active span and job', async () => {
    const { telemetry, lines, spans } = start();
    telemetry.log.info({ bytes: 3 }, 'outside');
    await withSpan('convert', { jobId: 'job_1' }, async () => {
      await sleep(1);
      telemetry.log.warn('inside');
    });
    const span = spans.getFinishedSpans()[0]?.spanContext();
    expect(lines[0]).toEqual({
      level: 'info',
      time: expect.stringMatching(/^\d{4}-\d\d-\d\dT[\d:.]+Z$/) as string,
      service: 'image',
      instance: 'image-1',
      bytes: 3,
      msg: 'outside',
    });
    expect(lines[1]).toMatchObject({
      level: 'warn',
      msg: 'inside',
      trace_id: span?.traceId,
      span_id: span?.spanId,
      job_id: 'job_1',
    });
  });

  test("the caller's own job id wins over the context's", async () => {
    const { telemetry, lines } = start();
    await withSpan('convert', { jobId: 'job_1' }, () => telemetry.log.info({ job_id: 'job_2' }, 'other'));
    expect(lines[0]).toMatchObject({ job_id: 'job_2' });
  });
});

describe('shipping', () => {
  test('sends spans and logs to the receiver, the last ones at shutdown', async () => {
    const receiver = await startOtlpReceiver();
    const { telemetry } = start({ otlpEndpoint: `${receiver.url}/` });
    const traceId = await withSpan('convert', {}, () => {
      telemetry.log.error({ err: new Error('torn') }, 'failed');
      return currentTraceId() ?? '';
    });
    await telemetry.shutdown();
    expect(receiver.store.spans(traceId)).toMatchObject([{ name: 'convert', service: 'image', instance: 'image-1' }]);
    expect(receiver.store.logs({ traceId })).toMatchObject([{ message: 'failed', level: 'error' }]);
    expect(await telemetry.registry.metrics()).toContain(
      'telemetry_items_exported_total{signal="traces",result="ok",service="image"} 1',
    );
    await receiver.close();
  });

  test('nothing is sent where OTEL_* variables point to: the settings of the service decide', async () => {
    const { received, url } = await receiver();
    vi.stubEnv('OTEL_EXPORTER_OTLP_ENDPOINT', url).stubEnv('OTEL_METRICS_EXPORTER', 'otlp');
    const { telemetry } = start();
    telemetry.log.info('a line');
    await withSpan('request', {}, () => Promise.resolve());
    await telemetry.shutdown();
    vi.unstubAllEnvs();
    expect(received).toEqual([]);
  });

  test('a receiver that is not there costs one log line and a counter, never an error', async () => {
    const { telemetry, lines } = start({
      otlpEndpoint: 'http://127.0.0.1:1',
      shutdownTimeoutMs: 100,
    });
    for (let i = 0; i < 10; i++) await withSpan('convert', {}, () => {});
    await telemetry.shutdown();
    expect(lines.filter(({ msg }) => msg === 'telemetry is not getting through').length).toBeLessThanOrEqual(1);
    expect(await telemetry.registry.metrics()).toContain(
      'telemetry_items_offered_total{signal="traces",service="image"} 10',
    );
  });

  test('a receiver that never answers does not hold up the shutdown or grow the queue without end', async () => {
    const { url } = await receiver('silent');
    const { telemetry } = start({ otlpEndpoint: url, shutdownTimeoutMs: 50 });
    for (let i = 0; i < 10_000; i++) await withSpan('convert', {}, () => {});
    await telemetry.shutdown();
    expect(await telemetry.registry.metrics()).toContain(
      'telemetry_items_offered_total{signal="traces",service="image"} 10000',
    );
  });
});
