import { isEnded, ProblemError, SluiceError } from '@sluice/client';
import { sluiceOnce } from '../api/client.ts';

export interface LoadPlan {
  readonly jobs: number;
  readonly perSecond: number;
  /** How long the rate takes to get there. */
  readonly rampSeconds: number;
  /** Of a hundred jobs, how many are mails; the others are images. */
  readonly mailPercent: number;
}

/** One second of a run. */
export interface LoadSecond {
  readonly atS: number;
  sent: number;
  accepted: number;
  refused429: number;
  refused503: number;
  ended: number;
}

export interface LoadReport {
  readonly plan: LoadPlan;
  readonly startedAt: string;
  readonly seconds: readonly LoadSecond[];
  readonly sent: number;
  readonly accepted: number;
  readonly refused: Readonly<Record<string, number>>;
  readonly ended: number;
  readonly failed: number;
  /** Milliseconds until the gateway had accepted, ascending. */
  readonly acceptMs: readonly number[];
  /** Milliseconds from accepted to ended, by the times of the gateway, ascending. */
  readonly endMs: readonly number[];
  readonly state: 'running' | 'waiting' | 'done' | 'stopped';
}

/** More requests at once than a browser opens connections only wait in the browser, and would count as latency. */
const AT_ONCE = 6;
const TICK_MS = 100;
const LOOK_MS = 1_000;
/** After the last job was sent: what has not ended by then is counted as open. */
const WAIT_MS = 5 * 60_000;

export const percentile = (sorted: readonly number[], share: number): number | undefined =>
  sorted.length === 0 ? undefined : sorted[Math.min(sorted.length - 1, Math.ceil(sorted.length * share) - 1)];

/** A grey square of 64 pixels, with noise so that no two are alike. */
async function picture(): Promise<Blob> {
  const canvas = new OffscreenCanvas(64, 64);
  const context = canvas.getContext('2d');
  if (context === null) throw new Error('this browser draws no pictures');
  for (let n = 0; n < 64; n += 1) {
    context.fillStyle = `hsl(${Math.random() * 360} 50% 50%)`;
    context.fillRect((n % 8) * 8, Math.floor(n / 8) * 8, 8, 8);
  }
  return canvas.convertToBlob({ type: 'image/png' });
}

/** Sends jobs at a rate and follows them to their end. Returns what stops it. */
export function startLoad(plan: LoadPlan, onReport: (report: LoadReport) => void): () => void {
  const startedMs = Date.now();
  const run = `load-${startedMs.toString(36)}`;
  const seconds = new Map<number, LoadSecond>();
  const refused: Record<string, number> = {};
  const acceptMs: number[] = [];
  const endMs: number[] = [];
  const open = new Set<string>();
  let sent = 0;
  let inFlight = 0;
  let failed = 0;
  let state: LoadReport['state'] = 'running';
  let lastSentMs = startedMs;

  const second = (): LoadSecond => {
    const atS = Math.floor(Date.now() / 1_000);
    const known = seconds.get(atS) ?? { atS, sent: 0, accepted: 0, refused429: 0, refused503: 0, ended: 0 };
    seconds.set(atS, known);
    return known;
  };
  const insert = (values: number[], value: number): void => {
    let low = 0;
    let high = values.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((values[middle] ?? 0) < value) low = middle + 1;
      else high = middle;
    }
    values.splice(low, 0, value);
  };
  const sendOne = async (number: number): Promise<void> => {
    const beganMs = performance.now();
    const options = { idempotencyKey: `"${run}-${number}"` };
    try {
      const isMail = (number * 61) % 100 < plan.mailPercent;
      const to = `load-${number}@example.com`;
      const mail = { to, template: 'welcome', variables: { name: `Load ${number}` } };
      const { id } = isMail
        ? await sluiceOnce.emails.send(mail, options)
        : await sluiceOnce.images.convert(await picture(), options);
      open.add(id);
      insert(acceptMs, performance.now() - beganMs);
      second().accepted += 1;
    } catch (error) {
      const code = error instanceof SluiceError ? error.code : 'page_error';
      const status = error instanceof ProblemError ? error.status : 0;
      refused[code] = (refused[code] ?? 0) + 1;
      if (status === 429) second().refused429 += 1;
      if (status === 503) second().refused503 += 1;
    }
  };
  /** What should have been sent by now: the area under the rate as it rises. */
  const dueBy = (nowMs: number): number => {
    const elapsed = (nowMs - startedMs) / 1_000;
    const ramp = plan.rampSeconds;
    const area = elapsed < ramp ? (elapsed * elapsed) / (2 * ramp) : elapsed - ramp / 2;
    return Math.min(plan.jobs, Math.floor(area * plan.perSecond) + 1);
  };
  const report = (): void =>
    onReport({
      plan,
      startedAt: new Date(startedMs).toISOString(),
      seconds: [...seconds.values()],
      sent,
      accepted: acceptMs.length,
      refused: { ...refused },
      ended: endMs.length,
      failed,
      acceptMs: [...acceptMs],
      endMs: [...endMs],
      state,
    });

  const ticking = setInterval(() => {
    const due = dueBy(Date.now());
    while (sent < due && inFlight < AT_ONCE) {
      sent += 1;
      inFlight += 1;
      lastSentMs = Date.now();
      second().sent += 1;
      void sendOne(sent).finally(() => {
        inFlight -= 1;
      });
    }
    if (sent === plan.jobs && inFlight === 0 && state === 'running') {
      state = 'waiting';
      clearInterval(ticking);
    }
  }, TICK_MS);
  /** Reads the newest jobs until one is older than the run: each page tells of two hundred. */
  const look = async (): Promise<void> => {
    let cursor: string | undefined;
    const since = new Date(startedMs - 5_000).toISOString();
    do {
      const page = await sluiceOnce.jobs.list({ since, limit: 200, ...(cursor === undefined ? {} : { cursor }) });
      for (const job of page.jobs) {
        if (!open.has(job.id) || !isEnded(job)) continue;
        open.delete(job.id);
        if (job.state !== 'succeeded') failed += 1;
        insert(endMs, Date.parse(job.updatedAt) - Date.parse(job.createdAt));
        second().ended += 1;
      }
      cursor = page.next;
    } while (cursor !== undefined && open.size > 0);
  };
  let stopped = false;
  const follow = async (): Promise<void> => {
    for (;;) {
      if (stopped) return;
      await look().catch(() => undefined);
      if (state === 'waiting' && (open.size === 0 || Date.now() - lastSentMs > WAIT_MS)) state = 'done';
      report();
      if (state === 'done') return;
      await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
    }
  };
  void follow();
  return () => {
    if (stopped || state === 'done') return;
    stopped = true;
    clearInterval(ticking);
    state = 'stopped';
    report();
  };
}
