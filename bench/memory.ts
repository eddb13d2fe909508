// The memory of each service at rest and at load, and a run of the whole system with 256 MB for each process:
// pnpm bench memory [--quick] [--only default|small].
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { startStack, type Stack } from '@sluice/dev';
import { bytesOf, containerEnv, holdToLimits, readLimits } from './attacks/memory-limits.ts';
import { requireWrk, wrk } from './http/wrk.ts';
import type { BenchOptions, BenchResult, Row } from './run.ts';

const ROOT = join(import.meta.dirname, '..');
const SMALL = join(ROOT, 'deploy/compose/small.yml');
const MIB = 2 ** 20;
const SETTLE_MS = 5_000;
const LOOK_MS = 100;
const END_MS = 120_000;
const json = { 'content-type': 'application/json' };
const mail = { to: 'user-%d@example.com', template: 'welcome', variables: { name: 'Ada' } };

/** MiB that each process may hold, pages of files not counted: a quarter above what was seen when this was written. */
const CEILINGS: Readonly<Record<string, { readonly rest: number; readonly load: number }>> = {
  gateway: { rest: 210, load: 340 },
  image: { rest: 200, load: 340 },
  email: { rest: 135, load: 220 },
  client: { rest: 100, load: 130 },
  nats: { rest: 40, load: 120 },
};

export const endsOnSignal = true;

export async function run({ quick, only, signal }: BenchOptions): Promise<BenchResult> {
  const parts = { default: atDefault, small } as const;
  if (only !== undefined && !(only in parts)) throw new RangeError(`--only ${Object.keys(parts).join(', ')}`);
  requireWrk();
  const rows: Row[] = [];
  for (const [name, part] of Object.entries(parts)) {
    if (only === undefined || only === name) rows.push(...(await part(quick, signal)));
  }
  return {
    rows,
    notes: [
      'Memory of a process and its children that the kernel cannot take back: pages of files are not counted, as they are not in a container either.',
      'rest: some seconds after the start. load: the most, while mails (100/s), events and pictures come.',
      'small: deploy/compose/small.yml, held by a watch that kills what uses more, as the kernel does in a container.',
    ],
  };
}

const withStack = async <R>(
  options: Omit<Parameters<typeof startStack>[0], 'dataDirectory'>,
  work: (stack: Stack) => Promise<R>,
): Promise<R> => {
  const dataDirectory = mkdtempSync(join(tmpdir(), 'sluice-bench-memory-'));
  const stack = await startStack({ dataDirectory, ...options });
  try {
    return await work(stack);
  } finally {
    await stack.stop();
    rmSync(dataDirectory, { recursive: true, force: true });
  }
};

const processesOf = (stack: Stack): readonly (readonly [name: string, pid: number])[] => [
  ...stack.services.map(({ name, pid = 0 }) => [name, pid] as const),
  ['nats', stack.nats.pid],
];

/** As the services come, with what Node is told in their containers. */
const atDefault = (quick: boolean, signal: AbortSignal): Promise<readonly Row[]> =>
  withStack({ env: containerEnv(), signal }, async (stack) => {
    await sleep(SETTLE_MS, undefined, { signal });
    const rest = new Map(processesOf(stack).map(([name, pid]) => [name, bytesOf(pid)]));
    const most = new Map(rest);
    const look = setInterval(() => {
      for (const [name, pid] of processesOf(stack)) most.set(name, Math.max(most.get(name) ?? 0, bytesOf(pid)));
    }, LOOK_MS);
    const { failed } = await load(stack, quick ? 5 : 30, signal);
    clearInterval(look);
    const rows = [...rest].flatMap(([name, bytes]) => {
      const ceiling = CEILINGS[name];
      return [
        ceilingRow(`memory.${name}_rest`, bytes, ceiling?.rest),
        ceilingRow(`memory.${name}_load`, most.get(name) ?? 0, ceiling?.load),
      ];
    });
    const above = rows.filter(({ pass }) => !pass).length;
    return [
      ...rows,
      { id: 'memory.above_ceiling', value: above, unit: 'of them', pass: above === 0 },
      { id: 'memory.failed', value: failed, unit: 'jobs', pass: failed === 0 },
    ];
  });

const ceilingRow = (id: string, bytes: number, ceiling: number | undefined): Row => ({
  id,
  value: bytes / MIB,
  unit: ceiling === undefined ? 'MiB' : `MiB, at most ${ceiling}`,
  ...(ceiling === undefined ? {} : { ratio: bytes / MIB / ceiling, floor: 1 }),
  pass: ceiling === undefined || bytes / MIB <= ceiling,
});

/** Every process within 256 MB: the same load, and nothing may fail or be killed. */
function small(quick: boolean, signal: AbortSignal): Promise<readonly Row[]> {
  const limits = readLimits(SMALL);
  const env = Object.fromEntries(
    [...limits].map(([name, { environment }]) => [name, { MALLOC_ARENA_MAX: '2', ...environment }]),
  );
  return withStack({ env, restartAfterMs: 250, signal }, async (stack) => {
    const held = holdToLimits(stack, (container) => limits.get(container)?.limitBytes ?? Infinity);
    try {
      const { failed } = await load(stack, quick ? 5 : 30, signal);
      const restarts = stack.services.reduce((sum, service) => sum + service.restarts, 0);
      return [
        ...held.use().map(({ name, mostBytes, limitBytes, killed }): Row => ({
          id: `memory.small_${name}`,
          value: mostBytes / MIB,
          unit: `MiB at most, of ${limitBytes / MIB}`,
          ratio: mostBytes / limitBytes,
          pass: killed === 0,
        })),
        {
          id: 'memory.small_failed',
          value: failed + restarts,
          unit: 'jobs and restarts',
          pass: failed + restarts === 0,
        },
      ];
    } finally {
      held.stop();
    }
  });
}

/** Mails and events through wrk at a pace, pictures one after the other; waits until all jobs have ended. */
async function load(stack: Stack, seconds: number, signal: AbortSignal): Promise<{ readonly failed: number }> {
  const { gateway } = stack.urls;
  const photo = readFileSync(join(ROOT, 'samples/photo.jpg'));
  const scan = readFileSync(join(ROOT, 'samples/scan.png'));
  const ending = new AbortController();
  let pictures = 0;
  let refused = 0;
  const converting = (async (): Promise<void> => {
    while (!ending.signal.aborted) {
      const [body, type] = pictures % 2 === 0 ? [photo, 'image/jpeg'] : [scan, 'image/png'];
      const headers = { 'content-type': type, prefer: 'wait=10' };
      const answer = await fetch(`${gateway}/v1/images`, { method: 'POST', headers, body: new Uint8Array(body) });
      await answer.arrayBuffer();
      if (answer.ok) pictures += 1;
      else refused += 1;
      if (answer.status === 503) await sleep(200);
    }
  })();
  const options = { seconds, watch: {} };
  const post = { method: 'POST', headers: json } as const;
  const event = { app_id: 'bench', message_id: 'm%d', event: 'published' };
  await Promise.all([
    wrk(
      { url: `${gateway}/v1/emails`, ...post, body: JSON.stringify(mail), pauseMs: 40 },
      { connections: 4, ...options },
    ),
    wrk(
      { url: `${gateway}/v1/events`, ...post, body: JSON.stringify(event), pauseMs: 10 },
      { connections: 4, ...options },
    ),
  ]);
  ending.abort();
  await converting;
  const untilMs = performance.now() + END_MS;
  for (;;) {
    signal.throwIfAborted();
    const counts = (await (await fetch(`${gateway}/v1/jobs:counts`)).json()) as Record<string, unknown>;
    const of = (state: string): number => Number(find(counts, state) ?? 0);
    const open = of('accepted') + of('queued') + of('running');
    if (open === 0 && pictures > 0) return { failed: of('failed') };
    if (performance.now() > untilMs) return { failed: of('failed') + open + refused };
    await sleep(500);
  }
}

/** The count of a state, however deep the answer has it. */
function find(value: unknown, state: string): unknown {
  if (typeof value !== 'object' || value === null) return undefined;
  const entry = (value as Record<string, unknown>)[state];
  if (typeof entry === 'number') return entry;
  for (const inner of Object.values(value)) {
    const found = find(inner, state);
    if (found !== undefined) return found;
  }
  return undefined;
}
