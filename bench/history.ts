// What lists and single jobs take with a long history: pnpm bench history [--quick] [--only sqlite|postgres|ledger].
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { findPostgres, startPostgres, startStack, type Stack } from '@sluice/dev';
import { bytesOf, containerEnv, memoryLimit } from './attacks/memory-limits.ts';
import { closedLoop } from './gateway/load.ts';
import { fill, filters } from './history/fill.ts';
import { fillLedger } from './history/fill-ledger.ts';
import { restartService } from './longevity/restarts.ts';
import type { BenchOptions, BenchResult, Row } from './run.ts';

const READY_MS = 2_000;
const LIST_P99_MS = 50;
const COUNTS_P99_MS = 200;
const FACTOR = 2;
const LEDGER_ENTRIES = 1_000_000;
const MIB = 2 ** 20;

interface Plan {
  readonly jobs: number;
  /** Of each load. */
  readonly seconds: number;
  readonly signal: AbortSignal;
}

/** Measures, and says of each figure whether it holds. */
export async function run({ quick, only, signal }: BenchOptions): Promise<BenchResult> {
  const jobs = Number(process.env['HISTORY_JOBS'] ?? (quick ? 50_000 : 2_000_000));
  const seconds = quick ? 2 : 5;
  const rows: Row[] = [];
  const notes = [`${jobs.toLocaleString('en')} jobs of one account; 10 requests at once for single jobs, 1 for lists.`];
  if (only === undefined || only === 'sqlite') {
    const directory = mkdtempSync(join(tmpdir(), 'sluice-bench-history-'));
    try {
      rows.push(
        ...(await measured('sqlite', `sqlite:${join(directory, 'history.sqlite')}`, { jobs, seconds, signal })),
      );
    } finally {
      rmSync(directory, { recursive: true, force: true });
    }
  }
  if (only === undefined || only === 'postgres') {
    const bin = findPostgres();
    if (bin === undefined) notes.push('PostgreSQL was not measured: initdb and postgres are not installed.');
    else {
      const server = await startPostgres(bin);
      try {
        rows.push(...(await measured('postgres', await server.newDatabase(), { jobs, seconds, signal })));
      } finally {
        await server.stop();
      }
    }
  }
  if (only === undefined || only === 'ledger') {
    const entries = quick ? 50_000 : LEDGER_ENTRIES;
    rows.push(...(await withLedger(entries, signal)));
    notes.push(`The ledger: ${entries.toLocaleString('en')} entries of a thousand accounts, charges without a job.`);
  }
  return { rows, notes };
}

/** As in its container, and quiet. */
const gatewayEnv = (): Readonly<Record<string, string>> => ({
  ...containerEnv()['gateway'],
  ALLOWED_HOSTS: 'bench',
  LOG_LEVEL: 'error',
  TRACE_SAMPLE_RATIO: '0',
});

/** A start with a long ledger, and whether the balance that it ends with is right. */
async function withLedger(entries: number, signal: AbortSignal): Promise<Row[]> {
  const dataDirectory = mkdtempSync(join(tmpdir(), 'sluice-bench-ledger-'));
  const stack = await startStack({
    dataDirectory,
    services: ['gateway'],
    env: {
      gateway: { ...gatewayEnv(), CREDITS: 'on' },
    },
  });
  try {
    const gateway = stack.services[0]!;
    const written = await fillLedger(stack.urls.nats, entries, 'local');
    const { clockMs: readyMs, processorMs } = await restartService(gateway, signal);
    const answer = await fetch(`${stack.urls.gateway}/v1/accounts/me`);
    const { credits } = (await answer.json()) as { credits?: { balance: number } };
    const balance = credits?.balance ?? Number.NaN;
    return [
      { id: 'ledger.ready', value: readyMs, unit: `ms, at most ${READY_MS}`, pass: readyMs <= READY_MS },
      { id: 'ledger.ready_processor', value: processorMs, unit: 'ms of the processors', pass: true },
      { id: 'ledger.balance', value: balance, unit: `credits, ${written} written`, pass: balance === written },
      memoryRow('ledger.gateway_memory', gateway.pid ?? 0),
    ];
  } finally {
    await stack.stop();
    rmSync(dataDirectory, { recursive: true, force: true });
  }
}

async function measured(name: string, url: string, { jobs, seconds, signal }: Plan): Promise<Row[]> {
  const perSecond = await fill(url, jobs);
  const dataDirectory = mkdtempSync(join(tmpdir(), 'sluice-bench-history-stack-'));
  const stack = await startStack({
    dataDirectory,
    services: ['gateway'],
    env: {
      gateway: { ...gatewayEnv(), READ_MODEL_URL: url },
    },
  });
  try {
    const gateway = stack.services[0]!;
    // The first start makes the streams: a start with a long history is a restart.
    const { clockMs: readyMs, processorMs } = await restartService(gateway, signal);
    return [
      { id: `${name}.filled`, value: perSecond, unit: 'jobs/s', pass: true },
      { id: `${name}.ready`, value: readyMs, unit: `ms, at most ${READY_MS}`, pass: readyMs <= READY_MS },
      { id: `${name}.ready_processor`, value: processorMs, unit: 'ms of the processors', pass: true },
      ...(await underLoad(name, stack, seconds)),
      memoryRow(`${name}.gateway_memory`, gateway.pid ?? 0),
    ];
  } finally {
    await stack.stop();
    rmSync(dataDirectory, { recursive: true, force: true });
  }
}

async function underLoad(name: string, stack: Stack, seconds: number): Promise<Row[]> {
  const { gateway } = stack.urls;
  const mail = { to: 'ada@example.com', template: 'welcome', variables: { name: 'Ada' } };
  const headers = { 'content-type': 'application/json' };
  const answer = await fetch(`${gateway}/v1/emails`, { method: 'POST', headers, body: JSON.stringify(mail) });
  const { id } = (await answer.json()) as { id: string };
  const single = { method: 'GET', path: `/v1/jobs/${id}` };
  const singles = () => closedLoop(gateway, single, { connections: 10, seconds });
  const lists = (query: string) =>
    closedLoop(gateway, { method: 'GET', path: `/v1/jobs?limit=50&${query}` }, { connections: 1, seconds });

  await singles();
  const idle = await singles();
  const rows: Row[] = [{ id: `${name}.job_idle_p99`, value: idle.p99Ms, unit: 'ms', pass: isAll(idle.statuses) }];
  for (const [filter, query] of Object.entries(filters)) {
    const { p99Ms, statuses } = await lists(query);
    rows.push(limited(`${name}.list_${filter}_p99`, p99Ms, LIST_P99_MS, isAll(statuses)));
  }
  const counts = await closedLoop(gateway, { method: 'GET', path: '/v1/jobs:counts' }, { connections: 1, seconds });
  rows.push(limited(`${name}.counts_p99`, counts.p99Ms, COUNTS_P99_MS, isAll(counts.statuses)));
  // The filter that once went through every job of the account.
  const [busy, list] = await Promise.all([singles(), lists(filters['state'] ?? '')]);
  return [
    ...rows,
    {
      id: `${name}.job_p99_beside_lists`,
      value: busy.p99Ms,
      unit: `ms, at most ${FACTOR}x idle`,
      ratio: busy.p99Ms / idle.p99Ms,
      pass: busy.p99Ms <= FACTOR * idle.p99Ms && isAll(busy.statuses) && isAll(list.statuses),
    },
    { id: `${name}.list_p99_beside_jobs`, value: list.p99Ms, unit: 'ms', pass: isAll(list.statuses) },
  ];
}

const limited = (id: string, value: number, limit: number, isRight: boolean): Row => ({
  id,
  value,
  unit: `ms, at most ${limit}`,
  pass: isRight && value <= limit,
});

const isAll = (statuses: Readonly<Record<string, number>>): boolean => Object.keys(statuses).join() === '200';

/** What the gateway takes of the memory of its container. */
function memoryRow(id: string, pid: number): Row {
  const limit = memoryLimit('gateway');
  const bytes = bytesOf(pid);
  return { id, value: bytes / MIB, unit: `MiB of ${limit / MIB}`, ratio: bytes / limit, pass: bytes < limit };
}
