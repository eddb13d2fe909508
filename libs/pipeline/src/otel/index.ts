/**
 * `@sluice/pipeline/otel`: traces of a pipeline with OpenTelemetry. Needs `@opentelemetry/api`, and spans go nowhere until
 * the program sets up an SDK.
 */
export { pipelineTracing } from './tracing.ts';
export type { PipelineTracing, PipelineTracingOptions, TraceMode } from './tracing.ts';
export { contextWithSpan, extractContext, injectHeaders, linkTo } from './propagation.ts';
export type { CarriedHeaders } from './propagation.ts';
export { errorType, failSpan } from './errors.ts';
