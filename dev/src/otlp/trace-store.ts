import type { LogRecord, SpanRecord } from './otlp-json.ts';

export interface TraceSummary {
  readonly traceId: string;
  /** Name of the span that began it, or of the earliest that arrived. */
  readonly name: string;
  readonly startMs: number;
  readonly durationMs: number;
  readonly spans: number;
  readonly services: readonly string[];
  readonly failed: boolean;
  readonly jobIds: readonly string[];
}

export interface TraceStoreOptions {
  /** The trace that was touched longest ago makes room. 500 by default. */
  readonly maxTraces?: number;
  /** What a trace gets beyond is dropped. 1,000 by default. */
  readonly maxSpansPerTrace?: number;
  /** 20,000 by default. */
  readonly maxLogs?: number;
}

/** The last traces and log records, in memory. */
export interface TraceStore {
  addSpans(spans: readonly SpanRecord[]): void;
  addLogs(logs: readonly LogRecord[]): void;
  /** Newest first. */
  list(): readonly TraceSummary[];
  /** In the order they started. */
  spans(traceId: string): readonly SpanRecord[];
  /** The traces that move a job, the one that began first first. */
  tracesOfJob(jobId: string): readonly string[];
  logs(filter: { readonly traceId?: string; readonly jobId?: string; readonly limit?: number }): readonly LogRecord[];
  readonly counts: { readonly traces: number; readonly spans: number; readonly logs: number; readonly dropped: number };
}

/** The job of a span: what our publishers and pipelines write as the conversation. */
export const JOB_ATTRIBUTE = 'messaging.message.conversation_id';

/** Opens an empty store. */
export function openTraceStore(options: TraceStoreOptions = {}): TraceStore {
  const { maxTraces = 500, maxSpansPerTrace = 1000, maxLogs = 20_000 } = options;
  // A Map keeps insertion order: a trace that gets a span moves to the end, the front makes room.
  const traces = new Map<string, SpanRecord[]>();
  let logs: LogRecord[] = [];
  let dropped = 0;

  return {
    addSpans(spans) {
      for (const span of spans) {
        const kept = traces.get(span.traceId) ?? [];
        if (kept.length >= maxSpansPerTrace) {
          dropped += 1;
          continue;
        }
        kept.push(span);
        traces.delete(span.traceId);
        traces.set(span.traceId, kept);
      }
      for (const oldest of traces.keys()) {
        if (traces.size <= maxTraces) break;
        traces.delete(oldest);
      }
    },
    addLogs(more) {
      logs.push(...more);
      // In large steps: cutting one off the front of a long array each time would copy it each time.
      if (logs.length > maxLogs * 1.2) logs = logs.slice(-maxLogs);
    },
    list: () => [...traces].map(([traceId, spans]) => summary(traceId, spans)).reverse(),
    spans: (traceId) => (traces.get(traceId) ?? []).toSorted((a, b) => a.startMs - b.startMs),
    tracesOfJob(jobId) {
      const found = [...traces].filter(([, spans]) => spans.some((span) => span.attributes[JOB_ATTRIBUTE] === jobId));
      return found.toSorted(([, a], [, b]) => startOf(a) - startOf(b)).map(([traceId]) => traceId);
    },
    logs({ traceId, jobId, limit = 1000 }) {
      const wanted = logs.filter(
        (log) => (traceId === undefined || log.traceId === traceId) && (jobId === undefined || log.jobId === jobId),
      );
      return wanted.slice(-limit).toSorted((a, b) => a.atMs - b.atMs);
    },
    get counts() {
      let spans = 0;
      for (const each of traces.values()) spans += each.length;
      return { traces: traces.size, spans, logs: logs.length, dropped };
    },
  };
}

function summary(traceId: string, spans: readonly SpanRecord[]): TraceSummary {
  const startMs = startOf(spans);
  const first = spans.find((span) => span.parentSpanId === undefined) ?? spans.find((span) => span.startMs === startMs);
  const jobIds = spans.map((span) => span.attributes[JOB_ATTRIBUTE]).filter((id) => typeof id === 'string');
  return {
    traceId,
    name: first?.name ?? '',
    startMs,
    durationMs: Math.max(0, ...spans.map((span) => span.startMs + span.durationMs)) - startMs,
    spans: spans.length,
    services: [...new Set(spans.map((span) => span.service))],
    failed: spans.some((span) => span.failed),
    jobIds: [...new Set(jobIds)],
  };
}

function startOf(spans: readonly SpanRecord[]): number {
  return Math.min(...spans.map((span) => span.startMs));
}
