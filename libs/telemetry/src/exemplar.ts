import { isSpanContextValid, trace, TraceFlags, type Span } from '@opentelemetry/api';
import type { Histogram } from 'prom-client';

/**
 * Observes a duration and, when a sampled span is at hand, attaches its trace id as an exemplar: the point on a graph
 * that opens the trace behind it. The histogram must have `enableExemplars: true`. `null` for a span says that there is
 * none, and the active one is not looked for.
 */
export function observeWithExemplar<L extends string>(
  histogram: Histogram<L>,
  labels: Partial<Record<L, string | number>>,
  value: number,
  span: Span | null | undefined = trace.getActiveSpan(),
): void {
  const found = exemplarLabels(span ?? undefined);
  if (found === undefined) histogram.observe({ labels, value });
  // prom-client types exemplar labels by the metric's own label names; OpenMetrics lets them be any.
  else histogram.observe({ labels, value, exemplarLabels: found as Partial<Record<L, string>> });
}

/** What an exemplar says of a span; undefined for one that is not sampled, which no link would find. */
export function exemplarLabels(span: Span | undefined): Readonly<Record<string, string>> | undefined {
  const found = span?.spanContext();
  if (found === undefined || (found.traceFlags & TraceFlags.SAMPLED) === 0 || !isSpanContextValid(found))
    return undefined;
  return { trace_id: found.traceId, span_id: found.spanId };
}
