import {
  context,
  createContextKey,
  isSpanContextValid,
  propagation,
  ROOT_CONTEXT,
  SpanKind,
  SpanStatusCode,
  trace,
  TraceFlags,
  type Attributes,
  type Context,
  type Link,
  type Span,
  type Tracer,
} from '@opentelemetry/api';
import { parseTraceParent } from '@opentelemetry/core';
import { ATTR_ERROR_TYPE } from '@opentelemetry/semantic-conventions';
import { ATTR_MESSAGING_MESSAGE_CONVERSATION_ID } from './attributes.ts';
import { redactText } from './redact.ts';

export type SpanKindName = 'internal' | 'server' | 'client' | 'producer' | 'consumer';

const kinds: Record<SpanKindName, SpanKind> = {
  internal: SpanKind.INTERNAL,
  server: SpanKind.SERVER,
  client: SpanKind.CLIENT,
  producer: SpanKind.PRODUCER,
  consumer: SpanKind.CONSUMER,
};

export interface WithSpanOptions {
  /** `internal` when absent. Calls to other systems are `client`. */
  readonly kind?: SpanKindName;
  /** Nothing personal: no addresses, no file names, no query strings. */
  readonly attributes?: Attributes;
  readonly links?: readonly Link[];
  /** The parent, when it is not the active span: what {@link extractContext} gave. */
  readonly parent?: Context;
  /** Begins a new trace even where a span is active: for replays, schedules and batches, which link instead. */
  readonly root?: boolean;
  /** Ties the span, and every log line written inside, to a job. */
  readonly jobId?: string;
}

/** What a carrier of headers may look like: HTTP's, a message's, or the engine's map. */
export type CarriedHeaders =
  | ReadonlyMap<string, readonly string[]>
  | Readonly<Record<string, string | readonly string[] | undefined>>;

const jobKey = createContextKey('job_id');
/** Holds the last span that ended inside a message's handler. */
const workKey = createContextKey('work_span');

/** The tracer of this process. Spans go nowhere until `startTelemetry` was called with an endpoint. */
export function tracer(): Tracer {
  return trace.getTracer('sluice');
}

/** Starts a span without making it active: for work that begins and ends in different callbacks. The caller ends it. */
export function openSpan(
  name: string,
  options: WithSpanOptions,
  base: Context = options.parent ?? context.active(),
): Span {
  return tracer().startSpan(
    name,
    {
      kind: kinds[options.kind ?? 'internal'],
      root: options.root ?? false,
      attributes: {
        ...options.attributes,
        ...(options.jobId === undefined ? {} : { [ATTR_MESSAGING_MESSAGE_CONVERSATION_ID]: options.jobId }),
      },
      links: [...(options.links ?? [])],
    },
    base,
  );
}

/** The context in which `span` is active and log lines carry `jobId`. */
export function contextWith(span: Span, jobId: string | undefined, base: Context = context.active()): Context {
  const active = trace.setSpan(base, span);
  return jobId === undefined ? active : active.setValue(jobKey, jobId);
}

/**
 * Runs `fn` inside a span and ends it when `fn` is through. A throw marks the span failed (`error.type`, status
 * message without addresses and queries) and goes on to the caller.
 *
 * ```ts
 * await withSpan('s3 get', { kind: 'client', attributes: { 'aws.s3.bucket': bucket } }, () => store.get(key));
 * ```
 */
export async function withSpan<R>(
  name: string,
  options: WithSpanOptions,
  fn: (span: Span) => Promise<R> | R,
): Promise<R> {
  const base = options.parent ?? context.active();
  const span = openSpan(name, options, base);
  try {
    return await context.with(contextWith(span, options.jobId, base), () => fn(span));
  } catch (error) {
    failSpan(span, error);
    throw error;
  } finally {
    span.end();
    const work = base.getValue(workKey) as { traceparent: string | undefined } | undefined;
    if (work !== undefined) work.traceparent = traceparentOf(span);
  }
}

/** A context in which {@link workTraceparent} tells the last span that {@link withSpan} ended. */
export function contextOfWork(base: Context): Context {
  return base.setValue(workKey, { traceparent: undefined });
}

/**
 * The `traceparent` of the span that did the work of the message being handled, for the link of its result: the last one
 * that {@link withSpan} ended inside the handler, or the handler's own when there was none. The result is published as a
 * child of the handler's span, so a link to that one would say nothing new.
 */
export function workTraceparent(): string | undefined {
  const work = context.active().getValue(workKey) as { traceparent: string | undefined } | undefined;
  return work?.traceparent ?? currentTraceparent();
}

/** Marks a span failed. The stack stays out of it: it is in the log line with the same trace id. */
export function failSpan(span: Span, error: unknown): void {
  if (!span.isRecording()) return;
  const message = error instanceof Error ? error.message : String(error);
  span.setAttribute(ATTR_ERROR_TYPE, errorType(error));
  span.setStatus({ code: SpanStatusCode.ERROR, message: redactText(message).slice(0, 256) });
}

/** A word of few values for an error: its stable `code` if it has one, else its class. */
export function errorType(error: unknown): string {
  if (!(error instanceof Error)) return '_OTHER';
  const { code } = error as { code?: unknown };
  return typeof code === 'string' && /^[A-Za-z0-9_.-]{1,64}$/.test(code) ? code : error.name;
}

/** Runs `fn` in a context, e.g. one from {@link extractContext}. */
export function runInContext<R>(ctx: Context, fn: () => R): R {
  return context.with(ctx, fn);
}

/** `traceparent` and `tracestate` of the active span, lowercase as NATS headers are case-sensitive; empty without one. */
export function injectHeaders(): Record<string, string> {
  const headers: Record<string, string> = {};
  propagation.inject(context.active(), headers);
  return headers;
}

/** The context that a message or request carries; a bare one when it carries none or a malformed one. */
export function extractContext(headers: CarriedHeaders, base: Context = ROOT_CONTEXT): Context {
  return propagation.extract(base, headers, {
    get: (carrier, key) => readHeader(carrier, key),
    keys: (carrier) => (isHeaderMap(carrier) ? [...carrier.keys()] : Object.keys(carrier)),
  });
}

// The key under which a context keeps its span is not exported; a caller that asks for the span gets it.
const spanKey = ((): symbol => {
  let asked = Symbol('span');
  trace.getSpan({
    getValue(key) {
      asked = key;
      return undefined;
    },
    setValue: () => ROOT_CONTEXT,
    deleteValue: () => ROOT_CONTEXT,
  });
  return asked;
})();
// All zeros look like an id and mean nothing.
const UNSAMPLED = /^00-(?!0{32})[\da-f]{32}-(?!0{16})[\da-f]{16}-00$/;

/**
 * The context of a message whose trace was not sampled, made for next to nothing: with a sampler that follows its
 * parent, no span under it can record. Logs and what is published inside still belong to that trace, so it is read from
 * the header once it is asked for. Undefined when the header says otherwise, or cannot be parsed.
 */
export function unsampledContext(
  traceparent: string | undefined,
  jobId: () => string | undefined,
): Context | undefined {
  return traceparent !== undefined && UNSAMPLED.test(traceparent)
    ? new UnsampledContext(traceparent, jobId)
    : undefined;
}

class UnsampledContext implements Context {
  readonly #traceparent: string;
  readonly #jobId: () => string | undefined;
  #span: Span | undefined;

  constructor(traceparent: string, jobId: () => string | undefined) {
    this.#traceparent = traceparent;
    this.#jobId = jobId;
  }

  getValue(key: symbol): unknown {
    if (key === spanKey) return this.#readSpan();
    return key === jobKey ? this.#jobId() : undefined;
  }

  setValue(key: symbol, value: unknown): Context {
    return this.#whole().setValue(key, value);
  }

  deleteValue(key: symbol): Context {
    return this.#whole().deleteValue(key);
  }

  #readSpan(): Span | undefined {
    if (this.#span !== undefined) return this.#span;
    const parsed = parseTraceParent(this.#traceparent);
    if (parsed === null) return undefined;
    return (this.#span = trace.wrapSpanContext({ ...parsed, isRemote: true }));
  }

  #whole(): Context {
    const span = this.#readSpan();
    return span === undefined ? ROOT_CONTEXT : contextWith(span, this.#jobId(), ROOT_CONTEXT);
  }
}

/** The active span, for adding attributes and events; a no-op object is never returned, `undefined` is. */
export function currentSpan(): Span | undefined {
  return trace.getActiveSpan();
}

export function currentTraceId(): string | undefined {
  const found = trace.getActiveSpan()?.spanContext();
  return found !== undefined && isSpanContextValid(found) ? found.traceId : undefined;
}

/** The active span as a W3C `traceparent`, to put into a message that is answered much later. */
export function currentTraceparent(): string | undefined {
  return traceparentOf(trace.getActiveSpan());
}

function traceparentOf(span: Span | undefined): string | undefined {
  const found = span?.spanContext();
  if (found === undefined || !isSpanContextValid(found)) return undefined;
  return `00-${found.traceId}-${found.spanId}-0${found.traceFlags & TraceFlags.SAMPLED}`;
}

/** A link to the span a `traceparent` names; `undefined` when there is none or it is malformed. */
export function linkTo(traceparent: string | undefined, attributes?: Attributes): Link | undefined {
  const parsed = traceparent === undefined ? null : parseTraceParent(traceparent);
  if (parsed === null || !isSpanContextValid(parsed)) return undefined;
  return { context: { ...parsed, isRemote: true }, ...(attributes === undefined ? {} : { attributes }) };
}

/** The job the active context belongs to. */
export function currentJobId(): string | undefined {
  const found = context.active().getValue(jobKey);
  return typeof found === 'string' ? found : undefined;
}

function isHeaderMap(headers: CarriedHeaders): headers is ReadonlyMap<string, readonly string[]> {
  return headers instanceof Map;
}

/** NATS header names are case-sensitive, and other publishers write `Traceparent`: exact first, then any spelling. */
function readHeader(headers: CarriedHeaders, name: string): string | undefined {
  const read = (key: string): string | readonly string[] | undefined =>
    isHeaderMap(headers) ? headers.get(key) : headers[key];
  let found = read(name);
  if (found === undefined) {
    for (const key of isHeaderMap(headers) ? headers.keys() : Object.keys(headers)) {
      if (key.toLowerCase() === name) found = read(key);
    }
  }
  if (found === undefined || typeof found === 'string') return found;
  return found.length === 0 ? undefined : found.join(',');
}
