// Jobs a second and their latency from the request to their end, at rising rates until the system is full, and where the
// time goes: pnpm bench scale [--quick] [--only mails|pictures|no-op|stages].
import { fork, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { jetstreamManager } from '@nats-io/jetstream';
import { connectNats } from '@sluice/messaging';
import { cpuRows, startCpu, type CpuPerUnit } from './frame/cpu-meter.ts';
import type { BenchOptions, BenchResult, Chart, Curve, Row } from './frame/result.ts';
import { bottleneckOf } from './scale/bottleneck.ts';
import type { LoadOrder, LoadReport } from './scale/load-process.ts';
import { stagesOf, type TimelineEvent } from './scale/stages.ts';
import { startSystem, type Shape, type System, type Work } from './scale/system.ts';

/** The load generator must be able to do this much more than the fastest system that it measures. */
const LOAD_HEADROOM = 3;
const FIRST_RATE: Readonly<Record<Work, number>> = { mails: 100, pictures: 20, 'no-op': 200 };
const STEP = 1.5;
/** A rate is kept when so much of it ends in time. */
const KEPT = 0.9;
const MOST_STEPS = 10;

const one = { replicas: 1, brokers: 1, syncAlways: false } as const;
const shapes: readonly Omit<Shape, 'work'>[] = [
  one,
  { ...one, replicas: 2 },
  { ...one, replicas: 4 },
  { ...one, syncAlways: true },
  { ...one, brokers: 3 },
  { ...one, brokers: 3, syncAlways: true },
];
const WORKS: readonly Work[] = ['no-op', 'mails', 'pictures'];

export const endsOnSignal = true;

/** One rate of a system. */
interface Step extends LoadReport {
  readonly asked: number;
  readonly perSecond: number;
  readonly cpu: CpuPerUnit;
  /** Processors taken, by the name of what runs. */
  readonly taken: CpuPerUnit;
}

export async function run({ quick, only, signal }: BenchOptions): Promise<BenchResult> {
  const parts = [...WORKS, 'stages'];
  if (only !== undefined && !parts.includes(only)) throw new RangeError(`--only ${parts.join(', ')}`);
  const rows: Row[] = [];
  const notes: string[] = [];
  const curves = new Map<Work, Curve[]>();
  let fastest = 0;
  for (const work of WORKS) {
    if (only !== undefined && only !== work && only !== 'stages') continue;
    for (const shape of quick || only === 'stages' ? [one] : shapesOf(work)) {
      const name = nameOf({ work, ...shape });
      console.error(`scale: ${name}`);
      const measured = await measure({ work, ...shape }, { quick, stagesOnly: only === 'stages', signal });
      rows.push(...measured.rows);
      notes.push(...measured.notes);
      fastest = Math.max(fastest, ...measured.steps.map(({ perSecond }) => perSecond));
      const points = measured.steps.map((step) => [step.perSecond, step.p99Ms] as const);
      curves.set(work, [...(curves.get(work) ?? []), { name: name.replace(/^[a-z-]+_/, ''), points }]);
    }
  }
  if (fastest > 0) rows.push(await headroom(fastest, quick));
  const charts = [...curves].map(([work, of]): Chart => {
    return {
      id: work,
      title: `${work}: p99 in ms from the request to the end, by jobs/s`,
      xUnit: 'jobs/s',
      curves: of,
    };
  });
  return {
    rows,
    charts,
    notes: [
      ...notes,
      'w: worker processes; R1, R3: one broker or three with every stream on each; sync: each write is on the disk before it is acknowledged.',
      `A rate is kept when ${100 * KEPT} % of it ends in time; rates rise by ${STEP} until one is not. Latency counts from when a job was due.`,
      'no-op: workers that answer at once, so that what is left is what the system itself costs. pictures: a photo of 136 kB, copied into a PDF.',
      'load: a process that asks and waits, a raw connection each; store_and_traces: the object store and the receiver of traces. Everything shares the cores.',
    ],
  };
}

/** Pictures are bound by the processors of the workers: brokers make no difference to them. */
const shapesOf = (work: Work): readonly Omit<Shape, 'work'>[] =>
  work === 'pictures' ? shapes.filter(({ brokers, syncAlways }) => brokers === 1 && !syncAlways) : shapes;

const nameOf = ({ work, replicas, brokers, syncAlways }: Shape): string =>
  `${work}_${replicas}w_R${brokers}${syncAlways ? '_sync' : ''}`;

async function measure(
  shape: Shape,
  { quick, stagesOnly, signal }: { quick: boolean; stagesOnly: boolean; signal: AbortSignal },
): Promise<{ rows: readonly Row[]; notes: readonly string[]; steps: readonly Step[] }> {
  const { work } = shape;
  const system = await startSystem(shape, signal);
  const load: ChildProcess = fork(join(import.meta.dirname, 'scale/load-process.ts'), { stdio: 'inherit' });
  try {
    const order = { gatewayUrl: system.gatewayUrl, natsUrl: system.natsUrl, work, seconds: quick ? 2 : 5 };
    const drainSeconds = quick ? 10 : 30;
    const stepAt = async (perSecond: number): Promise<Step> => {
      signal.throwIfAborted();
      return step(system, load, { ...order, perSecond: Math.round(perSecond), drainSeconds }, signal);
    };
    // Warm: the first jobs pay for compilation and connections.
    await stepAt(FIRST_RATE[work] / 2);
    const id = `scale.${nameOf(shape)}`;
    if (stagesOnly)
      return { rows: await stageRows(work, system, await stepAt(FIRST_RATE[work])), notes: [], steps: [] };
    const storedBefore = await storedMessages(system);
    const first = await stepAt(FIRST_RATE[work]);
    const stored = (await storedMessages(system)) - storedBefore;
    const steps = [first];
    for (let rate = FIRST_RATE[work] * STEP; steps.length < MOST_STEPS && isKept(steps.at(-1)!); rate *= STEP) {
      steps.push(await stepAt(rate));
    }
    const best = steps.toSorted((a, b) => b.perSecond - a.perSecond)[0]!;
    const kept = steps.findLast(isKept) ?? first;
    const isOne = shape.replicas === 1 && shape.brokers === 1 && !shape.syncAlways;
    const lost = steps.reduce((sum, { accepted, ended }) => sum + accepted - ended, 0);
    const sum = Object.values(best.cpu).reduce((all, us) => all + us, 0);
    const cores = availableParallelism();
    const processes = Object.fromEntries(Object.entries(system.processes).map(([name, pids]) => [name, pids.length]));
    const full = bottleneckOf({ taken: best.taken, processes: { ...processes, load: 1 }, cores });
    const plain = (suffix: string, value: number, unit: string): Row => ({ id: id + suffix, value, unit, pass: true });
    return {
      steps,
      notes: [`${nameOf(shape)}: the bottleneck is ${full.what}.`],
      rows: [
        plain('', best.perSecond, 'jobs/s at most'),
        plain('_kept', kept.perSecond, 'jobs/s, the highest rate that was kept'),
        plain('_p50', kept.p50Ms, 'ms from the request to the end, at that rate'),
        plain('_p99', kept.p99Ms, 'ms, the same'),
        plain('_accept_p99', kept.acceptP99Ms, 'ms until the answer, at that rate'),
        plain('_p50_light', first.p50Ms, `ms at ${first.asked} jobs/s`),
        plain('_p99_light', first.p99Ms, `ms at ${first.asked} jobs/s`),
        ...cpuRows(id, best.cpu, 'job at the most'),
        plain('_cpu_per_million', sum, 's of CPU a million jobs, all processes together'),
        plain('_full', full.share, `of what is full: ${full.what}`),
        { id: `${id}_lost`, value: lost, unit: 'accepted jobs without an end', pass: lost === 0 },
        ...(isOne ? [storedRow(work, stored / first.accepted), ...(await stageRows(work, system, first))] : []),
      ],
    };
  } finally {
    if (load.connected) load.disconnect();
    await system.stop();
  }
}

const isKept = ({ asked, perSecond, refused }: Step): boolean => perSecond >= KEPT * asked && refused === 0;

async function step(system: System, load: ChildProcess, order: LoadOrder, signal: AbortSignal): Promise<Step> {
  const watched = { ...system.processes, load: [load.pid ?? 0] };
  const cpu = startCpu(watched);
  const answer = once(load, 'message', { signal }) as Promise<[LoadReport]>;
  load.send(order);
  const [report] = await answer;
  const perSecond = report.ended / report.seconds;
  const used = cpu(Math.max(1, report.ended));
  const taken = Object.fromEntries(Object.entries(used).map(([name, us]) => [name, (us * perSecond) / 1e6]));
  return { ...report, asked: order.perSecond, perSecond, cpu: used, taken };
}

const storedRow = (work: Work, value: number): Row => ({
  id: `scale.${work}_stored`,
  value,
  unit: 'messages stored for a job',
  pass: true,
});

/** What all streams have ever stored. */
async function storedMessages({ natsUrl }: System): Promise<number> {
  const nc = await connectNats({ url: natsUrl, name: 'bench-scale-look' });
  let sum = 0;
  for await (const { state } of (await jetstreamManager(nc)).streams.list()) sum += state.last_seq;
  await nc.close();
  return sum;
}

/** Where the time of a job goes, by the events of some of them. */
async function stageRows(work: Work, { gatewayUrl }: System, { sample }: Step): Promise<readonly Row[]> {
  const timelines = await Promise.all(
    sample.map(async (id) => {
      const answer = await fetch(`${gatewayUrl}/v1/jobs/${id}/events`);
      return ((await answer.json()) as { events: readonly TimelineEvent[] }).events;
    }),
  );
  return stagesOf(timelines).map(({ name, p50Ms, p99Ms }, at) => ({
    id: `scale.${work}_stage_${at + 1}`,
    value: p50Ms,
    unit: `ms p50 until ${name}, p99 ${p99Ms.toFixed(0)}`,
    pass: true,
  }));
}

/** The same generator against a server that reads nothing: what it can do at most. */
async function headroom(fastest: number, quick: boolean): Promise<Row> {
  const server = fork(join(import.meta.dirname, 'scale/null-server.ts'), { stdio: 'inherit' });
  const load = fork(join(import.meta.dirname, 'scale/load-process.ts'), { stdio: 'inherit' });
  try {
    const [{ gatewayUrl, natsUrl }] = (await once(server, 'message')) as [{ gatewayUrl: string; natsUrl: string }];
    const perSecond = Math.ceil(fastest * LOAD_HEADROOM * 1.1);
    const answer = once(load, 'message') as Promise<[LoadReport]>;
    const order: LoadOrder = {
      gatewayUrl,
      natsUrl,
      work: 'no-op',
      perSecond,
      seconds: quick ? 2 : 5,
      drainSeconds: 10,
    };
    load.send(order);
    const [report] = await answer;
    const value = report.ended / report.seconds / fastest;
    return {
      id: 'scale.load_headroom',
      value,
      unit: 'the rate against a server that reads nothing, as a multiple of the fastest system',
      floor: LOAD_HEADROOM,
      pass: value >= LOAD_HEADROOM,
    };
  } finally {
    server.disconnect();
    load.disconnect();
  }
}
