import { fastify, type FastifyInstance } from 'fastify';
import { afterEach, describe, expect, test } from 'vitest';
import { currentTraceId, httpTelemetry, startTelemetry, withSpan, type Telemetry } from './index.ts';
import { endedSpans } from './spans/ended-spans.ts';

let app: FastifyInstance;
let telemetry: Telemetry;
afterEach(async () => {
  await app.close();
  await telemetry.shutdown();
});

/** A real server on a real socket: contexts get lost between a socket and its parser, not in an injected request. */
async function serve() {
  const spans = endedSpans();
  telemetry = startTelemetry({
    service: 'gateway',
    onSpanEnd: spans.add,
    logTo: { write: () => {} },
  });
  app = fastify();
  const http = httpTelemetry({ registry: telemetry.registry });
  app.addHook('onRequest', http.onRequest);
  app.addHook('preValidation', http.preValidation);
  app.addHook('onSend', http.onSend);
  app.addHook('onResponse', http.onResponse);
  app.addHook('onRequestAbort', http.onRequestAbort);
  app.get('/healthz', () => 'ok');
  app.post('/v1/jobs/:id', async () => withSpan('inner', {}, () => ({ traceId: currentTraceId() })));
  app.post('/v1/jobs/:id(^[^/:]+)::cancel', () => 'ok');
  app.get('/unchanged', (_request, reply) => reply.code(304).send());
  app.get('/broken', () => {
    throw new Error('secret db password');
  });
  app.get('/stream', (_request, reply) =>
    reply.type('text/event-stream').send(
      new ReadableStream({
        start(controller) {
          controller.enqueue(new TextEncoder().encode('data: 1\n\n'));
          controller.close();
        },
      }),
    ),
  );
  const url = await app.listen({ host: '127.0.0.1', port: 0 });
  /** The hooks run after the last byte: ask until they have. */
  const finished = async (count: number) => {
    await expect.poll(() => spans.getFinishedSpans().length).toBeGreaterThanOrEqual(count);
    return spans.getFinishedSpans();
  };
  return { url, spans, finished };
}

const post = (url: string, headers: Record<string, string> = {}) =>
  fetch(url, { method: 'POST', headers: { 'content-type': 'application/json', ...headers }, body: '{"a":1}' });

describe('an HTTP request', () => {
  test('is a server span named by its route, around everything its handler does', async () => {
    const { url, finished } = await serve();
    const response = await post(`${url}/v1/jobs/job_1?token=secret`);
    const [inner, server] = await finished(2);
    expect(server?.name).toBe('POST /v1/jobs/:id');
    expect(server?.attributes).toEqual({
      'http.request.method': 'POST',
      'http.route': '/v1/jobs/:id',
      'http.response.status_code': 200,
      'url.path': '/v1/jobs/job_1',
      'url.scheme': 'http',
    });
    expect(inner?.parentSpanContext?.spanId).toBe(server?.spanContext().spanId);
    expect(await response.json()).toEqual({ traceId: server?.spanContext().traceId });
  });

  test("goes on with the caller's trace and says which trace it is", async () => {
    const { url, finished } = await serve();
    const traceId = '0af7651916cd43dd8448eb211c80319c';
    const response = await post(`${url}/v1/jobs/job_1`, { traceparent: `00-${traceId}-b7ad6b7169203331-01` });
    const server = (await finished(2))[1];
    expect(server?.parentSpanContext?.spanId).toBe('b7ad6b7169203331');
    expect(response.headers.get('x-trace-id')).toBe(traceId);
    expect(response.headers.get('traceresponse')).toBe(`00-${traceId}-${server?.spanContext().spanId}-01`);
  });

  test('that fails is counted by its status, and its error text stays out of the span', async () => {
    const { url, finished } = await serve();
    await fetch(`${url}/broken`);
    const [span] = await finished(1);
    expect(span?.attributes['error.type']).toBe('500');
    expect(span?.status).toEqual({ code: 2 });
    expect(await telemetry.registry.metrics()).toContain(
      'http_server_request_duration_seconds_count{service="gateway",method="GET",route="/broken",status="500"} 1',
    );
  });

  test('to nowhere makes one series for all paths', async () => {
    const { url, finished } = await serve();
    await fetch(`${url}/nobody/1`);
    await fetch(`${url}/nobody/2`);
    expect((await finished(2)).map(({ name }) => name)).toEqual(['GET', 'GET']);
    expect(await telemetry.registry.metrics()).toContain('method="GET",route="",status="404"} 2');
  });

  test('is named by its route as clients know it, not in the notation of the framework', async () => {
    const { url, finished } = await serve();
    await post(`${url}/v1/jobs/job_1:cancel`);
    const [span] = await finished(1);
    expect(span?.name).toBe('POST /v1/jobs/:id:cancel');
    expect(span?.attributes['http.route']).toBe('/v1/jobs/:id:cancel');
  });

  test('for health leaves no trace', async () => {
    const { url, spans } = await serve();
    expect((await fetch(`${url}/healthz`)).headers.get('x-trace-id')).toBeNull();
    expect(spans.getFinishedSpans()).toHaveLength(0);
  });

  test('that polls and finds nothing new leaves no span, unless it is part of a trace of its caller', async () => {
    const { url, finished, spans } = await serve();
    const unchanged = await fetch(`${url}/unchanged`);
    expect(unchanged.status).toBe(304);
    expect(unchanged.headers.get('x-trace-id')).toMatch(/^[\da-f]{32}$/);
    const traceparent = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01';
    await fetch(`${url}/unchanged`, { headers: { traceparent } });
    await finished(1);
    expect(spans.getFinishedSpans().map((span) => span.parentSpanContext?.spanId)).toEqual(['b7ad6b7169203331']);
    // Both are counted.
    expect(await telemetry.registry.metrics()).toContain('method="GET",route="/unchanged",status="304"} 2');
  });

  test('that streams events is one span and no slow request', async () => {
    const { url, finished } = await serve();
    await (await fetch(`${url}/stream`)).text();
    const [span] = await finished(1);
    expect(span?.events.map(({ name }) => name)).toEqual(['stream opened']);
    const text = await telemetry.registry.metrics();
    expect(text).not.toContain('route="/stream"');
    expect(text).toContain('http_server_open_streams{service="gateway"} 0');
    expect(text).toContain('http_server_active_requests{service="gateway"} 0');
  });
});
