import { SpanKind, SpanStatusCode, type Attributes, type SpanContext } from '@opentelemetry/api';
import { ProtobufTraceSerializer } from '@opentelemetry/otlp-transformer';
import { resourceFromAttributes } from '@opentelemetry/resources';
import { readTraces } from '@sluice/dev';
import { describe, expect, test } from 'vitest';
import { newSpanId, newTraceId } from './ids.ts';
import { ScopeHead, writeSpan } from './otlp-spans.ts';
import { ProtoWriter } from './proto-writer.ts';
import { RecordedSpan } from './span.ts';

const RESOURCE: Attributes = { 'service.name': 'image', 'service.instance.id': 'image-1' };
const START_MS = 1_795_000_000_123.25;

function contextOf(fields: Partial<SpanContext> = {}): SpanContext {
  return { traceId: newTraceId(), spanId: newSpanId(), traceFlags: 1, ...fields };
}

function startSpan(fields: { readonly name?: string; readonly parent?: SpanContext } = {}): RecordedSpan {
  return new RecordedSpan({
    name: fields.name ?? 'work',
    scope: 'sluice',
    kind: SpanKind.CONSUMER,
    context: contextOf(),
    parent: fields.parent,
    startTime: START_MS,
    onEnd: () => undefined,
  });
}

function requestOf(spans: readonly RecordedSpan[]): Buffer {
  // Small, so that it has to grow.
  const writer = new ProtoWriter(16);
  for (const span of spans) writeSpan(writer, span);
  return Buffer.concat([new ScopeHead(RESOURCE, 'sluice').before(writer.length), writer.bytes]);
}

/** OpenTelemetry's own serializer, given what its SDK would have of the same span. */
function sdkRequestOf(spans: readonly RecordedSpan[]): Buffer {
  const hrTime = (ms: number): [number, number] => {
    const micros = Math.round(ms * 1000);
    return [Math.floor(micros / 1e6), (micros % 1e6) * 1000];
  };
  const resource = resourceFromAttributes(RESOURCE);
  const scope = { name: 'sluice' };
  const readable = spans.map((span) => ({
    name: span.name,
    kind: span.kind,
    spanContext: () => span.spanContext(),
    parentSpanContext: span.parentSpanContext,
    startTime: hrTime(span.startMs),
    endTime: hrTime(span.endMs),
    status: span.status,
    attributes: span.attributes,
    links: span.links,
    events: span.events.map(({ name, atMs, attributes }) => ({ name, time: hrTime(atMs), attributes })),
    duration: [0, 0] as [number, number],
    ended: true,
    resource,
    instrumentationScope: scope,
    droppedAttributesCount: span.droppedAttributes,
    droppedEventsCount: span.droppedEvents,
    droppedLinksCount: span.droppedLinks,
  }));
  return Buffer.from(ProtobufTraceSerializer.serializeRequest(readable as never) ?? []);
}

/** What a receiver reads. OpenTelemetry writes fields that have their default, which says the same as none. */
const read = (request: Buffer): unknown =>
  JSON.parse(
    JSON.stringify(readTraces(request), (name, value: unknown) => {
      if (name === 'status' && JSON.stringify(value) === '{"code":0}') return undefined;
      if (name === 'version' && value === '') return undefined;
      return name.startsWith('dropped') && value === 0 ? undefined : value;
    }),
  );

describe('a span as OTLP says what OpenTelemetry writes of it', () => {
  test.each<[string, () => RecordedSpan]>([
    ['that is bare', () => startSpan()],
    ['with a parent of another process', () => startSpan({ parent: contextOf({ isRemote: true }) })],
    ['with a parent of this one', () => startSpan({ parent: contextOf({ isRemote: false }) })],
    ['with a name of any language, longer than a byte counts', () => startSpan({ name: `über ${'ß'.repeat(200)} 🐘` })],
    [
      'with values of every kind',
      () =>
        startSpan().setAttributes({
          text: 'ok',
          long: 'x'.repeat(1000),
          empty: '',
          bytes: new Uint8Array([1, 2]),
          map: { a: 1, b: ['c'] },
          zero: 0,
          int: 4_711,
          large: 9_007_199_254_740_991,
          negative: -3,
          double: 0.25,
          yes: true,
          no: false,
          list: ['a', 'b'],
          numbers: [1, 2.5],
        }),
    ],
    [
      'with events and links',
      () =>
        startSpan()
          .addEvent('retry scheduled', { 'sluice.delay_ms': 500 }, START_MS + 1)
          .addEvent('settled', START_MS + 2)
          .addLink({ context: contextOf({ isRemote: true }), attributes: { 'sluice.link': 'origin' } }),
    ],
    ['that failed', () => startSpan().setStatus({ code: SpanStatusCode.ERROR, message: 'no mailbox' })],
    ['that is well', () => startSpan().setStatus({ code: SpanStatusCode.OK })],
  ])('%s', (_, make) => {
    const span = make();
    span.end(START_MS + 1234.5);
    expect(read(requestOf([span]))).toEqual(read(sdkRequestOf([span])));
  });

  test('and so have many in one request', () => {
    const spans = Array.from({ length: 300 }, (_, at) => startSpan({ name: `work ${at}` }).setAttribute('at', at));
    for (const span of spans) span.end(START_MS + 1);
    expect(read(requestOf(spans))).toEqual(read(sdkRequestOf(spans)));
  });
});

describe('a span is bounded', () => {
  test('in its attributes, events and links, and says what was left out', () => {
    const span = startSpan();
    for (let at = 0; at < 130; at += 1) {
      span.setAttribute(`a${at}`, 'x'.repeat(2000));
      span.addEvent(`e${at}`);
      span.addLink({ context: contextOf() });
    }
    span.end(START_MS);
    expect([Object.keys(span.attributes).length, span.droppedAttributes]).toEqual([128, 2]);
    expect(span.attributes['a0']).toHaveLength(1024);
    expect([span.events.length, span.droppedEvents, span.events.at(-1)?.name]).toEqual([64, 66, 'e129']);
    expect([span.links.length, span.droppedLinks]).toEqual([128, 2]);
    expect(read(requestOf([span]))).toEqual(read(sdkRequestOf([span])));
  });

  test('an attribute that holds itself ends', () => {
    const loop: unknown[] = [];
    loop.push(loop);
    const holder: Record<string, unknown> = {};
    holder['self'] = holder;
    const span = startSpan().setAttributes({ holder });
    span.end();
    expect(requestOf([span]).length).toBeGreaterThan(0);
  });

  test('a link without a valid id is left out: a receiver would refuse the whole batch', () => {
    const span = startSpan().addLink({ context: contextOf({ traceId: 'ab' }) });
    span.end();
    expect(span.links).toEqual([]);
  });

  test('nothing changes it after its end, and it ends once', () => {
    let ended = 0;
    const span = new RecordedSpan({
      name: 'work',
      scope: 'sluice',
      kind: SpanKind.INTERNAL,
      context: contextOf(),
      parent: undefined,
      startTime: undefined,
      onEnd: () => (ended += 1),
    });
    span.end();
    span.setAttribute('a', 1).addEvent('b').updateName('c').setStatus({ code: SpanStatusCode.ERROR }).end();
    expect(span).toMatchObject({ name: 'work', attributes: {}, events: [], status: { code: SpanStatusCode.UNSET } });
    expect(ended).toBe(1);
  });
});
