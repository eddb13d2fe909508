import { styleText } from 'node:util';
import { criticalPath } from './critical-path.ts';
import type { SpanLink, SpanRecord } from './otlp-json.ts';

/** A span with what happened under it. */
export interface TraceNode {
  readonly span: SpanRecord;
  readonly children: readonly TraceNode[];
  /** Its parent never arrived: it stands at the top although it is not the beginning. */
  readonly orphan: boolean;
}

/** Arranges the spans of one trace by their parents; children in the order they started. */
export function traceTree(spans: readonly SpanRecord[]): readonly TraceNode[] {
  const known = new Set(spans.map((span) => span.spanId));
  const byParent = Map.groupBy(
    spans.toSorted((a, b) => a.startMs - b.startMs),
    (span) => (span.parentSpanId !== undefined && known.has(span.parentSpanId) ? span.parentSpanId : ''),
  );
  const below = (id: string): readonly TraceNode[] =>
    (byParent.get(id) ?? []).map((span) => ({
      span,
      children: below(span.spanId),
      orphan: id === '' && span.parentSpanId !== undefined,
    }));
  return below('');
}

/**
 * One trace as text: a line a span with its offset, duration and service, children under their parent, and on a
 * consumer's line, after `⇠`, the spans it is linked to. Then its critical path.
 */
export function renderTraceTree(spans: readonly SpanRecord[]): string {
  if (spans.length === 0) return 'no spans';
  const beginMs = Math.min(...spans.map((span) => span.startMs));
  const endMs = Math.max(...spans.map((span) => span.startMs + span.durationMs));
  const services = [...new Set(spans.map((span) => span.service))];
  const width = Math.max(...services.map((service) => service.length));
  const bySpanId = new Map(spans.map((span) => [span.spanId, span]));

  const lines = [
    `trace ${spans[0]?.traceId}  ${spans.length} spans over ${services.join(', ')}  ${formatMs(endMs - beginMs)}`,
    '',
  ];
  const draw = (node: TraceNode, stem: string, branch: string): void => {
    const { span } = node;
    const times = `${`+${formatMs(span.startMs - beginMs)}`.padStart(11)} ${formatMs(span.durationMs).padStart(10)}`;
    const name = span.failed ? styleText('red', span.name) : span.name;
    lines.push(
      `${styleText('gray', times)}  ${styleText('cyan', span.service.padEnd(width))}  ${stem}${branch}${name}${notes(node, bySpanId)}`,
    );
    const deeper = stem + (branch === '' ? '' : branch === '└─ ' ? '   ' : '│  ');
    node.children.forEach((child, at) => draw(child, deeper, at === node.children.length - 1 ? '└─ ' : '├─ '));
  };
  for (const root of traceTree(spans)) draw(root, '', '');
  return [...lines, '', ...pathLines(spans, width)].join('\n');
}

/** The critical path, a line a stretch. */
function pathLines(spans: readonly SpanRecord[], width: number): readonly string[] {
  const path = criticalPath(spans);
  const waitedMs = path.reduce((sum, { kind, fromMs, toMs }) => sum + (kind === 'wait' ? toMs - fromMs : 0), 0);
  const total = (path.at(-1)?.toMs ?? 0) - (path[0]?.fromMs ?? 0);
  return [
    `critical path  ${formatMs(total)}, of which ${formatMs(waitedMs)} in queues`,
    '',
    ...path.map(({ kind, span, fromMs, toMs }) => {
      const took = formatMs(toMs - fromMs).padStart(22);
      const what = kind === 'work' ? span.name : styleText('gray', `queued for ${span.name}`);
      return `${styleText('gray', took)}  ${styleText('cyan', span.service.padEnd(width))}  ${what}`;
    }),
  ];
}

function notes({ span, orphan }: TraceNode, bySpanId: ReadonlyMap<string, SpanRecord>): string {
  const found: string[] = [];
  const status = span.attributes['http.response.status_code'];
  if (status !== undefined) found.push(String(status));
  const attempt = span.attributes['nats.delivery_count'];
  if (typeof attempt === 'number' && attempt > 1) found.push(`attempt ${attempt}`);
  if (span.failed) {
    found.push(
      styleText('red', `✗ ${String(span.attributes['error.type'] ?? 'error')} ${span.statusMessage ?? ''}`.trimEnd()),
    );
  }
  for (const event of span.events) {
    if (event.name === 'retry scheduled')
      found.push(`retry in ${formatMs(Number(event.attributes['sluice.delay_ms']))}`);
    if (event.name === 'dead lettered') found.push(`dead lettered: ${String(event.attributes['sluice.reason'])}`);
  }
  for (const link of span.links) found.push(styleText('gray', `⇠ ${linkName(link, span, bySpanId)}`));
  if (orphan) found.push(styleText('yellow', '(its parent has not arrived)'));
  return found.length === 0 ? '' : `  ${found.join('  ')}`;
}

function linkName(link: SpanLink, from: SpanRecord, bySpanId: ReadonlyMap<string, SpanRecord>): string {
  const target = bySpanId.get(link.spanId);
  if (target !== undefined) return target.name;
  return link.traceId === from.traceId ? `span ${link.spanId}` : `trace ${link.traceId}`;
}

/** `3.2 ms`, `41 ms`, `1.24 s`. */
export function formatMs(ms: number): string {
  if (ms >= 1000) return `${(ms / 1000).toFixed(ms >= 10_000 ? 1 : 2)} s`;
  return `${ms >= 100 ? ms.toFixed(0) : ms.toFixed(1)} ms`;
}
