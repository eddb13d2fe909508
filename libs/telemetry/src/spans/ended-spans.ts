import type { EndedSpan } from './span.ts';

/** Keeps spans that have ended, for tests: give `add` to `startTelemetry` as `onSpanEnd`. */
export function endedSpans(): { readonly add: (span: EndedSpan) => void; getFinishedSpans(): readonly EndedSpan[] } {
  const ended: EndedSpan[] = [];
  return { add: (span) => ended.push(span), getFinishedSpans: () => ended };
}
