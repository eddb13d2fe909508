import { createHash } from 'node:crypto';
import { stripVTControlCharacters } from 'node:util';
import { gzipSync } from 'node:zlib';
import { afterEach, describe, expect, test } from 'vitest';
import { parseExposition } from './exposition.ts';
import { engineCharts } from './charts.ts';
import { printTrace } from './print-trace.ts';
import { startOtlpReceiver, type OtlpReceiver, type OtlpReceiverOptions } from './receiver.ts';

const TRACE = '0af7651916cd43dd8448eb211c80319c';
let receiver: OtlpReceiver;
afterEach(() => receiver.close());

interface Given {
  readonly id: string;
  readonly parent?: string;
  readonly name: string;
  readonly service: string;
  readonly atMs: number;
  readonly ms: number;
  readonly kind?: number;
  readonly traceId?: string;
  readonly job?: string;
  readonly link?: string;
  readonly error?: string;
}

// As OTLP numbers them.
const [SERVER, CLIENT, PRODUCER, CONSUMER] = [2, 3, 4, 5];

const text = (key: string, value: string) => ({ key, value: { stringValue: value } });

/** An export request as an OpenTelemetry SDK writes it. */
function request(spans: readonly Given[]) {
  return {
    resourceSpans: spans.map((span) => ({
      resource: { attributes: [text('service.name', span.service), text('service.instance.id', `${span.service}-1`)] },
      scopeSpans: [
        {
          spans: [
            {
              traceId: span.traceId ?? TRACE,
              spanId: span.id.padStart(16, '0'),
              ...(span.parent === undefined ? {} : { parentSpanId: span.parent.padStart(16, '0') }),
              name: span.name,
              kind: span.kind ?? CONSUMER,
              startTimeUnixNano: `${1_700_000_000_000 + span.atMs}000000`,
              endTimeUnixNano: `${1_700_000_000_000 + span.atMs + span.ms}000000`,
              attributes: span.job === undefined ? [] : [text('messaging.message.conversation_id', span.job)],
              links:
                span.link === undefined
                  ? []
                  : [{ traceId: TRACE, spanId: span.link.padStart(16, '0'), attributes: [] }],
              status: span.error === undefined ? {} : { code: 2, message: span.error },
            },
          ],
        },
      ],
    })),
  };
}

const logs = (message: string, jobId: string) => ({
  resourceLogs: [
    {
      resource: { attributes: [text('service.name', 'image')] },
      scopeLogs: [
        {
          logRecords: [
            {
              timeUnixNano: '1700000000005000000',
              severityText: 'error',
              body: { stringValue: message },
              traceId: TRACE,
              attributes: [text('job_id', jobId), { key: 'pages', value: { intValue: '3' } }],
            },
          ],
        },
      ],
    },
  ],
});

const journey: readonly Given[] = [
  { id: 'a', name: 'POST /v1/images', service: 'gateway', atMs: 0, ms: 20, kind: SERVER },
  {
    id: 'b',
    parent: 'a',
    name: 'publish image.convert.url',
    service: 'gateway',
    atMs: 5,
    ms: 3,
    kind: PRODUCER,
    job: 'job_1',
  },
  {
    id: 'c',
    parent: 'b',
    name: 'process image.convert.url',
    service: 'image',
    atMs: 9,
    ms: 1500,
    job: 'job_1',
    link: 'b',
  },
  { id: 'd', parent: 'c', name: 'S3 PutObject', service: 'image', atMs: 1400, ms: 40, kind: CLIENT, error: 'SlowDown' },
];

async function start(options: OtlpReceiverOptions = {}) {
  receiver = await startOtlpReceiver(options);
  const send = (path: string, body: unknown, headers: Record<string, string> = {}) =>
    fetch(receiver.url + path, {
      method: 'POST',
      headers: { 'content-type': 'application/json', ...headers },
      body: body instanceof Uint8Array ? new Uint8Array(body) : JSON.stringify(body),
    });
  return { send, get: async (path: string) => (await fetch(receiver.url + path)).text() };
}

describe('the OTLP receiver', () => {
  test('prints a trace as one tree with durations, services, links and failures', async () => {
    const { send } = await start();
    expect((await send('/v1/traces', request(journey))).status).toBe(200);
    const printed = await printTrace(TRACE, { receiverUrl: receiver.url, timeoutMs: 0 });
    expect(stripVTControlCharacters(printed).split('\n')).toEqual([
      `trace ${TRACE}  4 spans over gateway, image  1.51 s`,
      '',
      '    +0.0 ms    20.0 ms  gateway  POST /v1/images',
      '    +5.0 ms     3.0 ms  gateway  └─ publish image.convert.url',
      '    +9.0 ms     1.50 s  image       └─ process image.convert.url  ⇠ publish image.convert.url',
      '    +1.40 s    40.0 ms  image          └─ S3 PutObject  ✗ error SlowDown',
      '',
      'critical path  1.51 s, of which 1.0 ms in queues',
      '',
      '                5.0 ms  gateway  POST /v1/images',
      '                3.0 ms  gateway  publish image.convert.url',
      '                1.0 ms  image    queued for process image.convert.url',
      '                1.39 s  image    process image.convert.url',
      '               40.0 ms  image    S3 PutObject',
      '               69.0 ms  image    process image.convert.url',
      '',
      `${receiver.url}/trace/${TRACE}`,
    ]);
  });

  test('finds the traces of a job, and its log lines', async () => {
    const { send, get } = await start();
    await send('/v1/traces', gzipSync(JSON.stringify(request(journey))), { 'content-encoding': 'gzip' });
    await send('/v1/logs', logs('torn page', 'job_1'));
    expect(JSON.parse(await get('/api/traces?jobId=job_1'))).toMatchObject({
      traces: [{ traceId: TRACE, name: 'POST /v1/images', services: ['gateway', 'image'], failed: true }],
    });
    expect(JSON.parse(await get('/api/traces?jobId=job_2'))).toEqual({ traces: [] });
    expect(JSON.parse(await get('/api/logs?jobId=job_1'))).toMatchObject({
      logs: [{ message: 'torn page', level: 'error', traceId: TRACE, attributes: { pages: 3 } }],
    });
    expect(await printTrace('job_1', { receiverUrl: receiver.url, timeoutMs: 0 })).toContain('4 spans');
  });

  test('shows a trace as a waterfall with its logs, and escapes what others wrote', async () => {
    const { send, get } = await start();
    await send('/v1/traces', request([...journey, { ...journey[0]!, id: 'e', name: '<script>alert(1)</script>' }]));
    await send('/v1/logs', logs('<img src=x>', 'job_1'));
    const page = await get(`/trace/${TRACE}`);
    expect(page).toContain('process image.convert.url');
    expect(page).toContain('&#60;script&#62;');
    // The critical path: lines in the bars, and broken ones while a message was queued.
    expect(page.match(/class="path work" style/g)?.length).toBeGreaterThan(3);
    expect(page.match(/class="path wait" style/g)).toHaveLength(1);
    expect(page).not.toMatch(/<script|<img/);
    expect(await get('/')).toContain(`/trace/${TRACE}`);
  });

  test('filters traces and logs by service, level, duration and time', async () => {
    const { send, get } = await start();
    await send('/v1/traces', request(journey));
    await send('/v1/logs', logs('torn page', 'job_1'));
    const shown = async (path: string, text: string): Promise<boolean> => (await get(path)).includes(text);
    const trace = `/trace/${TRACE}`;
    const found = async (query: string): Promise<boolean> => shown(`/?${query}`, trace);
    expect([await found('service=image'), await found('service=email')]).toEqual([true, false]);
    expect([await found('ms=1'), await found('ms=5000')]).toEqual([true, false]);
    expect([await found('minutes=nonsense'), await found('ms=-1')]).toEqual([true, true]);
    // The spans of the test are of 1970 or of another fixed time: never of the last minutes.
    expect(await found('minutes=5')).toBe(false);
    expect(await shown('/logs?level=error', 'torn page')).toBe(true);
    expect(await shown('/logs?level=fatal', 'torn page')).toBe(false);
    expect(await shown('/logs?service=nothing', 'torn page')).toBe(false);
  });

  test('runs one script of its own, which the policy names by its hash', async () => {
    await start();
    const answer = await fetch(receiver.url);
    const [, script = ''] = /<script>([\s\S]*?)<\/script>/.exec(await answer.text()) ?? [];
    const hash = createHash('sha256').update(script).digest('base64');
    expect(answer.headers.get('content-security-policy')).toContain(`script-src 'sha256-${hash}'`);
  });

  test('keeps a bounded number of traces, spans of a trace and logs: the oldest make room', async () => {
    const { send } = await start({ maxTraces: 2, maxSpansPerTrace: 3, maxLogs: 10 });
    await send('/v1/traces', request(journey));
    for (const n of ['1', '2', '3']) await send('/v1/traces', request([{ ...journey[0]!, traceId: n.repeat(32) }]));
    for (let i = 0; i < 40; i++) await send('/v1/logs', logs('x', 'job_1'));
    expect(receiver.store.counts).toMatchObject({ traces: 2, spans: 2, dropped: 1 });
    expect(receiver.store.counts.logs).toBeLessThanOrEqual(12);
    expect(receiver.store.list().map((trace) => trace.traceId[0])).toEqual(['3', '2']);
  });

  test.each([
    ['another format', { 'content-type': 'text/plain' }, new Uint8Array([1]), 415],
    ['broken protobuf', { 'content-type': 'application/x-protobuf' }, new Uint8Array([10, 9, 1]), 400],
    ['protobuf of other fields', { 'content-type': 'application/x-protobuf' }, new Uint8Array([0x7a, 1, 1]), 200],
    ['broken JSON', {}, new TextEncoder().encode('{'), 400],
    ['JSON of another shape', {}, new TextEncoder().encode('{"resourceSpans":{"a":1}}'), 200],
  ])('answers %s without falling over', async (_, headers, body, status) => {
    const { send } = await start();
    expect((await send('/v1/traces', body, headers)).status).toBe(status);
    expect(receiver.store.counts.spans).toBe(0);
  });
});

test('tells Prometheus every replica under the name of its service, as they come and go', async () => {
  const targets = [
    { service: 'image', url: 'http://127.0.0.1:9110' },
    { service: 'image', url: 'http://127.0.0.1:9111' },
  ];
  await start({ targets: () => targets });
  const told = async () => (await fetch(`${receiver.url}/prometheus/targets`)).json();
  expect(await told()).toEqual([
    { targets: ['127.0.0.1:9110'], labels: { job: 'image' } },
    { targets: ['127.0.0.1:9111'], labels: { job: 'image' } },
  ]);
  targets.push({ service: 'sms', url: 'http://127.0.0.1:9130' });
  expect(await told()).toHaveLength(3);
});

describe('the charts', () => {
  const scrape = (atMs: number, done: number) => ({
    atMs,
    targets: new Map([
      [
        'http://x',
        parseExposition(`# TYPE pipeline_messages_settled counter
service_info{version="1",service_instance="image-1"} 1
pipeline_messages_settled_total{pipeline="url_to_pdf",as="ack",service="image"} ${done}
messaging_process_duration_seconds_bucket{le="0.1",pipeline="url_to_pdf"} 0 # {trace_id="ab",span_id="c"} 0.02 1.5
messaging_process_duration_seconds_bucket{le="0.2",pipeline="url_to_pdf"} ${done}
messaging_process_duration_seconds_bucket{le="+Inf",pipeline="url_to_pdf"} ${done}
`),
      ],
    ]),
  });
  const lineOf = (title: string, scrapes: Parameters<typeof engineCharts>[0]) =>
    engineCharts(scrapes).find((chart) => chart.title === title)?.lines;

  test('show rates by pipeline and by replica, over a restart too', async () => {
    await start();
    const scrapes = [scrape(0, 100), scrape(5000, 150), scrape(10_000, 20)];
    expect(lineOf('Messages done, by pipeline', scrapes)).toEqual([
      { label: 'url_to_pdf', points: [undefined, 10, 4] },
    ]);
    expect(lineOf('Messages done, by replica', scrapes)?.[0]?.label).toBe('image-1');
  });

  test('show a quantile of what happened lately, not since the start', async () => {
    await start();
    const [line] = lineOf('Handler time, p95', [scrape(0, 1), scrape(20_000, 101)]) ?? [];
    expect(line?.points[1]).toBeCloseTo(0.195);
  });
});
