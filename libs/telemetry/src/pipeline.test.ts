import type { Message, PipelineEvent, Snapshot, State } from '@sluice/pipeline';
import { afterEach, describe, expect, test } from 'vitest';
import {
  currentTraceId,
  injectHeaders,
  pipelineTelemetry,
  publishSpan,
  startTelemetry,
  withSpan,
  type PipelineTelemetryOptions,
  type Telemetry,
} from './index.ts';
import { currentJobId, workTraceparent } from './tracing.ts';
import { endedSpans } from './spans/ended-spans.ts';

let telemetry: Telemetry | undefined;
afterEach(() => telemetry?.shutdown());

function start(options: Partial<PipelineTelemetryOptions> = {}) {
  const spans = endedSpans();
  telemetry = startTelemetry({ service: 'image', onSpanEnd: spans.add });
  const { registry } = telemetry;
  return { ...pipelineTelemetry({ registry, ...options }), registry, spans };
}

function delivery(fields: Partial<Message<unknown>> = {}): Message<unknown> {
  return {
    id: 'id-1',
    subject: 'image.convert.url',
    data: {},
    key: undefined,
    headers: new Map(),
    publishedAt: new Date(),
    stream: 'IMAGES',
    consumer: 'url_to_pdf',
    sequence: 7,
    attempt: 1,
    deliveries: 1,
    maxAttempts: 5,
    bytes: 12,
    ...fields,
  };
}

type Told = PipelineEvent extends infer E ? (E extends unknown ? Omit<E, 'pipeline'> : never) : never;
const event = (told: Told): PipelineEvent => ({ pipeline: 'url_to_pdf', ...told });

/** What the engine tells about one message whose handler succeeds. */
async function handle(engine: ReturnType<typeof start>, message: Message<unknown>, handler = async () => {}) {
  engine.observe(event({ type: 'message.received', message }));
  await engine.instrument([message], async () => {
    engine.observe(event({ type: 'message.started', message, waitedMs: 1 }));
    await handler();
  });
  engine.observe(event({ type: 'message.handled', message, outcome: 'ack', durationMs: 20, error: undefined }));
  engine.observe(event({ type: 'message.settled', message, as: 'ack', heldMs: 21 }));
}

async function published(): Promise<Map<string, readonly string[]>> {
  const headers = await publishSpan({ destination: 'image.convert.url', id: 'id-1' }, (sent) => Promise.resolve(sent));
  return new Map(Object.entries(headers).map(([name, value]) => [name, [value]]));
}

describe('the span of a message', () => {
  test('is child of its publisher, without a second link to it: one trace from the request on', async () => {
    const engine = start();
    const message = delivery({ headers: await published(), data: { jobId: 'job_1' } });
    await handle(engine, message);
    const [publish, process] = engine.spans.getFinishedSpans();
    expect(publish?.name).toBe('publish image.convert.url');
    expect(process?.name).toBe('process image.convert.url');
    expect(process?.parentSpanContext?.spanId).toBe(publish?.spanContext().spanId);
    expect(process?.links).toEqual([]);
    expect(process?.attributes).toEqual({
      'messaging.system': 'nats',
      'messaging.operation.name': 'process',
      'messaging.operation.type': 'process',
      'messaging.destination.name': 'image.convert.url',
      'messaging.destination.template': 'image.convert.url',
      'messaging.consumer.group.name': 'url_to_pdf',
      'messaging.message.id': 'id-1',
      'messaging.message.body.size': 12,
      'messaging.message.conversation_id': 'job_1',
      'nats.stream': 'IMAGES',
      'nats.stream.sequence': 7,
      'nats.delivery_count': 1,
      'sluice.pipeline': 'url_to_pdf',
      'sluice.outcome': 'ack',
    });
  });

  test('in link mode begins a trace of its own and keeps the link', async () => {
    const engine = start({ traceMode: 'link' });
    await handle(engine, delivery({ headers: await published() }));
    const [publish, process] = engine.spans.getFinishedSpans();
    expect(process?.parentSpanContext).toBeUndefined();
    expect(process?.links[0]?.context.traceId).toBe(publish?.spanContext().traceId);
  });

  test('a late redelivery begins a trace of its own: the old one has been read and closed', async () => {
    const engine = start({ maxTraceAgeMs: 1000 });
    const headers = await published();
    await handle(engine, delivery({ headers, attempt: 2, deliveries: 2, publishedAt: new Date(Date.now() - 5000) }));
    const [publish, process] = engine.spans.getFinishedSpans();
    expect(process?.spanContext().traceId).not.toBe(publish?.spanContext().traceId);
    expect(process?.links).toHaveLength(1);
  });

  test('links to the span that a result names besides the one that published it', async () => {
    const engine = start();
    const traceparent = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01';
    await handle(engine, delivery({ headers: await published(), data: { traceparent } }));
    expect(engine.spans.getFinishedSpans()[1]?.links.map(({ context }) => context.spanId)).toEqual([
      'b7ad6b7169203331',
    ]);
  });

  test('that moves a replayed job on belongs to the replay and links to the request that was accepted', async () => {
    const engine = start();
    const accepted = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01';
    const job = { id: 'job_1', traceparent: accepted };
    await handle(engine, delivery({ headers: await published(), data: { job } }));
    const [publish, process] = engine.spans.getFinishedSpans();
    expect(process?.spanContext().traceId).toBe(publish?.spanContext().traceId);
    expect(process?.links.map(({ context }) => context.spanId)).toEqual(['b7ad6b7169203331']);

    // A callback in the job's own trace still links to the request; the request's own message does not link to it twice.
    const later = new Map([['traceparent', [accepted.replace('b7ad6b7169203331', '00f067aa0ba902b7')]]]);
    await handle(engine, delivery({ headers: later, data: { job } }));
    expect(engine.spans.getFinishedSpans()[2]?.links).toHaveLength(1);
    await handle(engine, delivery({ headers: new Map([['traceparent', [accepted]]]), data: { job } }));
    expect(engine.spans.getFinishedSpans()[3]?.links).toEqual([]);
  });

  test('names the span of the work for its result: the last that ended in the handler, not the handler', async () => {
    const engine = start();
    let named: string | undefined;
    await handle(engine, delivery({ headers: await published() }), async () => {
      await withSpan('convert image', {}, async () => {
        await withSpan('s3 get', {}, () => undefined);
      });
      named = workTraceparent();
    });
    const work = engine.spans.getFinishedSpans().find(({ name }) => name === 'convert image');
    expect(named?.split('-')[2]).toBe(work?.spanContext().spanId);
  });

  test('a batch is one span that links to the origin of every message', async () => {
    const engine = start();
    const messages = [
      delivery({ headers: await published(), sequence: 1 }),
      delivery({ headers: await published(), sequence: 2 }),
    ] as const;
    await engine.instrument(messages, () => Promise.resolve());
    const batch = engine.spans.getFinishedSpans()[2];
    expect(batch?.parentSpanContext).toBeUndefined();
    expect(batch?.links).toHaveLength(2);
    expect(batch?.attributes['messaging.batch.message_count']).toBe(2);
  });

  test('is active in the handler, so that what the handler emits carries it on', async () => {
    const engine = start();
    let inside: string | undefined;
    let emitted: unknown;
    await handle(engine, delivery(), async () => {
      inside = currentTraceId();
      emitted = engine.inject()['traceparent'];
      await Promise.resolve();
    });
    const span = engine.spans.getFinishedSpans()[0]?.spanContext();
    expect(inside).toBe(span?.traceId);
    expect(emitted).toBe(`00-${span?.traceId}-${span?.spanId}-01`);
  });

  test('is not made where the trace is not sampled, and what is logged and emitted still belongs to that trace', async () => {
    const engine = start();
    const headers = new Map([['traceparent', ['00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00']]]);
    let inside: readonly unknown[] = [];
    await handle(engine, delivery({ headers, data: { jobId: 'job_1' } }), async () => {
      await Promise.resolve();
      const published = await publishSpan({ destination: 'client.image.converted' }, (sent) => Promise.resolve(sent));
      inside = [currentTraceId(), currentJobId(), engine.inject()['traceparent'], published['traceparent']];
      // A context made from it keeps both.
      await withSpan('convert', {}, () => expect(currentJobId()).toBe('job_1'));
    });
    const traceparent = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00';
    expect(inside).toEqual(['0af7651916cd43dd8448eb211c80319c', 'job_1', traceparent, traceparent]);
    expect(engine.spans.getFinishedSpans()).toEqual([]);
  });

  test.each([
    ['is nonsense', 'ff-nonsense-00'],
    ['is all zeros', '00-00000000000000000000000000000000-0000000000000000-00'],
  ])('begins a trace of its own where the header %s', async (_, traceparent) => {
    const engine = start();
    await handle(engine, delivery({ headers: new Map([['traceparent', [traceparent]]]) }));
    expect(engine.spans.getFinishedSpans()).toHaveLength(1);
  });

  test('tells of the retry and the dead letter that follow the handler, without the address in the error', async () => {
    const engine = start();
    const message = delivery();
    const error = new Error('no mailbox ada@example.com');
    await engine.instrument([message], () => Promise.reject(error)).catch(() => {});
    engine.observe(event({ type: 'message.retryScheduled', message, delayMs: 500, reason: 'x', error }));
    engine.observe(
      event({ type: 'message.deadLettered', message, subject: 'dlq', reason: 'exhausted', error, duplicate: false }),
    );
    engine.observe(event({ type: 'message.settled', message, as: 'deadLetter', heldMs: 1 }));
    const [span] = engine.spans.getFinishedSpans();
    expect(span?.events.map(({ name }) => name)).toEqual(['retry scheduled', 'dead lettered', 'settled']);
    expect(span?.status.message).toMatch(/^no mailbox \[/);
  });

  test('of a message that a drain gave up is ended by close', async () => {
    const engine = start();
    await engine.instrument([delivery()], () => Promise.resolve());
    expect(engine.spans.getFinishedSpans()).toHaveLength(0);
    engine.close();
    expect(engine.spans.getFinishedSpans()).toHaveLength(1);
  });

  test('names of subjects stay few: ids become a placeholder', async () => {
    const engine = start();
    await handle(engine, delivery({ subject: 'jobs.job_abcdefghijklmnopqrstuvwxyz' }));
    expect(engine.spans.getFinishedSpans()[0]?.name).toBe('process jobs.{id}');
  });
});

describe('the numbers of a pipeline', () => {
  test('come from its events, with an exemplar on the durations', async () => {
    const engine = start();
    await handle(engine, delivery({ headers: await published() }));
    const text = await engine.registry.metrics();
    const traceId = engine.spans.getFinishedSpans()[0]?.spanContext().traceId ?? '';
    expect(text).toContain(
      `messaging_process_duration_seconds_count{service="image",pipeline="url_to_pdf",outcome="ack"} 1`,
    );
    expect(text).toMatch(
      new RegExp(
        `messaging_process_duration_seconds_bucket.* 1 # \\{trace_id="${traceId}",span_id="[0-9a-f]{16}"\\} 0.02`,
      ),
    );
    expect(text).toContain('pipeline_messages_settled_total{pipeline="url_to_pdf",as="ack",service="image"} 1');
  });

  test('and from its snapshot, read when asked', async () => {
    const engine = start();
    const none = { buffered: 0, requested: 0, unconfirmedAcks: 0, parked: 0, limited: 0, partitions: 0 };
    let state: State = 'running';
    engine.watch('url_to_pdf', {
      // It was running before it was watched: the host starts a pipeline first.
      get state() {
        return state;
      },
      snapshot: () => ({ ...none, inFlight: 3 }) as Snapshot,
      health: () => ({ ok: true, reason: undefined, conditions: [], silentMs: 0, partitions: [] }),
    });
    const text = await engine.registry.metrics();
    expect(text).toContain('pipeline_messages_in_flight{pipeline="url_to_pdf",service="image"} 3');
    expect(text).toContain('pipeline_healthy{pipeline="url_to_pdf",service="image"} 1');
    const stateLine = (name: State, value: number): string =>
      `pipeline_state{pipeline="url_to_pdf",state="${name}",service="image"} ${value}`;
    expect(text).toContain(stateLine('running', 1));
    expect(text).toContain(stateLine('paused', 0));
    state = 'paused';
    const later = await engine.registry.metrics();
    expect(later).toContain(stateLine('running', 0));
    expect(later).toContain(stateLine('paused', 1));
  });

  test('a scraper parses them: OpenMetrics ends with its mark and counters end in _total', async () => {
    const engine = start();
    engine.observe(event({ type: 'breaker.tripped', failures: 3, samples: 4, coolDownMs: 10 }));
    const text = await engine.registry.metrics();
    expect(engine.registry.contentType).toMatch(/^application\/openmetrics-text/);
    expect(text.endsWith('# EOF\n')).toBe(true);
    expect(text).toContain('pipeline_breaker_trips_total{pipeline="url_to_pdf",service="image"} 1');
    expect(text).toContain('pipeline_breaker_open{pipeline="url_to_pdf",service="image"} 1');
  });
});

describe('publishing', () => {
  test('waits inside the span and notes where the message was stored', async () => {
    const engine = start();
    await withSpan('request', {}, () =>
      publishSpan({ destination: 'jobs.job_1', template: 'jobs.{jobId}', id: 'a', bytes: 9 }, () =>
        Promise.resolve({ stream: 'JOBS', sequence: 42, duplicate: true }),
      ),
    );
    const [publish, request] = engine.spans.getFinishedSpans();
    expect(publish?.name).toBe('publish jobs.{jobId}');
    expect(publish?.parentSpanContext?.spanId).toBe(request?.spanContext().spanId);
    expect(publish?.attributes).toMatchObject({
      'messaging.destination.name': 'jobs.job_1',
      'messaging.message.id': 'a',
      'nats.stream.sequence': 42,
      'nats.duplicate': true,
    });
    expect(injectHeaders()).toEqual({});
  });

  test('counts a failure by its code', async () => {
    const engine = start();
    const refused = Object.assign(new Error('full'), { code: 'REJECTED' });
    await publishSpan({ destination: 'image.convert.url' }, () => Promise.reject(refused)).catch(() => {});
    expect(await engine.registry.metrics()).toContain(
      'messaging_client_operation_duration_seconds_count{service="image",destination="image.convert.url",error_type="REJECTED"} 1',
    );
  });
});
