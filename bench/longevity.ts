// A year in minutes: every lifetime shortened by one setting, jobs of every kind at a steady rate, every part restarted in
// turn. Nothing may grow from the second fifth of the run to the last: pnpm bench longevity [--quick].
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { cpus, tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { startStack } from '@sluice/dev';
import { jobLog, stateName } from '@sluice/jobs';
import { connectNats, createBus, type Bus } from '@sluice/messaging';
import { startSink } from './email/sink-process.ts';
import { makeKeys, watchLedger, watchOutcomes } from './longevity/accounts.ts';
import { lifetimeRows } from './longevity/lifetimes.ts';
import { startLoad } from './longevity/load.ts';
import { megabytesOverTime } from './longevity/plot.ts';
import { startRestarts } from './longevity/restarts.ts';
import { fifths, halves, startSampler, type Rounds, type Series } from './longevity/samples.ts';
import type { BenchOptions, BenchResult, Row } from './run.ts';

interface Plan {
  readonly seconds: number;
  readonly jobs: number;
  /** Fewer than that are no run of this kind. */
  readonly leastJobs: number;
  /** How many seconds a week takes. */
  readonly weekSeconds: number;
}

/** A week in 70 s, sixteen weeks. Two cores that restart something every 20 s take 270 jobs a second of the 300 asked. */
const FULL: Plan = { seconds: 1_150, jobs: 345_000, leastJobs: 300_000, weekSeconds: 70 };
/** A week in 35 s, nearly seven weeks: the second fifth begins when JOBS has been full for the first time. */
const QUICK: Plan = { seconds: 240, jobs: 3_600, leastJobs: 3_240, weekSeconds: 35 };
const RESTART_EVERY_MS = 20_000;
const GROWTH_MAX = 0.1;
/** One slow start among fewer decides the median of its half. */
const FEWEST_STARTS = 6;
const DRAIN_MS = 120_000;
const PROGRESS_EVERY_MS = 20_000;
/** The charges of one account are stored one after the other: a system has many. */
const ACCOUNTS = 16;
const DAY_MS = 86_400_000;
const WEEK_SECONDS = 7 * 86_400;

export const endsOnSignal = true;

/** The plan, with what LONGEVITY_SECONDS and LONGEVITY_JOBS say instead. */
function planned(plan: Plan): Plan {
  const seconds = Number(process.env['LONGEVITY_SECONDS'] ?? plan.seconds);
  const jobs = Number(process.env['LONGEVITY_JOBS'] ?? plan.jobs);
  return { ...plan, seconds, jobs, leastJobs: Math.min(plan.leastJobs, Math.floor(0.9 * jobs)) };
}

/** Measures, and says of each figure whether it holds. */
export async function run({ quick, signal }: BenchOptions): Promise<BenchResult> {
  const plan = planned(quick ? QUICK : FULL);
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
        AUTH: 'keys',
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
  const accounts = Array.from({ length: ACCOUNTS }, (_, n) => `account-${n}`);
  const keys = await makeKeys(stack.urls.nats, accounts);
  const ledger = await watchLedger(bus, stack.urls.nats, accounts, 10 * plan.jobs);
  const outcomes = await watchOutcomes(bus);
  const sampler = startSampler(stack, bus, directory);
  const restarts = startRestarts(stack, RESTART_EVERY_MS);
  stopping.push(
    () => restarts.stop(),
    () => sampler.stop(),
  );
  const load = startLoad(stack.urls, bus, { perSecond: plan.jobs / plan.seconds, keys });
  const progress = setInterval(() => {
    console.error(`longevity: ${load.accepted.size} jobs accepted, ${outcomes.states.size} ended`);
  }, PROGRESS_EVERY_MS);
  stopping.push(
    () => load.stop().catch(() => undefined),
    () => clearInterval(progress),
  );
  try {
    await Promise.race([sleep(plan.seconds * 1_000, undefined, { signal }), load.failed]);
  } catch (error) {
    if (!signal.aborted) {
      const open = [...load.accepted].filter((id) => !outcomes.states.has(id));
      console.error(
        `longevity: broke off with ${load.accepted.size} jobs accepted, ${open.length} of them without an end`,
      );
      console.error(`longevity: ${await lastWords(bus, open)}`);
    }
    throw error;
  }
  const series = await sampler.stop();
  const rounds = { seconds: plan.seconds, roundSeconds: (restarts.parts.length * RESTART_EVERY_MS) / 1_000 };
  const startTimes = await restarts.stop();
  const accepted = await load.stop();
  const observed = await lifetimeRows(bus, stack, { key: keys[0] ?? '', scale, ranSeconds: plan.seconds });
  const untilMs = Date.now() + DRAIN_MS;
  while ([...accepted].some((id) => !outcomes.states.has(id)) && Date.now() < untilMs)
    await sleep(500, undefined, { signal });
  const lost = [...accepted].filter((id) => !outcomes.states.has(id));
  const failed = [...accepted].filter((id) => outcomes.states.get(id) === 'failed').length;
  /** Succeeded jobs for which less or more was paid than they cost. A charge without a job is taken back a while later. */
  const paid = (isWrong: (paid: number, price: number) => boolean): number =>
    [...outcomes.prices].filter(([id, price]) => isWrong(-(ledger.get(id) ?? 0), price)).length;
  const paidTwice = (): number => paid((sum, price) => sum > price);
  while (paidTwice() > 0 && Date.now() < untilMs) await sleep(500, undefined, { signal });
  const { mails, repeatedIds } = await sink.count();
  const unmarked = repeatedIds.map(jobOf).filter((id) => !outcomes.ambiguous.has(id));
  plot(series, plan, scale, accepted.size, quick);
  const exact = (id: string, value: number, unit: string): Row => ({ id, value, unit, pass: value === 0 });
  return {
    rows: [
      {
        id: 'longevity.jobs',
        value: accepted.size,
        unit: `in ${plan.seconds} s`,
        floor: plan.leastJobs,
        pass: accepted.size >= plan.leastJobs,
      },
      { id: 'longevity.mails', value: mails, unit: 'mails', pass: mails > 0 },
      exact('longevity.lost', lost.length, 'accepted jobs without an end'),
      exact('longevity.failed', failed, 'jobs'),
      { id: 'longevity.repeated', value: repeatedIds.length, unit: 'mails that were sent twice', pass: true },
      exact('longevity.doubled', unmarked.length, 'of them without a job that says so'),
      exact(
        'longevity.refunds_of_succeeded',
        paid((sum, price) => sum < price),
        'jobs paid for with less than they cost',
      ),
      exact('longevity.charged_twice', paidTwice(), 'jobs paid for with more than they cost'),
      ...[...series, ...startTimes].map((each) => growth(each, rounds)),
      ...observed,
    ],
    notes: [
      `TIME_SCALE=${scale}: a week is ${plan.weekSeconds} s. Each of ${restarts.parts.join(', ')} is restarted in turn, one every ${RESTART_EVERY_MS / 1_000} s.`,
      ...(unmarked.length === 0 ? [] : [`Sent twice, and not said: ${await lastWords(bus, unmarked)}`]),
      ...(lost.length === 0 ? [] : [`Without an end: ${await lastWords(bus, lost)}`]),
      'Growth: the median of the last fifth of the run over that of the second fifth, both of whole rounds of restarts. Records (CREDITS, AUDIT) are kept for ever by design and are a row of their own. On disk a stream may take up to a block of 8 MiB more than it holds.',
      'A start: the time of its processors until it is ready, and by the clock, which is not judged.',
    ],
  };
}

const NAMED = 20;

/** The job of a Message-ID, `<JOB.replays@domain>`. */
const jobOf = (messageId: string): string => messageId.slice(1).split('.', 1)[0] ?? '';

/** The first of some jobs, and what their last event says. */
async function lastWords(bus: Bus, ids: readonly string[]): Promise<string> {
  const log = jobLog(bus);
  const words: string[] = [];
  for (const id of ids.slice(0, NAMED)) {
    const found = await log.read(id).catch(() => undefined);
    words.push(
      `${id} ${found === undefined ? 'is not there any more' : `${stateName(found.job.state)} by ${found.cause}`}`,
    );
  }
  if (ids.length > NAMED) words.push(`and ${ids.length - NAMED} more`);
  return words.join(', ');
}

/** How much more of something there is in the last fifth than in the second; of the few starts, in the halves of a run. */
function growth(series: Series, rounds: Rounds): Row {
  const { last, ratio } = compared(series, rounds);
  const isBytes = series.unit === 'bytes';
  const growing = (series.parts ?? [series]).filter((part) => grows(part, rounds)).map(({ name }) => name);
  const named = series.parts === undefined || growing.length === 0 ? '' : `: ${growing.join(', ')}`;
  const isFew = !isBytes && series.points.length < FEWEST_STARTS;
  const remark = isFew
    ? ', too few to judge'
    : series.mayGrow !== true
      ? named
      : isBytes
        ? ', a record'
        : ', by the clock';
  return {
    id: `longevity.${series.name}`,
    value: isBytes ? last / 1e6 : last,
    unit: `${isBytes ? 'MB' : series.unit} in the last ${isBytes ? 'fifth' : 'half'}${remark}`,
    ratio,
    pass: isFew || series.mayGrow === true || growing.length === 0,
  };
}

function compared(
  series: Series,
  rounds: Rounds,
): { readonly second: number; readonly last: number; readonly ratio: number } {
  const { second, last } = series.unit === 'ms' ? halves(series) : fifths(series, rounds);
  return { second, last, ratio: last / second };
}

function grows(series: Series, rounds: Rounds): boolean {
  const { second, last, ratio } = compared(series, rounds);
  return last - second >= series.ignored && ratio > 1 + GROWTH_MAX;
}

function plot(series: readonly Series[], plan: Plan, scale: number, jobs: number, quick: boolean): void {
  const folder = join(import.meta.dirname, '..', quick ? 'out/longevity' : 'docs/retention');
  mkdirSync(folder, { recursive: true });
  const about = `${jobs.toLocaleString('en-US')} jobs in ${plan.seconds} s, TIME_SCALE ${Math.round(scale)}, ${cpus().length} cores, ${new Date().toISOString().slice(0, 10)}`;
  const of = (prefix: string): readonly Series[] => series.filter(({ name }) => name.startsWith(prefix));
  writeFileSync(join(folder, 'memory.svg'), megabytesOverTime(`Resident memory, MB: ${about}`, of('rss.')));
  writeFileSync(join(folder, 'storage.svg'), megabytesOverTime(`Stored, MB: ${about}`, of('disk.')));
}
