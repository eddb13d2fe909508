import { SpanStatusCode, type Span } from '@opentelemetry/api';
import { ATTRIBUTES } from './attributes.ts';

/** A word of few values for an error: its stable `code` if it has one, else its class. */
export function errorType(error: unknown): string {
  if (!(error instanceof Error)) return '_OTHER';
  const { code } = error as { code?: unknown };
  return typeof code === 'string' && /^[A-Za-z0-9_.-]{1,64}$/.test(code) ? code : error.name;
}

/** Marks a span failed. Its status has the text that `statusOf` makes of the error; the stack stays out of it. */
export function failSpan(span: Span, error: unknown, statusOf: (error: unknown) => string = errorType): void {
  if (!span.isRecording()) return;
  span.setAttribute(ATTRIBUTES.errorType, errorType(error));
  span.setStatus({ code: SpanStatusCode.ERROR, message: statusOf(error).slice(0, 256) });
}
