// What the gateway's HTTP routes carry, as ratios to the same routes with nothing behind them, measured interleaved
// in one run: pnpm bench gateway [--quick] [--only routes|idle|pace].
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startStack, type Stack } from '@sluice/dev';
import { startSink } from './email/sink-process.ts';
import { closedLoop, type LoadRequest, type LoadResult } from './gateway/load.ts';
import { emailEndToEnd } from './gateway/email-end-to-end.ts';
import { mailPace } from './gateway/pace.ts';
import type { BenchResult, Row } from './run.ts';

const CONNECTIONS = 100;
/** What the system that this one follows published for its HTTP ingest, on a machine of its own. */
const PUBLISHED_INGEST_PER_SECOND = 11_159;
const BULK = 100;
const json = { 'content-type': 'application/json' };

type Part = (directory: string, bareUrl: string, quick: boolean) => Promise<Row[]>;

/** By the name that `--only` takes. */
const parts: Readonly<Record<string, Part>> = { routes, idle, pace: mailPace };

function partNamed(name: string): Part {
  const part = parts[name];
  if (part === undefined) throw new RangeError(`--only ${Object.keys(parts).join(', ')}`);
  return part;
}

let count = 0;
const event = (): object => ({
  app_id: 'bench',
  message_id: `m${(count += 1)}`,
  event: 'published',
  created_at: '2026-01-01T00:00:00.000Z',
});
const single: LoadRequest = { method: 'POST', path: '/v1/events', headers: json, body: () => JSON.stringify(event()) };
const bulk: LoadRequest = {
  ...single,
  body: () => JSON.stringify({ events: Array.from({ length: BULK }, event) }),
};
const fixed: LoadRequest = { method: 'GET', path: '/v1/static' };

/** Measures, and says of each figure whether it holds. */
export async function run({ quick, only }: { quick: boolean; only?: string }): Promise<BenchResult> {
  const asked = only === undefined ? Object.values(parts) : [partNamed(only)];
  const directory = mkdtempSync(join(tmpdir(), 'sluice-bench-gateway-'));
  const bare = fork(join(import.meta.dirname, 'gateway/bare.ts'), { stdio: 'inherit', detached: true });
  const [{ url: bareUrl }] = (await once(bare, 'message')) as [{ url: string }];
  try {
    const rows: Row[] = [];
    for (const part of asked) rows.push(...(await part(directory, bareUrl, quick)));
    return { rows, notes };
  } finally {
    bare.disconnect();
    rmSync(directory, { recursive: true, force: true });
  }
}

const notes = [
  'bare: the same Fastify app, schema, parse and checks, with nothing behind the handler; its own process, interleaved.',
  '1,000 mails/s is more than the machine can send: the gateway and the broker go first there, the rest yields (nice 15, as in `pnpm dev`).',
  'Server, broker and load share the cores of one machine: absolute rates are those of all of them together.',
];

const start = (
  dataDirectory: string,
  services: readonly ('gateway' | 'email' | 'client')[],
  smtpUrls?: string,
): Promise<Stack> =>
  startStack({
    dataDirectory,
    fresh: true,
    services,
    ...(smtpUrls === undefined ? {} : { smtpUrls }),
    env: { '*': { LOG_LEVEL: 'error', TRACE_SAMPLE_RATIO: '0' }, email: { CONCURRENCY: '64' } },
  });

/** One route at a time, as fast as it goes. */
async function routes(directory: string, bareUrl: string, quick: boolean): Promise<Row[]> {
  const stack = await start(directory, ['gateway']);
  const { gateway } = stack.urls;
  const seconds = quick ? 2 : 5;
  const loop = (url: string, request: LoadRequest): Promise<LoadResult> =>
    closedLoop(url, request, { connections: CONNECTIONS, seconds });
  try {
    const job: LoadRequest = { method: 'GET', path: `/v1/jobs/${await anyJob(gateway)}` };
    for (const [url, request] of [
      [bareUrl, single],
      [gateway, single],
      [gateway, bulk],
      [gateway, job],
    ] as const) {
      await closedLoop(url, request, { connections: CONNECTIONS, seconds: 1 });
    }
    const rounds: Record<'bare' | 'ingest' | 'bulk' | 'fixed' | 'job', number>[] = [];
    let refused = 0;
    for (let round = 0; round < (quick ? 2 : 3); round += 1) {
      const bareRun = await loop(bareUrl, single);
      const ingest = await loop(gateway, single);
      const bulkRun = await loop(gateway, bulk);
      const fixedRun = await loop(bareUrl, fixed);
      const jobRun = await loop(gateway, job);
      refused += [ingest, bulkRun].reduce((sum, run) => sum + others(run, '202'), 0) + others(jobRun, '200');
      rounds.push({
        bare: bareRun.perSecond,
        ingest: ingest.perSecond,
        bulk: bulkRun.perSecond * BULK,
        fixed: fixedRun.perSecond,
        job: jobRun.perSecond,
      });
    }
    const of = (pick: (round: (typeof rounds)[number]) => number): number => median(rounds.map(pick));
    const ratio = (id: string, value: number, unit: string, ratio: number, floor: number): Row => ({
      id,
      value: Math.round(value),
      unit,
      ratio,
      floor,
      pass: ratio >= floor,
    });
    const ingest = of((round) => round.ingest);
    return [
      { id: 'gateway.ingest_bare', value: Math.round(of((round) => round.bare)), unit: 'requests/s', pass: true },
      ratio(
        'gateway.ingest',
        ingest,
        'requests/s',
        of((round) => round.ingest / round.bare),
        0.45,
      ),
      {
        id: 'gateway.ingest_published',
        value: Math.round(ingest),
        unit: `requests/s, published ${PUBLISHED_INGEST_PER_SECOND.toLocaleString('en')}`,
        pass: ingest >= PUBLISHED_INGEST_PER_SECOND,
      },
      ratio(
        'gateway.ingest_bulk',
        of((round) => round.bulk),
        `events/s, ${BULK} a request`,
        of((round) => round.bulk / round.ingest),
        4,
      ),
      { id: 'gateway.static', value: Math.round(of((round) => round.fixed)), unit: 'requests/s', pass: true },
      ratio(
        'gateway.get_job',
        of((round) => round.job),
        'requests/s',
        of((round) => round.job / round.fixed),
        0.4,
      ),
      { id: 'gateway.refused', value: refused, unit: 'answers', pass: refused === 0 },
    ];
  } finally {
    await stack.stop();
  }
}

/** One mail at a time through the whole system. */
async function idle(directory: string, bareUrl: string, quick: boolean): Promise<Row[]> {
  const sink = await startSink('embedded');
  const stack = await start(directory, ['gateway', 'email'], `smtp://127.0.0.1:${sink.port}`);
  try {
    return await emailEndToEnd(stack, { bareUrl, smtpPort: sink.port, rounds: quick ? 2 : 5, perRound: 100 });
  } finally {
    await stack.stop();
    sink.stop();
  }
}

/** A job that has ended and stays. */
async function anyJob(gateway: string): Promise<string> {
  const body = JSON.stringify({ to: 'ada@example.com', template: 'welcome', variables: { name: 'Ada' } });
  const answer = await fetch(`${gateway}/v1/emails`, { method: 'POST', headers: json, body });
  if (answer.status !== 202) throw new Error(`no job to read: HTTP ${answer.status} ${await answer.text()}`);
  const { id } = (await answer.json()) as { id: string };
  const cancelled = await fetch(`${gateway}/v1/jobs/${id}`, { method: 'DELETE' });
  if (cancelled.status !== 202) throw new Error(`the job was not cancelled: HTTP ${cancelled.status}`);
  return id;
}

const others = ({ statuses }: LoadResult, ...meant: readonly string[]): number =>
  Object.entries(statuses).reduce((sum, [status, seen]) => sum + (meant.includes(status) ? 0 : seen), 0);

function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)] ?? 0;
}
