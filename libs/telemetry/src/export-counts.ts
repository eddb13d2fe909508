import { ExportResultCode, type ExportResult } from '@opentelemetry/core';
import type { LogRecordExporter } from '@opentelemetry/sdk-logs';
import { Counter } from 'prom-client';
import { metricNames } from './metric-names.ts';
import type { MetricsRegistry } from './registry.ts';
import type { SpanCounts } from './spans/span-exporter.ts';

export interface ExportCounts {
  /** Shows what an exporter of spans has counted, read at each scrape. */
  watchSpans(counts: () => SpanCounts): void;
  /** One more log record on its way to the queue. */
  logOffered(): void;
  logs(exporter: LogRecordExporter): LogRecordExporter;
}

/**
 * Counts what is handed to the exporters and what arrives. Offered − exported − failed − what waits (bounded) is what
 * the full queue dropped; of spans that is counted, too.
 */
export function countExports(registry: MetricsRegistry): ExportCounts {
  const registers = [registry];
  let spans: (() => SpanCounts) | undefined;
  let shown: SpanCounts = { offered: 0, exported: 0, failed: 0, dropped: 0 };
  /** What came since the last scrape; one of the three counters is read first, and the others show the same moment. */
  const sinceShown = (of: keyof SpanCounts): number => {
    const now = spans?.()[of] ?? 0;
    const before = shown[of];
    shown = { ...shown, [of]: now };
    return now - before;
  };
  const offered = new Counter({
    name: metricNames.telemetryOffered,
    help: 'Spans and log records given to the exporter.',
    labelNames: ['signal'],
    registers,
    collect() {
      const added = sinceShown('offered');
      if (added > 0) this.inc({ signal: 'traces' }, added);
    },
  });
  const exported = new Counter({
    name: metricNames.telemetryExported,
    help: 'Spans and log records sent, by result.',
    labelNames: ['signal', 'result'],
    registers,
    collect() {
      const ok = sinceShown('exported');
      if (ok > 0) this.inc({ signal: 'traces', result: 'ok' }, ok);
      const failed = sinceShown('failed');
      if (failed > 0) this.inc({ signal: 'traces', result: 'failed' }, failed);
    },
  });
  void new Counter({
    name: metricNames.telemetrySpansDropped,
    help: 'Spans for which the queue of the exporter had no room.',
    registers,
    collect() {
      this.inc(sinceShown('dropped'));
    },
  });

  return {
    watchSpans(counts) {
      spans = counts;
    },
    logOffered: () => offered.inc({ signal: 'logs' }),
    logs: (exporter) => ({
      export(records, done) {
        exporter.export(records, (result: ExportResult) => {
          const ok = result.code === ExportResultCode.SUCCESS;
          exported.inc({ signal: 'logs', result: ok ? 'ok' : 'failed' }, records.length);
          done(result);
        });
      },
      shutdown: () => exporter.shutdown(),
      forceFlush: async () => exporter.forceFlush?.(),
    }),
  };
}
