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
  const found = span?.spanContext();
  if (found === undefined || !isSpanContextValid(found) || (found.traceFlags & TraceFlags.SAMPLED) === 0) {
    histogram.observe({ labels, value });
    return;
  }
  // prom-client types exemplar labels by the metric's own label names; OpenMetrics lets them be any.
  const exemplarLabels = { trace_id: found.traceId, span_id: found.spanId } as unknown as Partial<Record<L, string>>;
  histogram.observe({ labels, value, exemplarLabels });
}
