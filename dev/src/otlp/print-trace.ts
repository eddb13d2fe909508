import { setTimeout as sleep } from 'node:timers/promises';
import type { SpanRecord } from './otlp-json.ts';
import { renderTraceTree, traceTree } from './trace-tree.ts';

export interface PrintTraceOptions {
  /** Base URL of the receiver. */
  readonly receiverUrl: string;
  /** Base URL of the gateway, which is asked for the trace id of a job the receiver does not know. */
  readonly gatewayUrl?: string;
  /** How long to wait for spans that are still on their way. Services send once a second. 6,000 by default. */
  readonly timeoutMs?: number;
  /** Whether the URL of the waterfall page follows the tree. On by default. */
  readonly link?: boolean;
}

const QUIET_MS = 1500;
const POLL_MS = 250;

/** The trace, or the traces, of a job or a trace id, as text trees. Waits until no more spans come in. */
export async function printTrace(jobIdOrTraceId: string, options: PrintTraceOptions): Promise<string> {
  const deadline = performance.now() + (options.timeoutMs ?? 6000);
  let count = -1;
  let quietSince = performance.now();
  let traces: readonly (readonly SpanRecord[])[] = [];
  for (;;) {
    const ids = await traceIdsOf(jobIdOrTraceId, options);
    traces = await Promise.all(ids.map((id) => spansOf(id, options.receiverUrl)));
    const total = traces.reduce((sum, spans) => sum + spans.length, 0);
    const now = performance.now();
    if (total !== count) {
      count = total;
      quietSince = now;
    }
    const whole = total > 0 && traces.every((spans) => traceTree(spans).every((root) => !root.orphan));
    // A caller with a span of its own never sends it here: then quiet alone has to do.
    const enoughMs = whole ? QUIET_MS : 2 * QUIET_MS;
    if ((total > 0 && now - quietSince >= enoughMs) || now >= deadline) break;
    await sleep(POLL_MS);
  }
  const known = traces.filter((spans) => spans.length > 0);
  if (known.length === 0)
    return `no trace of ${jobIdOrTraceId}: it is older than what the receiver keeps, or was not sampled`;
  return known
    .map((spans) => {
      const tree = renderTraceTree(spans);
      return options.link === false ? tree : `${tree}\n\n${options.receiverUrl}/trace/${spans[0]?.traceId}`;
    })
    .join('\n\n');
}

async function traceIdsOf(id: string, options: PrintTraceOptions): Promise<readonly string[]> {
  if (/^[0-9a-f]{32}$/.test(id)) return [id];
  const found = (await json(`${options.receiverUrl}/api/traces?jobId=${encodeURIComponent(id)}`)) as {
    traces?: readonly { traceId: string }[];
  };
  const ids = (found.traces ?? []).map((trace) => trace.traceId);
  if (ids.length > 0 || options.gatewayUrl === undefined) return ids;
  const job = (await json(`${options.gatewayUrl}/v1/jobs/${encodeURIComponent(id)}`).catch(() => ({}))) as {
    traceId?: string;
  };
  return job.traceId === undefined ? [] : [job.traceId];
}

async function spansOf(traceId: string, receiverUrl: string): Promise<readonly SpanRecord[]> {
  const found = (await json(`${receiverUrl}/api/traces/${traceId}`)) as { spans?: readonly SpanRecord[] };
  return found.spans ?? [];
}

async function json(url: string): Promise<unknown> {
  const response = await fetch(url, { signal: AbortSignal.timeout(3000) });
  return response.json();
}
