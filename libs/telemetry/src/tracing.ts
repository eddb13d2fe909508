import {
  context,
  createContextKey,
  isSpanContextValid,
  SpanKind,
  trace,
  TraceFlags,
  type Attributes,
  type Context,
  type Link,
  type Span,
  type Tracer,
} from '@opentelemetry/api';
import { contextWithSpan, failSpan as fail } from '@sluice/pipeline/otel';
import { ATTR_MESSAGING_MESSAGE_CONVERSATION_ID } from './attributes.ts';
import { redactText } from './redact.ts';

export { errorType, extractContext, injectHeaders, linkTo, type CarriedHeaders } from '@sluice/pipeline/otel';

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
  const { attributes, links, jobId } = options;
  const span = tracer().startSpan(name, { kind: kinds[options.kind ?? 'internal'], root: options.root ?? false }, base);
  if (!span.isRecording()) return span;
  if (attributes !== undefined) span.setAttributes(attributes);
  if (jobId !== undefined) span.setAttribute(ATTR_MESSAGING_MESSAGE_CONVERSATION_ID, jobId);
  if (links !== undefined && links.length > 0) span.addLinks([...links]);
  return span;
}

/** The context in which `span` is active and log lines carry `jobId`. */
export function contextWith(span: Span, jobId: string | undefined, base: Context = context.active()): Context {
  const active = contextWithSpan(base, span);
  return jobId === undefined ? active : withValue(active, jobKey, jobId);
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
  // Under a trace that is not sampled the active context is the one that `fn` would get.
  if (options.parent === undefined && options.jobId === undefined && trace.getSpan(base) === span) return fn(span);
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
  return withValue(base, workKey, { traceparent: undefined });
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
  fail(span, error, redactedMessage);
}

/** Text of an error without addresses and queries. */
export const redactedMessage = (error: unknown): string =>
  redactText(error instanceof Error ? error.message : String(error));

/** Runs `fn` in a context, e.g. one from {@link extractContext}. */
export function runInContext<R>(ctx: Context, fn: () => R): R {
  return context.with(ctx, fn);
}

/**
 * The context in which a message is handled: log lines carry its job, and {@link workTraceparent} knows what was done in
 * it. Of a message whose trace is not sampled nothing is worked out before it is asked for: that is most messages.
 */
export function contextOfMessage(base: Context, jobIdOf: () => string | undefined, recorded: boolean): Context {
  if (!recorded) return new UnsampledMessageContext(base, jobIdOf);
  const jobId = jobIdOf();
  return contextOfWork(jobId === undefined ? base : withValue(base, jobKey, jobId));
}

/** As `base.setValue`, without a copy of all that `base` holds: spans are not nested deeply. */
const withValue = (base: Context, key: symbol, value: unknown): Context => new ValueOverContext(base, key, value);

class ValueOverContext implements Context {
  readonly #base: Context;
  readonly #key: symbol;
  readonly #value: unknown;

  constructor(base: Context, key: symbol, value: unknown) {
    this.#base = base;
    this.#key = key;
    this.#value = value;
  }

  getValue(key: symbol): unknown {
    return key === this.#key ? this.#value : this.#base.getValue(key);
  }

  setValue(key: symbol, value: unknown): Context {
    return this.#base.setValue(this.#key, this.#value).setValue(key, value);
  }

  deleteValue(key: symbol): Context {
    return this.#base.setValue(this.#key, this.#value).deleteValue(key);
  }
}

class UnsampledMessageContext implements Context {
  readonly #base: Context;
  readonly #jobIdOf: () => string | undefined;

  constructor(base: Context, jobIdOf: () => string | undefined) {
    this.#base = base;
    this.#jobIdOf = jobIdOf;
  }

  getValue(key: symbol): unknown {
    return key === jobKey ? this.#jobIdOf() : this.#base.getValue(key);
  }

  setValue(key: symbol, value: unknown): Context {
    return this.#whole().setValue(key, value);
  }

  deleteValue(key: symbol): Context {
    return this.#whole().deleteValue(key);
  }

  #whole(): Context {
    const jobId = this.#jobIdOf();
    return jobId === undefined ? this.#base : this.#base.setValue(jobKey, jobId);
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

/** The job the active context belongs to. */
export function currentJobId(): string | undefined {
  const found = context.active().getValue(jobKey);
  return typeof found === 'string' ? found : undefined;
}
