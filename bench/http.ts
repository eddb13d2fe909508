// What the gateway's HTTP costs in CPU, beside a plain Fastify server with the same validation. The load comes from wrk:
// pnpm bench http [--quick] [--only frame|gateway].
import { fork, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startStack } from '@sluice/dev';
import { requireWrk, wrk, type WrkRequest, type WrkResult } from './http/wrk.ts';
import type { BenchOptions, BenchResult, Row } from './run.ts';

const CONNECTIONS = 100;
const json = { 'content-type': 'application/json' };
/** CPU per request, as multiples of the plain route's. */
const LIMITS = { frame: 1.5, ingest: 2, job: 2, jobP99Ms: 10 } as const;
/** The load generator must be able to do this much more than the fastest server that it measures. */
const LOAD_HEADROOM = 3;
/** Events that are projected while a job is read. */
const PROJECTED = 100_000;
const PER_BULK = 1_000;
/** With the pause of each connection, at most 5,000 requests a second. */
const PACED = { connections: 100, pauseMs: 20 } as const;

interface Server {
  readonly url: string;
  readonly unreadUrl?: string;
  readonly pid: number;
  stop(): void;
}

async function startServer(file: string): Promise<Server> {
  const child: ChildProcess = fork(join(import.meta.dirname, file), { stdio: 'inherit', detached: true });
  const [said] = (await once(child, 'message')) as [{ url: string; unreadUrl?: string }];
  return { ...said, pid: child.pid ?? 0, stop: () => child.disconnect() };
}

const event = (url: string): WrkRequest => ({
  url: `${url}/v1/events`,
  method: 'POST',
  headers: json,
  body: JSON.stringify({
    app_id: 'bench',
    message_id: 'm%d',
    event: 'published',
    created_at: '2026-01-01T00:00:00.000Z',
  }),
});

/** What is measured, by the name of its rows. */
type Case = readonly [id: string, request: WrkRequest, watch: Readonly<Record<string, number>>];

export async function run({ quick, only = 'frame,gateway' }: BenchOptions): Promise<BenchResult> {
  requireWrk();
  const parts = only.split(',');
  const unknown = parts.find((part) => part !== 'frame' && part !== 'gateway');
  if (unknown !== undefined) throw new RangeError('--only frame or gateway');
  const seconds = quick ? 2 : 6;
  const rounds = quick ? 2 : 5;
  const plain = await startServer('http/plain.ts');
  const bare = await startServer('gateway/bare.ts');
  const directory = mkdtempSync(join(tmpdir(), 'sluice-bench-http-'));
  const stack = parts.includes('gateway')
    ? await startStack({ dataDirectory: directory, fresh: true, services: ['gateway', 'email'] })
    : undefined;
  try {
    const cases: Case[] = [
      ['unread', { url: `${plain.unreadUrl ?? ''}/` }, { server: plain.pid }],
      ['plain_get', { url: `${plain.url}/v1/static` }, { server: plain.pid }],
      ['plain_post', event(plain.url), { server: plain.pid }],
    ];
    if (parts.includes('frame')) {
      cases.push(['frame_get', { url: `${bare.url}/v1/static` }, { server: bare.pid }]);
      cases.push(['frame_post', event(bare.url), { server: bare.pid }]);
    }
    let jobUrl = '';
    if (stack !== undefined) {
      const { gateway } = stack.urls;
      jobUrl = `${gateway}/v1/jobs/${await someJob(gateway)}`;
      const watch = {
        server: stack.services.find(({ service }) => service === 'gateway')?.pid ?? 0,
        broker: stack.nats.pid,
      };
      cases.push(['ingest', event(gateway), watch]);
      cases.push(['get_job', { url: jobUrl }, watch]);
    }
    const options = { connections: CONNECTIONS, seconds };
    const seen = new Map<string, WrkResult[]>(cases.map(([id]) => [id, []]));
    for (const [, request, watch] of cases) await wrk(request, { ...options, seconds: quick ? 2 : 4, watch });
    for (let round = 0; round < rounds; round += 1) {
      for (const [id, request, watch] of cases) seen.get(id)?.push(await wrk(request, { ...options, watch }));
    }
    const of = (id: string, pick: (result: WrkResult) => number): number => median((seen.get(id) ?? []).map(pick));
    const serverUs = (id: string): number => of(id, ({ cpuUs }) => cpuUs['server'] ?? 0);
    const rows: Row[] = [];
    for (const [id] of cases) {
      const limit = id.startsWith('frame') ? LIMITS.frame : id === 'ingest' ? LIMITS.ingest : LIMITS.job;
      const peer = id === 'frame_get' || id === 'get_job' ? 'plain_get' : 'plain_post';
      const compared = id !== 'unread' && !id.startsWith('plain');
      const ratio = round(serverUs(id) / serverUs(peer));
      rows.push({
        id: `http.${id}`,
        value: round(serverUs(id)),
        unit: `µs of CPU a request${compared ? `, at most ${limit}x of ${peer}` : ''}`,
        ...(compared ? { ratio, floor: limit } : {}),
        pass: !compared || ratio <= limit,
      });
      rows.push({
        id: `http.${id}_rate`,
        value: Math.round(of(id, (r) => r.perSecond)),
        unit: 'requests/s',
        pass: true,
      });
      rows.push({
        id: `http.${id}_load`,
        value: round(of(id, (r) => r.cpuUs.wrk)),
        unit: 'µs of CPU of wrk',
        pass: true,
      });
    }
    const headroom = round(of('unread', (r) => r.perSecond) / of('plain_get', (r) => r.perSecond));
    rows.push({
      id: 'http.load_headroom',
      value: headroom,
      unit: `the rate of wrk against a server that reads nothing, as a multiple of plain_get's`,
      floor: LOAD_HEADROOM,
      pass: headroom >= LOAD_HEADROOM,
    });
    const failed = [...seen.values()].flat().reduce((sum, result) => sum + result.failed, 0);
    rows.push({ id: 'http.failed', value: failed, unit: 'answers', pass: failed === 0 });
    if (stack !== undefined) {
      rows.push({
        id: 'http.ingest_broker',
        value: round(of('ingest', ({ cpuUs }) => cpuUs['broker'] ?? 0)),
        unit: 'µs of CPU of the broker an event',
        pass: true,
      });
      rows.push(...(await pacedReads(stack.urls.gateway, jobUrl, quick)));
    }
    return { rows, notes };
  } finally {
    plain.stop();
    bare.stop();
    await stack?.stop();
    rmSync(directory, { recursive: true, force: true });
  }
}

const notes = [
  `CPU is user and system time of the process with its threads, per request, median of the rounds; ${CONNECTIONS} connections, closed loop, load and servers on the same cores.`,
  "plain: Fastify with one route and the same validation. frame: the gateway's own hooks, checks and routes with nothing behind them. ingest: an event stored by the broker before it is answered.",
  'Services run with the settings of `pnpm dev`: traces and metrics are on.',
];

/** A job is read at a steady pace: with nothing else to do, and while events are projected in the same process. */
async function pacedReads(gateway: string, url: string, quick: boolean): Promise<Row[]> {
  const seconds = quick ? 3 : 10;
  const paced = (): Promise<WrkResult> =>
    wrk({ url, pauseMs: PACED.pauseMs }, { connections: PACED.connections, seconds, watch: {} });
  const alone = await paced();
  const writing = writeEvents(gateway, quick ? PROJECTED / 10 : PROJECTED);
  const beside = await paced();
  await writing;
  return [['paced_job', alone] as const, ['paced_job_projecting', beside] as const].map(
    ([id, { p99Ms, perSecond }]) => ({
      id: `http.${id}_p99`,
      value: round(p99Ms),
      unit: `ms at ${Math.round(perSecond).toLocaleString('en')} reads/s, at most ${LIMITS.jobP99Ms}`,
      floor: LIMITS.jobP99Ms,
      pass: p99Ms <= LIMITS.jobP99Ms,
    }),
  );
}

async function writeEvents(gateway: string, count: number): Promise<void> {
  for (let sent = 0; sent < count; sent += PER_BULK) {
    const events = Array.from({ length: PER_BULK }, (_, n) => ({
      app_id: 'bench',
      message_id: `bulk${sent + n}`,
      event: 'published',
    }));
    const answer = await fetch(`${gateway}/v1/events`, {
      method: 'POST',
      headers: json,
      body: JSON.stringify({ events }),
    });
    if (answer.status !== 202) throw new Error(`events were refused: HTTP ${answer.status} ${await answer.text()}`);
  }
}

/** A job that has ended and stays. */
async function someJob(gateway: string): Promise<string> {
  const body = JSON.stringify({ to: 'ada@example.com', template: 'welcome', variables: { name: 'Ada' } });
  const headers = { ...json, prefer: 'wait=20' };
  const answer = await fetch(`${gateway}/v1/emails`, { method: 'POST', headers, body });
  const job = (await answer.json()) as { id: string; state: string };
  if (job.state !== 'succeeded') throw new Error(`no job to read: HTTP ${answer.status} ${JSON.stringify(job)}`);
  return job.id;
}

const round = (value: number): number => Math.round(value * 100) / 100;

function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)] ?? 0;
}
