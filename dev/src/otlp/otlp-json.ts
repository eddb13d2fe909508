/**
 * OTLP as JSON (opentelemetry-proto's protobuf JSON mapping: ids in hex, 64-bit numbers as text), read into flat
 * records. What does not have the expected shape is left out: a receiver must not fail on foreign input.
 */

export type AttributeValue = string | number | boolean | readonly AttributeValue[];
export type Attributes = Readonly<Record<string, AttributeValue>>;
export type SpanKind = 'internal' | 'server' | 'client' | 'producer' | 'consumer';

export interface SpanLink {
  readonly traceId: string;
  readonly spanId: string;
  readonly attributes: Attributes;
}

export interface SpanEvent {
  readonly name: string;
  readonly atMs: number;
  readonly attributes: Attributes;
}

export interface SpanRecord {
  readonly traceId: string;
  readonly spanId: string;
  readonly parentSpanId: string | undefined;
  readonly name: string;
  readonly kind: SpanKind;
  readonly service: string;
  readonly instance: string;
  /** Milliseconds since 1970, with fractions. */
  readonly startMs: number;
  readonly durationMs: number;
  readonly attributes: Attributes;
  readonly events: readonly SpanEvent[];
  readonly links: readonly SpanLink[];
  readonly failed: boolean;
  readonly statusMessage: string | undefined;
}

export interface LogRecord {
  readonly atMs: number;
  readonly level: string;
  readonly service: string;
  readonly instance: string;
  readonly message: string;
  readonly traceId: string | undefined;
  readonly spanId: string | undefined;
  readonly jobId: string | undefined;
  readonly attributes: Attributes;
}

type Json = Readonly<Record<string, unknown>>;

const kinds: readonly SpanKind[] = ['internal', 'internal', 'server', 'client', 'producer', 'consumer'];

/** The spans of an ExportTraceServiceRequest. */
export function readSpans(body: unknown): readonly SpanRecord[] {
  return records(body, 'resourceSpans', 'scopeSpans', 'spans').flatMap(({ record, service, instance }) => {
    const traceId = text(record['traceId']);
    const spanId = text(record['spanId']);
    if (traceId === undefined || spanId === undefined) return [];
    const startMs = milliseconds(record['startTimeUnixNano']);
    const status = object(record['status']);
    return [
      {
        traceId,
        spanId,
        parentSpanId: text(record['parentSpanId']),
        name: text(record['name']) ?? '',
        kind: kinds[Number(record['kind'])] ?? 'internal',
        service,
        instance,
        startMs,
        durationMs: Math.max(0, milliseconds(record['endTimeUnixNano']) - startMs),
        attributes: attributesOf(record['attributes']),
        events: list(record['events']).map((event) => ({
          name: text(event['name']) ?? '',
          atMs: milliseconds(event['timeUnixNano']),
          attributes: attributesOf(event['attributes']),
        })),
        links: list(record['links']).map((link) => ({
          traceId: text(link['traceId']) ?? '',
          spanId: text(link['spanId']) ?? '',
          attributes: attributesOf(link['attributes']),
        })),
        failed: status['code'] === 2 || status['code'] === 'STATUS_CODE_ERROR',
        statusMessage: text(status['message']),
      },
    ];
  });
}

/** The records of an ExportLogsServiceRequest. */
export function readLogs(body: unknown): readonly LogRecord[] {
  return records(body, 'resourceLogs', 'scopeLogs', 'logRecords').map(({ record, service, instance }) => {
    const attributes = attributesOf(record['attributes']);
    return {
      atMs: milliseconds(record['timeUnixNano'] ?? record['observedTimeUnixNano']),
      level: text(record['severityText']) ?? '',
      service,
      instance,
      message: String(valueOf(record['body']) ?? ''),
      traceId: text(record['traceId']),
      spanId: text(record['spanId']),
      jobId: text(attributes['job_id']),
      attributes,
    };
  });
}

interface RecordInScope {
  readonly record: Json;
  readonly service: string;
  readonly instance: string;
}

/** Both signals nest alike: resources, scopes, records. */
function records(body: unknown, byResource: string, byScope: string, leaf: string): readonly RecordInScope[] {
  return list(object(body)[byResource]).flatMap((group) => {
    const resource = attributesOf(object(group['resource'])['attributes']);
    const service = text(resource['service.name']) ?? 'unknown';
    const instance = text(resource['service.instance.id']) ?? '';
    return list(group[byScope]).flatMap((scope) => list(scope[leaf]).map((record) => ({ record, service, instance })));
  });
}

function attributesOf(value: unknown): Attributes {
  const attributes: Record<string, AttributeValue> = {};
  for (const entry of list(value)) {
    const key = text(entry['key']);
    const found = valueOf(entry['value']);
    if (key !== undefined && found !== undefined) attributes[key] = found;
  }
  return attributes;
}

/** An AnyValue: one of its fields is set. */
function valueOf(value: unknown): AttributeValue | undefined {
  const any = object(value);
  if (typeof any['stringValue'] === 'string') return any['stringValue'];
  if (typeof any['boolValue'] === 'boolean') return any['boolValue'];
  if (any['intValue'] !== undefined) return Number(any['intValue']);
  if (any['doubleValue'] !== undefined) return Number(any['doubleValue']);
  if (any['arrayValue'] !== undefined) {
    return list(object(any['arrayValue'])['values']).flatMap((each) => valueOf(each) ?? []);
  }
  return undefined;
}

/** Nanoseconds as text do not fit a number; microseconds since 1970 do. */
function milliseconds(nanoseconds: unknown): number {
  if (typeof nanoseconds !== 'string' && typeof nanoseconds !== 'number') return 0;
  return /^\d+$/.test(String(nanoseconds)) ? Number(BigInt(nanoseconds) / 1000n) / 1000 : 0;
}

function object(value: unknown): Json {
  return typeof value === 'object' && value !== null ? (value as Json) : {};
}

function list(value: unknown): readonly Json[] {
  return Array.isArray(value) ? value.map(object) : [];
}

function text(value: unknown): string | undefined {
  return typeof value === 'string' && value !== '' ? value : undefined;
}
