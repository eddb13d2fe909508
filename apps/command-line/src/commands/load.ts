import { openAsBlob } from 'node:fs';
import { resolve } from 'node:path';
import { createClient, isEnded, isProblem, ProblemError, type Job, type Sluice } from '@sluice/client';
import type { Command, Typed } from '../command.ts';
import type { Context } from '../context.ts';
import { CommandError } from '../errors.ts';
import { duration, table } from '../output.ts';

const MAX_SECONDS = 3_600;
/** Requests in flight at most: a system that answers late is to be seen as late, not to fill this process. */
const MAX_OPEN = 500;

export const loadCommand: Command = {
  name: 'load',
  summary: 'Make jobs at a rate, and report throughput, latency and refusals',
  detail:
    'A request that is refused is not repeated, so that every 429 and 503 shows. Latency counts from when a request was due, not from when it could be sent. Run it where mail goes to a viewer, as with `pnpm dev`.',
  options: [
    { flags: '--rate <n>', summary: 'how many jobs a second', as: 'number', default: 10 },
    { flags: '--seconds <n>', summary: `for how long, at most ${MAX_SECONDS}`, as: 'count', default: 10 },
    { flags: '--ramp <n>', summary: 'seconds until the full rate is reached', as: 'number', default: 0 },
    { flags: '--image <file>', summary: 'send this image; without it every job is a mail', isFile: true },
    {
      flags: '--share <percent>',
      summary: 'with --image: how many of a hundred jobs are images, the others being mails',
      as: 'number',
      default: 100,
    },
    { flags: '--to <address>', summary: 'who gets the mails', default: 'load@example.com' },
    { flags: '--wait', summary: 'wait until every job has ended, and report how long that took' },
  ],
  examples: [
    'load --rate 50 --seconds 10',
    'load --image samples/photo.jpg --share 30 --rate 20 --ramp 5 --wait',
    'load --rate 5 --json > report.json',
  ],
  run: load,
};

/** When each request of a run is due, in milliseconds from its start: the rate rises evenly over the ramp. */
export function schedule(rate: number, seconds: number, rampSeconds: number): number[] {
  const due: number[] = [];
  const ramp = Math.min(rampSeconds, seconds);
  for (let n = 0; ; n += 1) {
    // After t seconds of a ramp r, rate * t² / 2r are due; after it, rate * (t - r/2).
    const inRamp = (rate * ramp) / 2;
    const t = n < inRamp ? Math.sqrt((2 * ramp * n) / rate) : n / rate + ramp / 2;
    if (t >= seconds || rate === 0) return due;
    due.push(t * 1_000);
  }
}

export function percentile(sorted: readonly number[], share: number): number {
  return sorted[Math.min(sorted.length - 1, Math.ceil(sorted.length * share) - 1)] ?? 0;
}

async function load(context: Context, typed: Typed): Promise<void> {
  const { target, output, signal, sluice } = context;
  const [rate, seconds, ramp, share] = ['rate', 'seconds', 'ramp', 'share'].map((name) => typed.number(name) ?? 0) as [
    number,
    number,
    number,
    number,
  ];
  if (seconds > MAX_SECONDS || rate > 10_000 || share > 100)
    throw new CommandError('usage', `--seconds is at most ${MAX_SECONDS}, --rate 10000, --share 100`);
  // The first one shows at once whether there is a system, before hundreds say that there is none.
  await sluice.api.GET('/healthz', { signal });
  const once = createClient({ baseUrl: target.url, apiKey: target.apiKey, retry: { retries: 0 } });
  const make = await makerOf(context, typed, once, share);
  const due = schedule(rate, seconds, ramp);
  const progress = output.progress('load');
  const latencies: number[] = [];
  const answers = new Map<string, number>();
  const jobs: Job[] = [];
  const open = new Set<Promise<void>>();
  const beganMs = performance.now();
  const count = (answer: string): void => void answers.set(answer, (answers.get(answer) ?? 0) + 1);
  const request = async (n: number, dueMs: number): Promise<void> => {
    try {
      jobs.push(await make(n));
      latencies.push(performance.now() - beganMs - dueMs);
      count('202');
    } catch (error) {
      if (signal.aborted) return;
      count(error instanceof ProblemError ? `${error.status} ${error.code}` : 'no answer');
    }
  };
  for (const [n, dueMs] of due.entries()) {
    await until(beganMs + dueMs, signal);
    if (signal.aborted) break;
    if (open.size >= MAX_OPEN) await Promise.race(open);
    const running = request(n, dueMs).finally(() => open.delete(running));
    open.add(running);
    progress.set(n + 1, due.length);
  }
  await Promise.all(open);
  const sentMs = performance.now() - beganMs;
  progress.end();
  const ended = typed.flag('wait') ? await endOf(context, jobs) : undefined;
  const sorted = latencies.toSorted((a, b) => a - b);
  const report = {
    asked: { rate, seconds, rampSeconds: ramp, requests: due.length },
    answers: Object.fromEntries(answers),
    acceptedPerSecond: round((jobs.length / sentMs) * 1_000),
    acceptMs: {
      p50: round(percentile(sorted, 0.5)),
      p95: round(percentile(sorted, 0.95)),
      p99: round(percentile(sorted, 0.99)),
      max: round(sorted.at(-1) ?? 0),
    },
    ...(ended === undefined ? {} : { jobs: ended }),
  };
  output.json(report);
  output.print(
    table(
      ['answer', 'requests'],
      [...answers].map(([answer, requests]) => [answer, requests]),
    ),
  );
  const { p50, p95, p99, max } = report.acceptMs;
  output.print(
    `${report.acceptedPerSecond} jobs/s accepted; p50 ${duration(p50)}, p95 ${duration(p95)}, p99 ${duration(p99)}, at most ${duration(max)}`,
  );
  if (ended !== undefined) {
    output.print(
      `${Object.entries(ended.states)
        .map(([state, number]) => `${number} ${state}`)
        .join(', ')}; p50 ${duration(ended.endMs.p50)}, p99 ${duration(ended.endMs.p99)} from acceptance to end`,
    );
  }
  if (jobs.length === 0) throw new CommandError('refused', 'no job was accepted');
}

const round = (value: number): number => Math.round(value * 10) / 10;

async function makerOf(
  { directory }: Context,
  typed: Typed,
  sluice: Sluice,
  share: number,
): Promise<(n: number) => Promise<Job>> {
  const path = typed.text('image');
  const to = typed.text('to') ?? '';
  const mail = (n: number): Promise<Job> =>
    sluice.emails.send({
      to,
      template: 'notification',
      variables: { title: `Load ${n}`, message: 'A mail of a load run.' },
    });
  if (path === undefined) return mail;
  const image = await openAsBlob(resolve(directory, path)).catch(() => {
    throw new CommandError('usage', `--image ${path} cannot be read`);
  });
  // Spread evenly: of a share of 30, the requests 0, 3, 6, 10, 13 and so on are images.
  return (n) =>
    Math.floor(((n + 1) * share) / 100) > Math.floor((n * share) / 100) ? sluice.images.convert(image) : mail(n);
}

async function until(atMs: number, signal: AbortSignal): Promise<void> {
  const ms = atMs - performance.now();
  if (ms <= 0) return;
  await new Promise<void>((done) => {
    const stop = (): void => {
      clearTimeout(timer);
      done();
    };
    const timer = setTimeout(() => {
      signal.removeEventListener('abort', stop);
      done();
    }, ms);
    signal.addEventListener('abort', stop, { once: true });
  });
}

/** Looks at the jobs until all have ended: a live stream for each would be the heavier load. */
async function endOf({ sluice, output, signal }: Context, jobs: readonly Job[]) {
  const progress = output.progress('working');
  const left = new Map(jobs.map((job) => [job.id, job]));
  const ended: Job[] = [];
  while (left.size > 0) {
    signal.throwIfAborted();
    for (const id of [...left.keys()].slice(0, 50)) {
      const job = await sluice.jobs.get(id, { signal }).catch((error: unknown) => {
        if (isProblem(error, 'rate_limited')) return undefined;
        throw error;
      });
      if (job === undefined || !isEnded(job)) break;
      left.delete(id);
      ended.push(job);
      progress.set(ended.length, jobs.length);
    }
    if (left.size > 0) await until(performance.now() + 100, signal);
  }
  progress.end();
  const endMs = ended.map((job) => Date.parse(job.updatedAt) - Date.parse(job.createdAt)).toSorted((a, b) => a - b);
  const states: Record<string, number> = {};
  for (const { state } of ended) states[state] = (states[state] ?? 0) + 1;
  return { states, endMs: { p50: percentile(endMs, 0.5), p95: percentile(endMs, 0.95), p99: percentile(endMs, 0.99) } };
}
