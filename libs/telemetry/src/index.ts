export { startTelemetry, type Telemetry, type TelemetryOptions } from './telemetry.ts';
export type { Logger } from './log.ts';
export { createRedactor, redactText, type Redactor } from './redact.ts';
export {
  currentSpan,
  currentTraceId,
  currentTraceparent,
  workTraceparent,
  extractContext,
  injectHeaders,
  linkTo,
  runInContext,
  tracer,
  withSpan,
  type CarriedHeaders,
  type SpanKindName,
  type WithSpanOptions,
} from './tracing.ts';
export { publishSpan, type Publication } from './publish.ts';
export {
  pipelineTelemetry,
  type PipelineTelemetry,
  type PipelineTelemetryOptions,
  type TraceMode,
} from './pipeline.ts';
export { httpTelemetry, type HttpTelemetry, type HttpTelemetryOptions } from './http.ts';
export { nodeMetrics } from './node-metrics.ts';
export {
  jetstreamMetrics,
  type ConsumerReading,
  type JetstreamReading,
  type StreamReading,
} from './jetstream-metrics.ts';
export { observeWithExemplar } from './exemplar.ts';
export { operationMetrics, type ObserveOperation } from './operation-metrics.ts';
export { DURATION_BUCKETS_SECONDS } from './metric-names.ts';
export type { MetricsRegistry } from './registry.ts';
export { metricNames } from './metric-names.ts';
