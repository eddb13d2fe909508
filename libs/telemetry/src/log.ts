import { isSpanContextValid, trace } from '@opentelemetry/api';
import { pino, stdTimeFunctions, type Logger as PinoLogger } from 'pino';
import { redactText } from './redact.ts';
import { currentJobId } from './tracing.ts';

/** The logger of every service: pino's. `log.info({ job_id }, 'accepted')`. */
export type Logger = PinoLogger;

/** Takes one finished line. */
export interface LineSink {
  write(line: string): void;
}

export interface LogOptions {
  readonly service: string;
  readonly instance: string;
  readonly level: string;
  /** Where lines go; each gets every line. */
  readonly sinks: readonly LineSink[];
}

/**
 * A logger that writes one shape of JSON line: `time`, `level`, `service`, `instance`, `msg`, then `trace_id`, `span_id`
 * of the active span and `job_id` of the active job, then the caller's own fields. Every line passes the redactor.
 */
export function createLogger(options: LogOptions): Logger {
  const [only] = options.sinks;
  const sink: LineSink =
    options.sinks.length === 1 && only !== undefined
      ? only
      : { write: (line) => options.sinks.forEach((each) => each.write(line)) };
  return pino(
    {
      level: options.level,
      base: { service: options.service, instance: options.instance },
      timestamp: stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
      mixin: correlation,
      // The caller's own job_id wins over the context's.
      mixinMergeStrategy: (fields, mixed) => ({ ...mixed, ...fields }),
      hooks: { streamWrite: redactText },
    },
    sink,
  );
}

function correlation(): Record<string, string> {
  const fields: Record<string, string> = {};
  const span = trace.getActiveSpan()?.spanContext();
  if (span !== undefined && isSpanContextValid(span)) {
    fields['trace_id'] = span.traceId;
    fields['span_id'] = span.spanId;
  }
  const jobId = currentJobId();
  if (jobId !== undefined) fields['job_id'] = jobId;
  return fields;
}
