import { ExportResultCode, type ExportResult } from '@opentelemetry/core';
import type { LogRecordExporter } from '@opentelemetry/sdk-logs';
import type { SpanExporter } from '@opentelemetry/sdk-trace';
import { Counter } from 'prom-client';
import { metricNames } from './metric-names.ts';
import type { MetricsRegistry } from './registry.ts';

type Signal = 'traces' | 'logs';

/** What span and log exporters have in common. */
interface Exporter<T> {
  export(items: T[], done: (result: ExportResult) => void): void;
  shutdown(): Promise<void>;
  forceFlush?(): Promise<void>;
}

export interface ExportCounts {
  /** One more span or log record on its way to the queue. */
  offered(signal: Signal): void;
  spans(exporter: SpanExporter): SpanExporter;
  logs(exporter: LogRecordExporter): LogRecordExporter;
}

/**
 * Counts what is handed to the exporters and what arrives. Offered − exported − failed − what waits (bounded) is what
 * the full queue dropped.
 */
export function countExports(registry: MetricsRegistry): ExportCounts {
  const offered = new Counter({
    name: metricNames.telemetryOffered,
    help: 'Spans and log records given to the exporter.',
    labelNames: ['signal'],
    registers: [registry],
  });
  const exported = new Counter({
    name: metricNames.telemetryExported,
    help: 'Spans and log records sent, by result.',
    labelNames: ['signal', 'result'],
    registers: [registry],
  });

  const counted =
    (signal: Signal, items: number, done: (result: ExportResult) => void) =>
    (result: ExportResult): void => {
      exported.inc({ signal, result: result.code === ExportResultCode.SUCCESS ? 'ok' : 'failed' }, items);
      done(result);
    };
  const wrap = <T>(signal: Signal, exporter: Exporter<T>): Required<Exporter<T>> => ({
    export: (items, done) => exporter.export(items, counted(signal, items.length, done)),
    shutdown: () => exporter.shutdown(),
    forceFlush: async () => exporter.forceFlush?.(),
  });

  return {
    offered: (signal) => offered.inc({ signal }),
    spans: (exporter) => wrap('traces', exporter),
    logs: (exporter) => wrap('logs', exporter),
  };
}
