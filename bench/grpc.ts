// What a gRPC call of the gateway costs, beside a bare Connect server that takes the same message, and how many a second
// it answers. The load comes from ghz: pnpm bench grpc [--quick].
import { fork, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startStack } from '@sluice/dev';
import { cpuRows, medianCpu } from './frame/cpu-meter.ts';
import { besideNoop } from './frame/noop.ts';
import type { CallRun, CallShape } from './grpc/call-shape.ts';
import { findCaller } from './grpc/calls.ts';
import type { BenchOptions, BenchResult, Row } from './run.ts';

/** What the system that this one follows published for its gRPC ingest, on a machine of its own. */
const PUBLISHED_PER_SECOND = 3_538;
/** CPU of a call, as a multiple of the bare server's. */
const CPU_FACTOR = 1.5;
/**
 * A load generator of this bench must be able to do this much more than the gateway answers. Of ghz that is not asked: a
 * call costs it about as much as the gateway.
 */
const LOAD_HEADROOM = 3;
const BULK = 100;
/** `ghz -n 10000 -c 50`, on one connection as ghz does it by itself. */
const SHAPE = { calls: 10_000, concurrency: 50, connections: 1 } as const;

interface Server {
  readonly url: string;
  readonly pid: number;
  stop(): void;
}

async function startServer(file: string): Promise<Server> {
  const child: ChildProcess = fork(join(import.meta.dirname, file), { stdio: 'inherit', detached: true });
  const [{ url }] = (await once(child, 'message')) as [{ url: string }];
  return { url, pid: child.pid ?? 0, stop: () => child.disconnect() };
}

type Case = 'null' | 'echo' | 'bare' | 'ingest' | 'bulk';

/** Measures, and says of each figure whether it holds. */
export async function run({ quick }: BenchOptions): Promise<BenchResult> {
  const dataDirectory = mkdtempSync(join(tmpdir(), 'sluice-bench-grpc-'));
  const caller = findCaller();
  const unread = await startServer('grpc/null-server.ts');
  const echo = await startServer('grpc/echo.ts');
  const bare = await startServer('grpc/bare.ts');
  const stack = await startStack({ dataDirectory, fresh: true, services: ['gateway'] });
  const gateway = { gateway: stack.services[0]?.pid ?? 0, broker: stack.nats.pid };
  const cases: Readonly<Record<Case, readonly [url: string, shape: CallShape]>> = {
    null: [unread.url, { ...SHAPE, events: 1, watch: { null: unread.pid } }],
    echo: [echo.url, { ...SHAPE, events: 1, watch: { echo: echo.pid } }],
    bare: [bare.url, { ...SHAPE, events: 1, watch: { bare: bare.pid } }],
    ingest: [`http://${stack.urls.grpc}`, { ...SHAPE, events: 1, watch: gateway }],
    bulk: [`http://${stack.urls.grpc}`, { ...SHAPE, calls: (2 * SHAPE.calls) / BULK, events: BULK, watch: gateway }],
  };
  const names = Object.keys(cases) as Case[];
  const seen: Record<Case, CallRun[]> = { null: [], echo: [], bare: [], ingest: [], bulk: [] };
  try {
    for (const name of names) {
      const [url, shape] = cases[name];
      await caller.run(url, { ...shape, calls: shape.calls / 4 });
    }
    for (let round = 0; round < (quick ? 1 : 3); round += 1) {
      for (const name of names) seen[name].push(await caller.run(...cases[name]));
    }
  } finally {
    await stack.stop();
    bare.stop();
    echo.stop();
    unread.stop();
    rmSync(dataDirectory, { recursive: true, force: true });
  }
  return { rows: rowsOf(seen, caller.isOwn), notes: [`The load: ${caller.what}.`, ...notes] };
}

function rowsOf(seen: Readonly<Record<Case, readonly CallRun[]>>, isOwnLoad: boolean): readonly Row[] {
  const of = (name: Case, pick: (run: CallRun) => number): number => median(seen[name].map(pick));
  const rate = (name: Case): number => of(name, ({ perSecond }) => perSecond);
  const cpu = (name: Case, unit: string): readonly Row[] =>
    cpuRows(`grpc.${name}`, medianCpu(seen[name].map(({ cpuUs }) => cpuUs)), unit);
  const ofGateway = of('ingest', ({ cpuUs }) => cpuUs['gateway'] ?? NaN);
  const factor = ofGateway / of('echo', ({ cpuUs }) => cpuUs['echo'] ?? NaN);
  const headroom = rate('null') / rate('ingest');
  const failed = Object.values(seen)
    .flat()
    .reduce((sum, run) => sum + run.failed, 0);
  return [
    { id: 'grpc.null', value: rate('null'), unit: 'calls/s', pass: true },
    ...cpu('null', 'call'),
    { id: 'grpc.echo', value: rate('echo'), unit: 'calls/s', pass: true },
    ...cpu('echo', 'call'),
    { id: 'grpc.bare', value: rate('bare'), unit: 'calls/s', pass: true },
    ...cpu('bare', 'call'),
    besideNoop({ id: 'grpc.ingest', value: rate('ingest'), unit: 'calls/s', ratio: rate('ingest') / rate('bare') }),
    {
      id: 'grpc.ingest_published',
      value: rate('ingest'),
      unit: 'calls/s, at least what was published',
      floor: PUBLISHED_PER_SECOND,
      pass: rate('ingest') >= PUBLISHED_PER_SECOND,
    },
    { id: 'grpc.ingest_p50', value: of('ingest', ({ p50Ms }) => p50Ms), unit: 'ms', pass: true },
    { id: 'grpc.ingest_p99', value: of('ingest', ({ p99Ms }) => p99Ms), unit: 'ms', pass: true },
    ...cpu('ingest', 'call'),
    {
      id: 'grpc.ingest_cpu',
      value: ofGateway,
      unit: `µs of CPU a call, at most ${CPU_FACTOR}x of echo`,
      ratio: factor,
      floor: CPU_FACTOR,
      pass: factor <= CPU_FACTOR,
    },
    { id: 'grpc.ingest_bulk', value: rate('bulk') * BULK, unit: `events/s, ${BULK} a call`, pass: true },
    ...cpu('bulk', `call of ${BULK} events`),
    {
      id: 'grpc.load_headroom',
      value: headroom,
      unit: "the rate against a server that reads nothing, as a multiple of the gateway's",
      ...(isOwnLoad ? { floor: LOAD_HEADROOM } : {}),
      pass: !isOwnLoad || headroom >= LOAD_HEADROOM,
    },
    { id: 'grpc.refused', value: failed, unit: 'calls', pass: failed === 0 },
  ];
}

const notes = [
  `${SHAPE.calls.toLocaleString('en')} calls, ${SHAPE.concurrency} at once on one connection; an answer of the gateway means that the event is stored.`,
  "bare: the gateway's own server of calls with nothing behind it. echo: a bare Connect server that takes the same message and counts its events. null: a server that reads no message.",
  'Server, broker and load share the cores of one machine. Services run with their default settings: metrics and traces are on.',
];

function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)] ?? 0;
}
