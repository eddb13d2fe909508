import { SpanStatusCode, type Attributes, type Link, type SpanContext } from '@opentelemetry/api';
import { ProtoWriter } from './proto-writer.ts';
import { isAttributeValue, type RecordedSpan, type SpanEvent } from './span.ts';

/** Field numbers of opentelemetry-proto 1.x: `collector/trace/v1`, `trace/v1`, `common/v1` and `resource/v1`. */
const REQUEST = { resourceSpans: 1 } as const;
const RESOURCE_SPANS = { resource: 1, scopeSpans: 2 } as const;
const RESOURCE = { attributes: 1 } as const;
const SCOPE_SPANS = { scope: 1, spans: 2 } as const;
const SCOPE = { name: 1 } as const;
const SPAN = {
  traceId: 1,
  spanId: 2,
  traceState: 3,
  parentSpanId: 4,
  name: 5,
  kind: 6,
  start: 7,
  end: 8,
  attributes: 9,
  droppedAttributes: 10,
  events: 11,
  droppedEvents: 12,
  links: 13,
  droppedLinks: 14,
  status: 15,
  flags: 16,
} as const;
const EVENT = { time: 1, name: 2, attributes: 3 } as const;
const LINK = { traceId: 1, spanId: 2, traceState: 3, attributes: 4, flags: 6 } as const;
const STATUS = { message: 2, code: 3 } as const;
const KEY_VALUE = { key: 1, value: 2 } as const;
const ANY_VALUE = { string: 1, bool: 2, int: 3, double: 4, array: 5, list: 6, bytes: 7 } as const;
const LIST = { values: 1 } as const;

/** Bits of `flags`: whether the parent (or the linked span) is of another process is known, and that it is. */
const HAS_IS_REMOTE = 0x100;
const IS_REMOTE = 0x200;
/** Deeper values are cut: an attribute that holds itself must not end the process. */
const MAX_DEPTH = 8;

/** The part of a request in front of the spans of one scope: the resource and the scope, without their lengths. */
export class ScopeHead {
  readonly #resource: Buffer;
  readonly #scope: Buffer;

  constructor(resource: Attributes, scope: string) {
    const writer = new ProtoWriter(1024);
    const from = writer.begin(RESOURCE_SPANS.resource);
    for (const name in resource) writeAttribute(writer, RESOURCE.attributes, name, resource[name]);
    writer.end(from);
    this.#resource = Buffer.from(writer.bytes);
    writer.clear();
    const inScope = writer.begin(SCOPE_SPANS.scope);
    writer.string(SCOPE.name, scope);
    writer.end(inScope);
    this.#scope = Buffer.from(writer.bytes);
  }

  /** What has to stand in front of `size` bytes of spans. */
  before(size: number): Buffer {
    const inner = new ProtoWriter(16);
    inner.lengthOf(RESOURCE_SPANS.scopeSpans, this.#scope.length + size);
    const outer = new ProtoWriter(16);
    outer.lengthOf(REQUEST.resourceSpans, this.#resource.length + inner.length + this.#scope.length + size);
    return Buffer.concat([outer.bytes, this.#resource, inner.bytes, this.#scope]);
  }
}

/** Writes a span as one entry of `ScopeSpans.spans`. */
export function writeSpan(writer: ProtoWriter, span: RecordedSpan): void {
  const from = writer.begin(SCOPE_SPANS.spans);
  const { traceId, spanId, traceState, traceFlags } = span.spanContext();
  const parent = span.parentSpanContext;
  writer.hex(SPAN.traceId, traceId);
  writer.hex(SPAN.spanId, spanId);
  if (traceState !== undefined) writer.string(SPAN.traceState, traceState.serialize());
  if (parent !== undefined) writer.hex(SPAN.parentSpanId, parent.spanId);
  writer.string(SPAN.name, span.name);
  // The API counts from `internal`, OTLP from `unspecified`.
  writer.uint(SPAN.kind, span.kind + 1);
  writer.nanoseconds(SPAN.start, span.startMs);
  writer.nanoseconds(SPAN.end, span.endMs);
  const pairs = span.attributePairs;
  for (let at = 0; at < pairs.length; at += 2)
    writeAttribute(writer, SPAN.attributes, pairs[at] as string, pairs[at + 1]);
  if (span.droppedAttributes > 0) writer.uint(SPAN.droppedAttributes, span.droppedAttributes);
  for (const event of span.events) writeEvent(writer, event);
  if (span.droppedEvents > 0) writer.uint(SPAN.droppedEvents, span.droppedEvents);
  for (const link of span.links) writeLink(writer, link);
  if (span.droppedLinks > 0) writer.uint(SPAN.droppedLinks, span.droppedLinks);
  if (span.status.code !== SpanStatusCode.UNSET) {
    const inStatus = writer.begin(SPAN.status);
    if (span.status.message !== undefined) writer.string(STATUS.message, span.status.message);
    writer.uint(STATUS.code, span.status.code);
    writer.end(inStatus);
  }
  writer.fixed32(SPAN.flags, flagsOf(traceFlags, parent));
  writer.end(from);
}

function writeEvent(writer: ProtoWriter, { name, atMs, attributes }: SpanEvent): void {
  const from = writer.begin(SPAN.events);
  writer.nanoseconds(EVENT.time, atMs);
  writer.string(EVENT.name, name);
  for (const key in attributes) writeAttribute(writer, EVENT.attributes, key, attributes[key]);
  writer.end(from);
}

function writeLink(writer: ProtoWriter, { context, attributes }: Link): void {
  const from = writer.begin(SPAN.links);
  writer.hex(LINK.traceId, context.traceId);
  writer.hex(LINK.spanId, context.spanId);
  if (context.traceState !== undefined) writer.string(LINK.traceState, context.traceState.serialize());
  for (const key in attributes) writeAttribute(writer, LINK.attributes, key, attributes[key]);
  writer.fixed32(LINK.flags, flagsOf(context.traceFlags, context));
  writer.end(from);
}

const flagsOf = (traceFlags: number, other: SpanContext | undefined): number =>
  (traceFlags & 0xff) | HAS_IS_REMOTE | (other?.isRemote === true ? IS_REMOTE : 0);

function writeAttribute(writer: ProtoWriter, field: number, name: string, value: unknown, depth = 0): void {
  if (!isAttributeValue(value)) return;
  const from = writer.begin(field);
  writer.string(KEY_VALUE.key, name);
  writeAnyValue(writer, KEY_VALUE.value, value, depth);
  writer.end(from);
}

function writeAnyValue(writer: ProtoWriter, field: number, value: unknown, depth: number): void {
  const from = writer.begin(field);
  if (typeof value === 'string') writer.string(ANY_VALUE.string, value);
  else if (typeof value === 'number') {
    if (Number.isSafeInteger(value)) writer.int(ANY_VALUE.int, value);
    else writer.double(ANY_VALUE.double, value);
  } else if (typeof value === 'boolean') writer.bool(ANY_VALUE.bool, value);
  else if (value instanceof Uint8Array) writer.bytesField(ANY_VALUE.bytes, value);
  else if (typeof value === 'object' && value !== null && depth < MAX_DEPTH) {
    const isArray = Array.isArray(value);
    const inside = writer.begin(isArray ? ANY_VALUE.array : ANY_VALUE.list);
    if (isArray) for (const each of value) writeAnyValue(writer, LIST.values, each, depth + 1);
    else {
      for (const [key, each] of Object.entries(value)) writeAttribute(writer, LIST.values, key, each, depth + 1);
    }
    writer.end(inside);
  }
  writer.end(from);
}
