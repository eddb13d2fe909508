// A year in minutes: every lifetime shortened by one setting, jobs of every kind at a steady rate, every part restarted in
// turn. Nothing may grow from the second fifth of the run to the last: pnpm bench longevity [--quick].
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { cpus, tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { startStack } from '@sluice/dev';
import { connectNats, createBus } from '@sluice/messaging';
import { startSink } from './email/sink-process.ts';
import { watchLedger, watchOutcomes } from './longevity/accounts.ts';
import { lifetimeRows } from './longevity/lifetimes.ts';
import { startLoad } from './longevity/load.ts';
import { lineChart } from './longevity/plot.ts';
import { startRestarts } from './longevity/restarts.ts';
import { fifths, halves, startSampler, type Series } from './longevity/samples.ts';
import type { BenchOptions, BenchResult, Row } from './run.ts';

interface Plan {
  readonly seconds: number;
  readonly jobs: number;
  /** How many seconds a week takes. */
  readonly weekSeconds: number;
}

/** A week in 70 s, ten weeks, 300,000 jobs. */
const FULL: Plan = { seconds: 700, jobs: 300_000, weekSeconds: 70 };
/** A week in 35 s, nearly seven weeks: the second fifth begins when JOBS has been full for the first time. */
const QUICK: Plan = { seconds: 240, jobs: 3_600, weekSeconds: 35 };
const RESTART_EVERY_MS = 20_000;
const GROWTH_MAX = 0.1;
/** What is small grows by more than a tenth when a page is added to it. */
const IGNORED_BYTES = 4 * 2 ** 20;
/** What a start takes longer by when something else ran beside it. */
const IGNORED_MS = 500;
const DRAIN_MS = 120_000;
const DAY_MS = 86_400_000;
const WEEK_SECONDS = 7 * 86_400;

export const endsOnSignal = true;

/** Measures, and says of each figure whether it holds. */
export async function run({ quick, signal }: BenchOptions): Promise<BenchResult> {
  const plan = quick ? QUICK : FULL;
  const scale = WEEK_SECONDS / plan.weekSeconds;
  const directory = mkdtempSync(join(tmpdir(), 'sluice-bench-longevity-'));
  /** What ends what was started, the last first, however the run ends. */
  const stopping: (() => unknown)[] = [() => rmSync(directory, { recursive: true, force: true })];
  try {
    return await measured(plan, scale, { quick, signal, directory, stopping });
  } finally {
    for (const stop of stopping.toReversed()) await stop();
  }
}

async function measured(
  plan: Plan,
  scale: number,
  {
    quick,
    signal,
    directory,
    stopping,
  }: Omit<BenchOptions, 'only'> & { directory: string; stopping: (() => unknown)[] },
): Promise<BenchResult> {
  const sink = await startSink('bare');
  stopping.push(() => sink.stop());
  const stack = await startStack({
    signal,
    dataDirectory: directory,
    smtpUrls: `smtp://127.0.0.1:${sink.port}?connections=8`,
    restartAfterMs: 100,
    env: {
      '*': { TIME_SCALE: String(scale), LOG_LEVEL: 'error', TRACE_SAMPLE_RATIO: '0' },
      gateway: {
        CREDITS: 'on',
        CREDIT_PRICE_IMAGE: '2',
        CREDIT_PRICE_EMAIL: '1',
        // A month would be most of the run: growth shows only beyond a lifetime.
        HISTORY_TTL_MS: String(Math.floor((7 * DAY_MS) / scale)),
      },
      email: {
        QUOTA_PER_RECIPIENT_PER_HOUR: '0',
        QUOTA_PER_ACCOUNT_PER_DAY: '0',
        RETRY_MAX_MS: '5000',
        RETRY_FOR_MS: String(Math.floor((5 * DAY_MS) / scale)),
      },
    },
  });
  stopping.push(() => stack.stop());
  const bus = await createBus(await connectNats({ url: stack.urls.nats, name: 'bench-longevity' }));
  stopping.push(() => bus.close().catch(() => undefined));
  const ledger = await watchLedger(bus, stack.urls.nats, 10 * plan.jobs);
  const outcomes = await watchOutcomes(bus);
  const sampler = startSampler(stack, directory);
  const restarts = startRestarts(stack, RESTART_EVERY_MS);
  stopping.push(
    () => restarts.stop(),
    () => sampler.stop(),
  );
  const load = startLoad(stack.urls, bus, plan.jobs / plan.seconds);
  stopping.push(() => load.stop().catch(() => undefined));
  await Promise.race([sleep(plan.seconds * 1_000, undefined, { signal }), load.failed]);
  const series = sampler.stop();
  const startTimes = await restarts.stop();
  const accepted = await load.stop();
  const observed = await lifetimeRows(bus, stack, scale, plan.seconds);
  const untilMs = Date.now() + DRAIN_MS;
  while ([...accepted].some((id) => !outcomes.has(id)) && Date.now() < untilMs) await sleep(500, undefined, { signal });
  const lost = [...accepted].filter((id) => !outcomes.has(id)).length;
  const failed = [...accepted].filter((id) => outcomes.get(id) === 'failed').length;
  const refunded = ledger.refunds.filter((id) => outcomes.get(id) === 'succeeded').length;
  const { mails, repeated } = await sink.count();
  plot(series, plan, scale, accepted.size, quick);
  const exact = (id: string, value: number, unit: string): Row => ({ id, value, unit, pass: value === 0 });
  return {
    rows: [
      {
        id: 'longevity.jobs',
        value: accepted.size,
        unit: `in ${plan.seconds} s`,
        floor: plan.jobs,
        pass: accepted.size >= 0.9 * plan.jobs,
      },
      { id: 'longevity.mails', value: mails, unit: 'mails', pass: mails > 0 },
      exact('longevity.lost', lost, 'accepted jobs without an end'),
      exact('longevity.failed', failed, 'jobs'),
      exact('longevity.doubled', repeated, 'mails'),
      exact('longevity.refunds_of_succeeded', refunded, 'entries'),
      ...series.map(growth),
      ...startTimes.map(growth),
      ...observed,
    ],
    notes: [
      `TIME_SCALE=${scale}: a week is ${plan.weekSeconds} s. Each of ${restarts.parts.join(', ')} is restarted in turn, one every ${RESTART_EVERY_MS / 1_000} s.`,
      'Growth: the median of the last fifth of the run over that of the second fifth. Records (CREDITS, AUDIT) are kept for ever by design and are a row of their own.',
    ],
  };
}

/** How much more of something there is in the last fifth than in the second; of the few starts, in the halves of a run. */
function growth(series: Series): Row {
  const { second, last } = series.unit === 'ms' ? halves(series) : fifths(series);
  const ratio = last / second;
  const isSmall = series.unit === 'bytes' ? last - second < IGNORED_BYTES : last - second < IGNORED_MS;
  const pass = series.mayGrow === true || isSmall || !(ratio > 1 + GROWTH_MAX);
  const isBytes = series.unit === 'bytes';
  return {
    id: `longevity.${series.name}`,
    value: isBytes ? last / 1e6 : last,
    unit: `${isBytes ? 'MB' : series.unit} in the last ${series.unit === 'ms' ? 'half' : 'fifth'}${series.mayGrow === true ? ', a record' : ''}`,
    ratio,
    pass,
  };
}

function plot(series: readonly Series[], plan: Plan, scale: number, jobs: number, quick: boolean): void {
  const folder = join(import.meta.dirname, '..', quick ? 'out/longevity' : 'docs/retention');
  mkdirSync(folder, { recursive: true });
  const about = `${jobs.toLocaleString('en-US')} jobs in ${plan.seconds} s, TIME_SCALE ${Math.round(scale)}, ${cpus().length} cores, ${new Date().toISOString().slice(0, 10)}`;
  const of = (prefix: string): readonly Series[] => series.filter(({ name }) => name.startsWith(prefix));
  writeFileSync(join(folder, 'memory.svg'), lineChart(`Resident memory, MB: ${about}`, of('rss.')));
  writeFileSync(join(folder, 'storage.svg'), lineChart(`Stored, MB: ${about}`, of('disk.')));
}
