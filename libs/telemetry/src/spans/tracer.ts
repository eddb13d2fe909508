import {
  context as contexts,
  isSpanContextValid,
  SpanKind,
  trace,
  TraceFlags,
  type Context,
  type Span,
  type SpanContext,
  type SpanOptions,
  type Tracer,
  type TracerProvider,
} from '@opentelemetry/api';
import { newSpanId, newTraceId } from './ids.ts';
import { RecordedSpan } from './span.ts';

type InSpan = (span: Span) => unknown;

/** Where the digits of a trace id begin that are random by the W3C's definition, and as many as a number compares. */
const RANDOM_FROM = 18;
const RANDOM_TO = 26;
const RANDOM_VALUES = 2 ** 32;

/**
 * Whether a trace that begins here is kept: the same answer for the same id, in every service with the same ratio, as
 * OpenTelemetry's consistent sampling works it out.
 */
export function keepsTrace(traceId: string, ratio: number): boolean {
  if (ratio >= 1) return true;
  return Number.parseInt(traceId.slice(RANDOM_FROM, RANDOM_TO), 16) >= (1 - ratio) * RANDOM_VALUES;
}

/**
 * Makes the spans of this process, for `trace.setGlobalTracerProvider`. A sampled parent's child is recorded, and that of
 * a parent that is not sampled is not; of traces that begin here `sampleRatio` are.
 */
export class SpanTracerProvider implements TracerProvider {
  readonly #tracers = new Map<string, SpanTracer>();
  readonly #sampleRatio: number;
  readonly #onEnd: (span: RecordedSpan) => void;

  constructor(sampleRatio: number, onEnd: (span: RecordedSpan) => void) {
    this.#sampleRatio = sampleRatio;
    this.#onEnd = onEnd;
  }

  getTracer(name: string): Tracer {
    let tracer = this.#tracers.get(name);
    if (tracer === undefined) this.#tracers.set(name, (tracer = new SpanTracer(name, this.#sampleRatio, this.#onEnd)));
    return tracer;
  }
}

class SpanTracer implements Tracer {
  readonly #name: string;
  readonly #sampleRatio: number;
  readonly #onEnd: (span: RecordedSpan) => void;

  constructor(name: string, sampleRatio: number, onEnd: (span: RecordedSpan) => void) {
    this.#name = name;
    this.#sampleRatio = sampleRatio;
    this.#onEnd = onEnd;
  }

  startSpan(name: string, options: SpanOptions = {}, context: Context = contexts.active()): Span {
    const around = options.root === true ? undefined : trace.getSpan(context);
    const parent = around === undefined ? undefined : validContextOf(around);
    if (parent === undefined) {
      const traceId = newTraceId();
      if (keepsTrace(traceId, this.#sampleRatio)) return this.#record(name, options, traceId, undefined);
      return trace.wrapSpanContext({ traceId, spanId: newSpanId(), traceFlags: TraceFlags.NONE });
    }
    if ((parent.traceFlags & TraceFlags.SAMPLED) !== 0) return this.#record(name, options, parent.traceId, parent);
    // Nothing is recorded under it: the trace is carried on as it stands, without an id that leads nowhere.
    return around as Span;
  }

  #record(name: string, options: SpanOptions, traceId: string, parent: SpanContext | undefined): Span {
    const context: SpanContext = { traceId, spanId: newSpanId(), traceFlags: TraceFlags.SAMPLED };
    if (parent?.traceState !== undefined) context.traceState = parent.traceState;
    const { kind = SpanKind.INTERNAL, startTime, attributes, links } = options;
    const span = new RecordedSpan({ name, scope: this.#name, kind, context, parent, startTime, onEnd: this.#onEnd });
    if (attributes !== undefined) span.setAttributes(attributes);
    if (links !== undefined && links.length > 0) span.addLinks(links);
    return span;
  }

  startActiveSpan<F extends InSpan>(name: string, fn: F): ReturnType<F>;
  startActiveSpan<F extends InSpan>(name: string, options: SpanOptions, fn: F): ReturnType<F>;
  startActiveSpan<F extends InSpan>(name: string, options: SpanOptions, context: Context, fn: F): ReturnType<F>;
  startActiveSpan<F extends InSpan>(name: string, ...given: readonly (SpanOptions | Context | F)[]): ReturnType<F> {
    const fn = given.at(-1) as F;
    const options = given.length > 1 ? (given[0] as SpanOptions) : {};
    const context = given.length > 2 ? (given[1] as Context) : contexts.active();
    const span = this.startSpan(name, options, context);
    return contexts.with(trace.setSpan(context, span), () => fn(span) as ReturnType<F>);
  }
}

function validContextOf(span: Span): SpanContext | undefined {
  const found = span.spanContext();
  // Ids of spans that this process made are valid.
  return span instanceof RecordedSpan || isSpanContextValid(found) ? found : undefined;
}
