// What the gateway's HTTP routes carry, as ratios to the same routes with nothing behind them, measured interleaved
// in one run: pnpm bench gateway [--quick] [--only routes|idle|pace].
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startStack, type Stack } from '@sluice/dev';
import { startSink } from './email/sink-process.ts';
import { cpuRows, medianCpu } from './frame/cpu-meter.ts';
import { besideNoop } from './frame/noop.ts';
import { emailEndToEnd } from './gateway/email-end-to-end.ts';
import { mailPace } from './gateway/pace.ts';
import { requireWrk, wrk, type WrkRequest, type WrkResult } from './http/wrk.ts';
import type { BenchResult, Row } from './run.ts';

const CONNECTIONS = 100;
/** What the system that this one follows published for its HTTP ingest, on a machine of its own. */
const PUBLISHED_INGEST_PER_SECOND = 11_159;
const BULK = 100;
const json = { 'content-type': 'application/json' };

/** The same app with nothing behind it, in a process of its own. */
interface Bare {
  readonly url: string;
  readonly pid: number;
}
type Case = 'bare' | 'ingest' | 'bulk' | 'fixed' | 'job';
type Part = (directory: string, bare: Bare, quick: boolean) => Promise<Row[]>;

/** By the name that `--only` takes. */
const parts: Readonly<Record<string, Part>> = {
  routes,
  idle,
  pace: (directory, { url }, quick) => mailPace(directory, url, quick),
};

function partNamed(name: string): Part {
  const part = parts[name];
  if (part === undefined) throw new RangeError(`--only ${Object.keys(parts).join(', ')}`);
  return part;
}

/** `%d` is a number that no other request of a run has. */
const event = (suffix: string): object => ({
  app_id: 'bench',
  message_id: `m%d${suffix}`,
  event: 'published',
  created_at: '2026-01-01T00:00:00.000Z',
});
const single = (url: string): WrkRequest => ({
  url: `${url}/v1/events`,
  method: 'POST',
  headers: json,
  body: JSON.stringify(event('')),
});
const bulk = (url: string): WrkRequest => ({
  ...single(url),
  body: JSON.stringify({ events: Array.from({ length: BULK }, (_, at) => event(`-${at}`)) }),
});

/** Measures, and says of each figure whether it holds. */
export async function run({ quick, only }: { quick: boolean; only?: string }): Promise<BenchResult> {
  const asked = only === undefined ? Object.values(parts) : [partNamed(only)];
  const directory = mkdtempSync(join(tmpdir(), 'sluice-bench-gateway-'));
  const bare = fork(join(import.meta.dirname, 'gateway/bare.ts'), { stdio: 'inherit', detached: true });
  const [{ url }] = (await once(bare, 'message')) as [{ url: string }];
  try {
    const rows: Row[] = [];
    for (const part of asked) rows.push(...(await part(directory, { url, pid: bare.pid ?? 0 }, quick)));
    return { rows, notes };
  } finally {
    bare.disconnect();
    rmSync(directory, { recursive: true, force: true });
  }
}

const notes = [
  'bare: the same Fastify app, schema, parse and checks, with nothing behind the handler; its own process, interleaved.',
  '1,000 mails/s is more than the machine can send: the gateway and the broker go first there, the rest yields (nice 15, as in `pnpm dev`).',
  'Server, broker and load (wrk) share the cores of one machine: absolute rates are those of all of them together.',
  'Services run with their default settings: metrics and traces are on.',
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
  });

/** One route at a time, as fast as it goes. */
async function routes(directory: string, { url: bareUrl, pid: barePid }: Bare, quick: boolean): Promise<Row[]> {
  requireWrk();
  const stack = await start(directory, ['gateway']);
  const { gateway } = stack.urls;
  const seconds = quick ? 2 : 5;
  const watch = { gateway: stack.services[0]?.pid ?? 0, broker: stack.nats.pid };
  try {
    const cases: Readonly<Record<Case, readonly [WrkRequest, Readonly<Record<string, number>>]>> = {
      bare: [single(bareUrl), { bare: barePid }],
      ingest: [single(gateway), watch],
      bulk: [bulk(gateway), watch],
      fixed: [{ url: `${bareUrl}/v1/static` }, { bare: barePid }],
      job: [{ url: `${gateway}/v1/jobs/${await anyJob(gateway)}` }, watch],
    };
    const seen: Record<Case, WrkResult[]> = { bare: [], ingest: [], bulk: [], fixed: [], job: [] };
    const names = Object.keys(cases) as Case[];
    const loop = (name: Case, forSeconds: number): Promise<WrkResult> =>
      wrk(cases[name][0], { connections: CONNECTIONS, seconds: forSeconds, watch: cases[name][1] });
    for (const name of names) await loop(name, 1);
    for (let round = 0; round < (quick ? 2 : 3); round += 1) {
      for (const name of names) seen[name].push(await loop(name, seconds));
    }
    const rate = (name: Case): number => Math.round(median(seen[name].map(({ perSecond }) => perSecond)));
    const cpu = (name: Case, unit: string): readonly Row[] =>
      cpuRows(`gateway.${name}`, medianCpu(seen[name].map(({ cpuUs }) => cpuUs)), unit);
    const refused = Object.values(seen)
      .flat()
      .reduce((sum, { failed }) => sum + failed, 0);
    const bulkRatio = (rate('bulk') * BULK) / rate('ingest');
    return [
      { id: 'gateway.ingest_bare', value: rate('bare'), unit: 'requests/s', pass: true },
      ...cpu('bare', 'request'),
      besideNoop({
        id: 'gateway.ingest',
        value: rate('ingest'),
        unit: 'requests/s',
        ratio: rate('ingest') / rate('bare'),
        floor: 0.45,
      }),
      ...cpu('ingest', 'event'),
      {
        id: 'gateway.ingest_published',
        value: rate('ingest'),
        unit: `requests/s, published ${PUBLISHED_INGEST_PER_SECOND.toLocaleString('en')}`,
        pass: rate('ingest') >= PUBLISHED_INGEST_PER_SECOND,
      },
      {
        id: 'gateway.ingest_bulk',
        value: rate('bulk') * BULK,
        unit: `events/s, ${BULK} a request`,
        ratio: bulkRatio,
        floor: 4,
        pass: bulkRatio >= 4,
      },
      ...cpu('bulk', `request of ${BULK} events`),
      { id: 'gateway.static', value: rate('fixed'), unit: 'requests/s', pass: true },
      ...cpu('fixed', 'request'),
      besideNoop({
        id: 'gateway.get_job',
        value: rate('job'),
        unit: 'requests/s',
        ratio: rate('job') / rate('fixed'),
        floor: 0.4,
      }),
      ...cpu('job', 'request'),
      { id: 'gateway.refused', value: refused, unit: 'answers', pass: refused === 0 },
    ];
  } finally {
    await stack.stop();
  }
}

/** One mail at a time through the whole system. */
async function idle(directory: string, { url: bareUrl }: Bare, quick: boolean): Promise<Row[]> {
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

function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)] ?? 0;
}
