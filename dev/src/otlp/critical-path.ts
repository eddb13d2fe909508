import type { SpanRecord } from './otlp-json.ts';

/** A stretch of the critical path: a span at work, or, before a span began, its message in a queue. */
export interface PathSection {
  readonly kind: 'work' | 'wait';
  readonly span: SpanRecord;
  readonly fromMs: number;
  readonly toMs: number;
}

const endOf = (span: SpanRecord): number => span.startMs + span.durationMs;

/**
 * What a trace's time was spent on, from its beginning to the end of the span that ends last: shorten any of it, and the
 * whole is shorter. Jaeger ends the path at each PRODUCER whose child is a CONSUMER, since the one does not wait for the
 * other; here the path goes on through the queue to what published, so it covers the whole of a job.
 */
export function criticalPath(spans: readonly SpanRecord[]): readonly PathSection[] {
  const byId = new Map(spans.map((span) => [span.spanId, span]));
  // A consumer is not waited for by what published to it.
  const waitedFor = Map.groupBy(
    spans.filter((span) => span.kind !== 'consumer'),
    ({ parentSpanId }) => parentSpanId,
  );
  const sections: PathSection[] = [];
  const seen = new Set<SpanRecord>();
  const work = (span: SpanRecord, fromMs: number, toMs: number): void => {
    if (toMs > fromMs) sections.unshift({ kind: 'work', span, fromMs, toMs });
  };

  /** The path within a span, from `untilMs` back to its beginning. */
  const within = (span: SpanRecord, untilMs: number): void => {
    let atMs = untilMs;
    seen.add(span);
    for (;;) {
      const before = (waitedFor.get(span.spanId) ?? []).filter(
        (child) => !seen.has(child) && endOf(child) <= atMs && endOf(child) > span.startMs && child.startMs < atMs,
      );
      const last = before.toSorted((a, b) => endOf(b) - endOf(a))[0];
      if (last === undefined) break;
      work(span, endOf(last), atMs);
      within(last, endOf(last));
      atMs = Math.max(last.startMs, span.startMs);
    }
    work(span, span.startMs, atMs);
  };

  let span = spans.toSorted((a, b) => endOf(b) - endOf(a))[0];
  let untilMs = span === undefined ? 0 : endOf(span);
  while (span !== undefined && !seen.has(span)) {
    within(span, untilMs);
    const cause = byId.get(span.parentSpanId ?? '');
    if (cause === undefined) break;
    const causeEndMs = endOf(cause);
    if (causeEndMs < span.startMs) sections.unshift({ kind: 'wait', span, fromMs: causeEndMs, toMs: span.startMs });
    untilMs = Math.min(causeEndMs, span.startMs);
    span = cause;
  }
  return sections;
}
