import type { TimelineEntry } from '../api/jobs.ts';

/** A piece of a job's time: work, or waiting for something. */
export interface Span {
  readonly kind: 'work' | 'wait';
  readonly label: string;
  /** Who worked: the replica. */
  readonly by: string;
  readonly fromMs: number;
  readonly toMs: number;
  /** It has not ended yet. */
  readonly open: boolean;
  readonly failed: boolean;
}

const places: Readonly<Record<string, string>> = {
  gateway: 'Gateway',
  image: 'Conversion',
  email: 'Mail',
  client: 'Callback',
  webhooks: 'Webhook',
};

interface Lane {
  /** When the message was put where this pipeline finds it. */
  readonly queuedMs: number;
  waitMs: number;
  waitLabel: string;
  workMs: number | undefined;
  attempt: number;
  instance: string;
}

/**
 * The timeline of a job as spans, with waits apart from work. Each pipeline that had a message of the job is followed by
 * itself: a conversion and the callback after it overlap.
 *
 * @param nowMs the end of what has not ended yet.
 * @param ended whether the job has ended: then nothing of it still runs, although an event may be missing.
 */
export function spansOf(entries: readonly TimelineEntry[], nowMs: number, ended: boolean): Span[] {
  const spans: Span[] = [];
  const lanes = new Map<string, Lane>();
  let queuedMs = 0;
  let acceptedMs = 0;
  const add = (span: Omit<Span, 'open' | 'failed'> & { open?: boolean; failed?: boolean }): void => {
    spans.push({ open: false, failed: false, ...span, toMs: Math.max(span.fromMs, span.toMs) });
  };
  for (const entry of entries) {
    const atMs = Date.parse(entry.at);
    if (entry.app === 'gateway' && entry.pipeline === undefined) {
      if (entry.event === 'accepted') acceptedMs = atMs;
      if (entry.event === 'published') {
        add({
          kind: 'work',
          label: 'Gateway: accepted and put into the queue',
          by: entry.instance ?? '',
          fromMs: acceptedMs || atMs,
          toMs: atMs,
        });
      }
      if (entry.state !== undefined || entry.event === 'published') queuedMs = atMs;
      continue;
    }
    const place = places[entry.app] ?? entry.app;
    const key = `${entry.app} ${entry.pipeline ?? ''}`;
    const known = lanes.get(key);
    const lane: Lane = known ?? {
      queuedMs: queuedMs || atMs,
      waitMs: queuedMs || atMs,
      waitLabel: `${place}: waiting in the queue`,
      workMs: undefined,
      attempt: 0,
      instance: '',
    };
    if (known === undefined) lanes.set(key, lane);
    const by = entry.instance ?? '';
    switch (entry.event) {
      case 'received':
        if (lane.workMs === undefined && atMs > lane.waitMs) {
          add({ kind: 'wait', label: lane.waitLabel, by: '', fromMs: lane.waitMs, toMs: atMs });
          lane.waitMs = atMs;
          lane.waitLabel = `${place}: waiting for a free place in the replica`;
        }
        break;
      case 'attempt':
        if (atMs - lane.waitMs >= 1)
          add({ kind: 'wait', label: lane.waitLabel, by: '', fromMs: lane.waitMs, toMs: atMs });
        lane.workMs = atMs;
        lane.attempt = entry.attempt ?? lane.attempt + 1;
        lane.instance = by;
        break;
      case 'effect_done':
      case 'retry_scheduled':
      case 'dead_lettered': {
        if (lane.workMs !== undefined) {
          const failed =
            entry.event !== 'effect_done' || (entry.detail !== undefined && /retry|dead|fail/i.test(entry.detail));
          add({
            kind: 'work',
            label: `${place}: attempt ${lane.attempt}`,
            by: lane.instance,
            fromMs: lane.workMs,
            toMs: atMs,
            failed,
          });
          lane.workMs = undefined;
        }
        lane.waitMs = atMs;
        lane.waitLabel =
          entry.event === 'retry_scheduled' ? `${place}: waiting for the next attempt` : `${place}: waiting`;
        break;
      }
      default:
        break;
    }
  }
  const lastMs = Math.max(...entries.map(({ at }) => Date.parse(at)));
  for (const [key, lane] of lanes) {
    const place = places[key.split(' ')[0] ?? ''] ?? key;
    if (lane.workMs !== undefined) {
      add({
        kind: 'work',
        label: `${place}: attempt ${lane.attempt}`,
        by: lane.instance,
        fromMs: lane.workMs,
        toMs: ended ? lastMs : nowMs,
        open: !ended,
      });
    } else if (!ended && lane.waitLabel.endsWith('next attempt')) {
      add({ kind: 'wait', label: lane.waitLabel, by: '', fromMs: lane.waitMs, toMs: nowMs, open: true });
    }
  }
  if (!ended && lanes.size === 0 && queuedMs > 0) {
    add({ kind: 'wait', label: 'Waiting in the queue', by: '', fromMs: queuedMs, toMs: nowMs, open: true });
  }
  return spans.sort((a, b) => a.fromMs - b.fromMs || a.toMs - b.toMs);
}

/** How long a job waited and worked, for the line above the waterfall. Overlapping work counts once. */
export function totals(spans: readonly Span[]): { readonly workMs: number; readonly waitMs: number } {
  const covered = (kind: Span['kind'], without: readonly Span[] = []): number => {
    const edges = [...spans.filter((span) => span.kind === kind), ...without];
    let until = -Infinity;
    let sum = 0;
    for (const { fromMs, toMs } of edges.sort((a, b) => a.fromMs - b.fromMs)) {
      sum += Math.max(0, toMs - Math.max(fromMs, until));
      until = Math.max(until, toMs);
    }
    return sum;
  };
  const workMs = covered('work');
  // Waiting while something else of the job works is no loss of time.
  return {
    workMs,
    waitMs:
      covered(
        'wait',
        spans.filter(({ kind }) => kind === 'work'),
      ) - workMs,
  };
}
