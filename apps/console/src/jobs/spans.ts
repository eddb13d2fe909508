import type { TimelineEntry } from '@sluice/client';

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
  readonly place: string;
  waitMs: number;
  waitLabel: string;
  workMs: number | undefined;
  attempt: number;
  instance: string;
}

/** The spans of a job whose timeline is read once, entry by entry. */
export interface SpanReader {
  /** Reads what came next, in the order of its time. */
  add(entries: readonly TimelineEntry[]): void;
  /**
   * The spans by their beginning.
   *
   * @param nowMs the end of what has not ended yet.
   * @param ended whether the job has ended: then nothing of it still runs, although an event may be missing.
   */
  spans(nowMs: number, ended: boolean): readonly Span[];
}

/** Of two that begin together, work comes before waiting. */
const byTime = (a: Span, b: Span): number =>
  a.fromMs - b.fromMs || Number(a.kind === 'wait') - Number(b.kind === 'wait') || a.toMs - b.toMs;

/** Puts a span where it belongs, which is near the end: it ended last, and began a little before. */
function insert(spans: Span[], span: Span): void {
  let at = spans.length;
  while (at > 0 && byTime(spans[at - 1] ?? span, span) > 0) at -= 1;
  if (at === spans.length) spans.push(span);
  else spans.splice(at, 0, span);
}

/**
 * Reads a timeline as spans, with waits apart from work. Each pipeline that had a message of the job is followed by
 * itself: a conversion and the callback after it overlap.
 */
export function spanReader(): SpanReader {
  const closed: Span[] = [];
  const lanes = new Map<string, Lane>();
  let queuedMs = 0;
  let acceptedMs = 0;
  let lastMs = -Infinity;
  const add = (span: Omit<Span, 'open' | 'failed'> & { failed?: boolean }): void =>
    insert(closed, { failed: false, ...span, open: false, toMs: Math.max(span.fromMs, span.toMs) });

  const read = (entry: TimelineEntry): void => {
    const atMs = Date.parse(entry.at);
    lastMs = Math.max(lastMs, atMs);
    if (entry.app === 'gateway' && entry.pipeline === undefined) {
      if (entry.event === 'accepted') acceptedMs = atMs;
      if (entry.event === 'published') {
        add({
          kind: 'work',
          label: 'Gateway: accepted and queued',
          by: entry.instance ?? '',
          fromMs: acceptedMs || atMs,
          toMs: atMs,
        });
      }
      if (entry.state !== undefined || entry.event === 'published') queuedMs = atMs;
      return;
    }
    const place = places[entry.app] ?? entry.app;
    const key = `${entry.app} ${entry.pipeline ?? ''}`;
    const known = lanes.get(key);
    const lane: Lane = known ?? {
      place,
      waitMs: queuedMs || atMs,
      waitLabel: `${place}: waiting in the queue`,
      workMs: undefined,
      attempt: 0,
      instance: '',
    };
    if (known === undefined) lanes.set(key, lane);
    switch (entry.event) {
      case 'received':
        if (lane.workMs === undefined && atMs > lane.waitMs) {
          add({ kind: 'wait', label: lane.waitLabel, by: '', fromMs: lane.waitMs, toMs: atMs });
          lane.waitMs = atMs;
          lane.waitLabel = `${place}: waiting for a free slot`;
        }
        break;
      case 'attempt':
        if (atMs - lane.waitMs >= 1)
          add({ kind: 'wait', label: lane.waitLabel, by: '', fromMs: lane.waitMs, toMs: atMs });
        lane.workMs = atMs;
        lane.attempt = entry.attempt ?? lane.attempt + 1;
        lane.instance = entry.instance ?? '';
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
  };

  /** What has not ended, as of now. */
  const openSpans = (nowMs: number, ended: boolean): Span[] => {
    const spans: Span[] = [];
    const toNow = { toMs: nowMs, open: true, failed: false } as const;
    for (const { place, workMs, waitMs, waitLabel, attempt, instance } of lanes.values()) {
      if (workMs !== undefined) {
        const toMs = Math.max(workMs, ended ? lastMs : nowMs);
        const work = { kind: 'work', label: `${place}: attempt ${attempt}`, by: instance, fromMs: workMs } as const;
        spans.push({ ...work, toMs, open: !ended, failed: false });
      } else if (!ended && waitLabel.endsWith('next attempt')) {
        spans.push({ kind: 'wait', label: waitLabel, by: '', fromMs: waitMs, ...toNow, toMs: Math.max(waitMs, nowMs) });
      }
    }
    if (!ended && lanes.size === 0 && queuedMs > 0) {
      const label = 'Waiting in the queue';
      spans.push({ kind: 'wait', label, by: '', fromMs: queuedMs, ...toNow, toMs: Math.max(queuedMs, nowMs) });
    }
    return spans;
  };

  return {
    add: (entries) => entries.forEach(read),
    spans(nowMs, ended) {
      const all = [...closed];
      for (const span of openSpans(nowMs, ended)) insert(all, span);
      return all;
    },
  };
}

/** The spans of a timeline that is there as a whole. */
export function spansOf(entries: readonly TimelineEntry[], nowMs: number, ended: boolean): readonly Span[] {
  const reader = spanReader();
  reader.add(entries);
  return reader.spans(nowMs, ended);
}

/**
 * How long a job waited and worked, for the line above the waterfall. Overlapping work counts once, and waiting while
 * something else of the job works is no loss of time.
 *
 * @param spans by their beginning.
 */
export function totals(spans: readonly Span[]): { readonly workMs: number; readonly waitMs: number } {
  let workMs = 0;
  let wholeMs = 0;
  let workedUntil = -Infinity;
  let until = -Infinity;
  for (const { kind, fromMs, toMs } of spans) {
    wholeMs += Math.max(0, toMs - Math.max(fromMs, until));
    until = Math.max(until, toMs);
    if (kind === 'wait') continue;
    workMs += Math.max(0, toMs - Math.max(fromMs, workedUntil));
    workedUntil = Math.max(workedUntil, toMs);
  }
  return { workMs, waitMs: wholeMs - workMs };
}
