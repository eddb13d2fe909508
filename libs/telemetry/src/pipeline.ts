import type { HeaderInput, Instrument, Observer } from '@sluice/pipeline';
import { pipelineTracing, type TraceMode } from '@sluice/pipeline/otel';
import { pipelineMetrics, type Watched } from '@sluice/pipeline/prometheus';
import { exemplarLabels } from './exemplar.ts';
import type { MetricsRegistry } from './registry.ts';
import { contextOfMessage, redactedMessage, tracer } from './tracing.ts';

export type { TraceMode };

export interface PipelineTelemetryOptions {
  readonly registry: MetricsRegistry;
  /** `PIPELINE_TRACE_MODE`; `parent` when absent. */
  readonly traceMode?: TraceMode;
  /** The low-cardinality name of a subject. When absent, tokens that look like ids become `{id}`. */
  readonly templateOf?: (subject: string) => string;
  /** The job a decoded message belongs to. When absent: its `jobId`, else its `job.id`. */
  readonly jobIdOf?: (data: unknown) => string | undefined;
  /**
   * A further span the message came from. When absent: its `traceparent`, else its `job.traceparent`, which names the
   * request that was accepted and matters where another trace moves the job on: a replay.
   */
  readonly originOf?: (data: unknown) => string | undefined;
  /** A redelivery of a message older than this begins a trace of its own. 10 minutes by default. */
  readonly maxTraceAgeMs?: number;
}

/** What the engine takes as `observe`, `instrument` and `inject`. */
export interface PipelineTelemetry {
  readonly observe: Observer;
  readonly instrument: Instrument;
  readonly inject: () => HeaderInput;
  /** Exposes a running pipeline's snapshot as gauges. */
  readonly watch: (pipeline: string, running: Watched) => void;
  /** Ends spans whose messages were given up by a drain. Call it after the drain. */
  readonly close: () => void;
}

/**
 * The engine's telemetry as this system has it: traces and metrics of `@sluice/pipeline`, whose logs carry the job and
 * whose statuses have nothing personal.
 *
 * ```ts
 * const { observe, instrument, inject, watch } = pipelineTelemetry({ registry, traceMode: 'parent' });
 * const running = await pipeline.start({ nats, deps, observe, instrument, inject });
 * watch('url_to_pdf', running);
 * ```
 */
export function pipelineTelemetry(options: PipelineTelemetryOptions): PipelineTelemetry {
  const { registry, traceMode, templateOf, maxTraceAgeMs } = options;
  const tracing = pipelineTracing({
    tracer: tracer(),
    conversationIdOf: options.jobIdOf ?? ((data) => textField(data, 'jobId') ?? textField(field(data, 'job'), 'id')),
    originOf:
      options.originOf ?? ((data) => textField(data, 'traceparent') ?? textField(field(data, 'job'), 'traceparent')),
    statusOf: redactedMessage,
    contextOf: contextOfMessage,
    ...(traceMode === undefined ? {} : { traceMode }),
    ...(templateOf === undefined ? {} : { templateOf }),
    ...(maxTraceAgeMs === undefined ? {} : { maxTraceAgeMs }),
  });
  const metrics = pipelineMetrics({ registry, exemplarOf: (event) => exemplarLabels(tracing.spanOf(event)) });
  return {
    observe(event) {
      // Before the span is ended, which the exemplar points to.
      metrics.observe(event);
      tracing.observe(event);
    },
    instrument: tracing.instrument,
    inject: tracing.inject,
    watch: metrics.watch,
    close: tracing.close,
  };
}

function textField(data: unknown, name: string): string | undefined {
  const value = field(data, name);
  return typeof value === 'string' && value !== '' ? value : undefined;
}

function field(data: unknown, name: string): unknown {
  return typeof data === 'object' && data !== null ? (data as Record<string, unknown>)[name] : undefined;
}
