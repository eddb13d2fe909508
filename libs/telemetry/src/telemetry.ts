import { hostname } from 'node:os';
import { context, diag, DiagLogLevel, logs, propagation, trace } from '@opentelemetry/api';
import { setGlobalErrorHandler, W3CTraceContextPropagator } from '@opentelemetry/core';
import { OTLPLogExporter } from '@opentelemetry/exporter-logs-otlp-http';
import { resourceFromAttributes, type Resource } from '@opentelemetry/resources';
import { BatchLogRecordProcessor, LoggerProvider, type LogRecordProcessor } from '@opentelemetry/sdk-logs';
import {
  ATTR_DEPLOYMENT_ENVIRONMENT_NAME,
  ATTR_SERVICE_INSTANCE_ID,
  ATTR_SERVICE_NAME,
  ATTR_SERVICE_NAMESPACE,
  ATTR_SERVICE_VERSION,
} from '@opentelemetry/semantic-conventions';
import { Gauge } from 'prom-client';
import { countExports, type ExportCounts } from './export-counts.ts';
import { createLogger, type LineSink, type Logger } from './log.ts';
import { metricNames } from './metric-names.ts';
import { otlpLineSink } from './otlp-logs.ts';
import { registerPublishMetrics } from './publish.ts';
import { useRedactionKey } from './redact.ts';
import { createRegistry, type MetricsRegistry } from './registry.ts';
import { AsyncContextManager } from './spans/context-manager.ts';
import { otlpHeaders, otlpSender } from './spans/otlp-http.ts';
import { SpanExporter } from './spans/span-exporter.ts';
import type { EndedSpan } from './spans/span.ts';
import { SpanTracerProvider } from './spans/tracer.ts';
import { stdoutSink } from './stdout-sink.ts';

export interface TelemetryOptions {
  readonly service: string;
  readonly version?: string;
  /** Tells replicas apart. Host name and process id when absent. */
  readonly instance?: string;
  /** Base URL of an OTLP/HTTP receiver. Without one, spans and logs are not sent anywhere. */
  readonly otlpEndpoint?: string;
  /** Share of new traces that are kept, 0..1; a caller's decision is followed. 1 when absent. */
  readonly sampleRatio?: number;
  readonly logLevel?: string;
  readonly environment?: string;
  /** Key of the hashes that stand for mail addresses in logs. Random per process when absent. */
  readonly redactionKey?: string;
  /** Called with every span that ends, before it is sent: tests read spans through it. */
  readonly onSpanEnd?: (span: EndedSpan) => void;
  /** Where log lines go instead of stdout. */
  readonly logTo?: LineSink;
  /** How long `shutdown` may wait for the last spans and logs to leave. 3,000 when absent. */
  readonly shutdownTimeoutMs?: number;
}

export interface Telemetry {
  readonly log: Logger;
  readonly registry: MetricsRegistry;
  /** Sends what is still buffered, within the time given, and takes the globals back. Call it last. */
  shutdown(): Promise<void>;
}

/** Log records waiting to be sent, at most: some megabytes. Beyond that they are dropped, work goes on. */
const QUEUE_LIMIT = 4096;
const EXPORT_TIMEOUT_MS = 5000;

/**
 * Starts tracing, metrics and logs of this process and registers them as OpenTelemetry's globals. Once per process.
 * Nothing here can fail the work: an unreachable receiver costs bounded memory, a counter and one log line a minute.
 */
export function startTelemetry(options: TelemetryOptions): Telemetry {
  if (options.redactionKey !== undefined) useRedactionKey(options.redactionKey);
  const instance = options.instance ?? `${hostname()}:${process.pid}`;
  const resource = describe(options, instance);
  const registry = createRegistry(options.service);
  const counts = countExports(registry);

  const endpoint = options.otlpEndpoint;
  context.setGlobalContextManager(new AsyncContextManager());
  propagation.setGlobalPropagator(new W3CTraceContextPropagator());
  const logProvider = endpoint === undefined ? undefined : shipLogs(endpoint, resource, counts);
  const stdout = options.logTo === undefined ? stdoutSink() : undefined;
  const lines = options.logTo ?? stdout!;
  const log = createLogger({
    service: options.service,
    instance,
    level: options.logLevel ?? 'info',
    sinks: endpoint === undefined ? [lines] : [lines, otlpLineSink(logs.getLogger('sluice'))],
  });
  stdout?.onDropped((count) => log.warn({ lines: count }, 'log lines were dropped: what reads stdout was too slow'));

  const complain = complainSparsely(log);
  const spans = endpoint === undefined ? undefined : shipSpans(endpoint, resource, complain);
  if (spans !== undefined) counts.watchSpans(() => spans.counts);
  const { onSpanEnd } = options;
  // Without a receiver spans are made too: logs and jobs have the ids of their traces.
  const tracers = new SpanTracerProvider(options.sampleRatio ?? 1, (span) => {
    onSpanEnd?.(span);
    spans?.add(span);
  });
  trace.setGlobalTracerProvider(tracers);

  registerPublishMetrics(registry);
  exposeIdentity(registry, options, instance);

  let stopping: Promise<void> | undefined;
  return {
    log,
    registry,
    shutdown() {
      const timeoutMs = options.shutdownTimeoutMs ?? 3000;
      stopping ??= within(timeoutMs, async () => {
        await Promise.all([spans?.shutdown(), logProvider?.shutdown().catch(() => {}), stdout?.flush(timeoutMs)]);
      }).then(() => {
        trace.disable();
        logs.disable();
        propagation.disable();
        context.disable();
        diag.disable();
      });
      return stopping;
    },
  };
}

function describe(options: TelemetryOptions, instance: string): Resource {
  return resourceFromAttributes({
    [ATTR_SERVICE_NAMESPACE]: 'sluice',
    [ATTR_SERVICE_NAME]: options.service,
    [ATTR_SERVICE_VERSION]: options.version ?? '0.0.0',
    [ATTR_SERVICE_INSTANCE_ID]: instance,
    [ATTR_DEPLOYMENT_ENVIRONMENT_NAME]: options.environment ?? 'dev',
  });
}

function shipSpans(endpoint: string, resource: Resource, onFailure: (reason: string) => void): SpanExporter {
  const sender = otlpSender({
    url: signalUrl(endpoint, 'traces'),
    headers: otlpHeaders(),
    timeoutMs: EXPORT_TIMEOUT_MS,
  });
  return new SpanExporter({ resource: resource.attributes, sender, onFailure });
}

function shipLogs(endpoint: string, resource: Resource, counts: ExportCounts): LoggerProvider {
  const exporter = new OTLPLogExporter({ url: signalUrl(endpoint, 'logs'), timeoutMillis: EXPORT_TIMEOUT_MS });
  const processor = new BatchLogRecordProcessor({
    exporter: counts.logs(exporter),
    maxQueueSize: QUEUE_LIMIT,
    scheduledDelayMillis: 1000,
    exportTimeoutMillis: EXPORT_TIMEOUT_MS,
  });
  const counted: LogRecordProcessor = {
    onEmit(record) {
      counts.logOffered();
      processor.onEmit(record);
    },
    forceFlush: () => processor.forceFlush(),
    shutdown: () => processor.shutdown(),
  };
  const provider = new LoggerProvider({ resource, processors: [counted] });
  logs.setGlobalLoggerProvider(provider);
  return provider;
}

function signalUrl(endpoint: string, signal: 'traces' | 'logs'): string {
  return `${endpoint.replace(/\/+$/, '')}/v1/${signal}`;
}

/** Exporters complain once per failed batch, so once a second. One line a minute says the same. */
function complainSparsely(log: Logger): (reason: string) => void {
  let quietUntil = 0;
  let unsaid = 0;
  const complain = (reason: string): void => {
    const now = performance.now();
    if (now < quietUntil) {
      unsaid += 1;
      return;
    }
    log.warn({ reason, repeated: unsaid }, 'telemetry is not getting through');
    quietUntil = now + 60_000;
    unsaid = 0;
  };
  setGlobalErrorHandler((error) =>
    complain(typeof error === 'string' ? error : (error.message ?? error.name ?? 'unknown')),
  );
  const ignore = (): void => {};
  diag.setLogger(
    { error: complain, warn: complain, info: ignore, debug: ignore, verbose: ignore },
    { logLevel: DiagLogLevel.WARN, suppressOverrideMessage: true },
  );
  return complain;
}

function exposeIdentity(registry: MetricsRegistry, options: TelemetryOptions, instance: string): void {
  new Gauge({
    name: metricNames.serviceInfo,
    help: 'Always 1; says which version and instance this is.',
    labelNames: ['version', 'service_instance', 'environment'],
    registers: [registry],
  }).set(
    { version: options.version ?? '0.0.0', service_instance: instance, environment: options.environment ?? 'dev' },
    1,
  );
}

async function within(ms: number, run: () => Promise<void>): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  const timer = setTimeout(resolve, ms);
  try {
    await Promise.race([run(), promise]);
  } finally {
    clearTimeout(timer);
  }
}
