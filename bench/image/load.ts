// A whole job: from the queue, out of the store, through the converter, into the store, back to the queue.
import { fork } from 'node:child_process';
import { availableParallelism } from 'node:os';
import path from 'node:path';
import { Quality } from '@sluice/contracts';
import { cpuRows, medianCpu, startCpu, type CpuPerUnit } from '../frame/cpu-meter.ts';
import { besideNoop } from '../frame/noop.ts';
import type { BenchResult, Row } from '../run.ts';
import type { BareLoopRequest } from './bare-loop.ts';
import { corpusFile } from './corpus.ts';
import { openRig, type Rig, type Work } from './rig.ts';

const mix = [
  ['rgb-4mp.png', false],
  ['rgba-4mp.png', false],
  ['jpeg-base-4mp.jpg', false],
  ['page-rgb-8mp.png', false],
  ['gray-4mp.png', false],
  ['rgba-opaque-4mp.png', false],
  ['webp-4mp.webp', false],
  ['rgb-4mp.png', true],
] as const;

const onRig = async (measure: (rig: Rig) => Promise<BenchResult>): Promise<BenchResult> => {
  const rig = await openRig();
  try {
    return await measure(rig);
  } finally {
    await rig.close();
  }
};

/** The memory of the service while it converts a picture that must not be in memory as a whole. */
export const measureMemory = (): Promise<BenchResult> => onRig(async (rig) => ({ rows: [await memoryOf(rig)] }));

/** Throughput of the pipeline against the bare loop, and the event loop's delay. */
export const measureThroughput = (quick: boolean): Promise<BenchResult> =>
  onRig(async (rig) => ({ rows: await throughput(rig, quick) }));

/** Two replicas against one. */
export async function measureScaling(quick: boolean): Promise<BenchResult> {
  if (availableParallelism() < 2 || quick) {
    return { rows: [], notes: ['two replicas against one: only in the full run, on two cores or more'] };
  }
  return onRig(async (rig) => ({ rows: await scaling(rig) }));
}

/** A picture of 100 megapixels, through the service: it must not be in memory as a whole. */
async function memoryOf(rig: Rig): Promise<Row> {
  const [replica] = await rig.start(1);
  const file = await corpusFile('rgb-100mp.png');
  const { failed } = await rig.convert([{ file }], 1);
  if (failed.length > 0) throw new Error(failed.join('\n'));
  const value = (replica?.peakBytes() ?? NaN) / 1e6;
  await rig.stopReplicas();
  return { id: `peak memory of the service, ${file.name} (at most)`, value, unit: 'MB', floor: 180, pass: value < 180 };
}

async function throughput(rig: Rig, quick: boolean): Promise<Row[]> {
  const work = await mixedWork();
  const jobs = quick ? 48 : 160;
  const rounds = quick ? 1 : 3;
  const shares: number[] = [];
  const rates: number[] = [];
  const [replica] = await rig.start(1);
  await rig.convert(work, mix.length * 2);
  const used: CpuPerUnit[] = [];
  for (let round = 0; round < rounds; round++) {
    const bare = jobs / (await bareLoop(work, jobs));
    const cpu = startCpu({ image: replica?.pid ?? 0, broker: rig.brokerPid, load_and_store: process.pid });
    const { seconds, failed } = await rig.convert(work, jobs);
    used.push(cpu(jobs));
    if (failed.length > 0) throw new Error(failed.join('\n'));
    rates.push(jobs / seconds);
    shares.push(jobs / seconds / bare);
  }
  const middle = (values: readonly number[]): number => values.toSorted((a, b) => a - b)[values.length >> 1] ?? NaN;
  const delayMs = ((await replica?.metric('nodejs_eventloop_lag_p99_seconds')) ?? NaN) * 1e3;
  await rig.stopReplicas();
  const share = middle(shares);
  return [
    besideNoop({
      id: 'pipeline, 4 MP mix, against the bare loop',
      value: middle(rates),
      unit: 'images/s',
      ratio: share,
      floor: 0.85,
    }),
    ...cpuRows('pipeline', medianCpu(used), 'picture'),
    {
      id: 'event loop delay p99 while converting (at most)',
      value: delayMs,
      unit: 'ms',
      floor: 50,
      pass: delayMs < 50,
    },
  ];
}

/**
 * One replica and everything under it on one core, against two replicas and everything on two: broker, store and load
 * driver have their share of the cores in both. What a replica's CPU second yields says whether replicas cost each other
 * anything, even when other processes share the machine.
 */
async function scaling(rig: Rig): Promise<Row[]> {
  const work = await mixedWork();
  const jobs = 96;
  const measure = async (count: number, cores: string): Promise<{ perSecond: number; perCpuSecond: number }> => {
    rig.pin(cores);
    // Each replica is sized for a core, as a container with a limit of one would be.
    const replicas = await rig.start(count, { CONCURRENCY: '2', DECODERS: '1' });
    await rig.convert(work, mix.length * 2);
    const cpuMs = (): number => replicas.reduce((sum, replica) => sum + replica.cpuMs(), 0);
    const before = cpuMs();
    const { seconds } = await rig.convert(work, jobs);
    const perCpuSecond = (jobs * 1e3) / (cpuMs() - before);
    await rig.stopReplicas();
    return { perSecond: jobs / seconds, perCpuSecond };
  };
  const one = await measure(1, '0');
  const two = await measure(2, '0,1');
  const ratio = two.perSecond / one.perSecond;
  const efficiency = two.perCpuSecond / one.perCpuSecond;
  return [
    {
      id: 'two replicas on two cores against one on one',
      value: two.perSecond,
      unit: 'images/s',
      ratio,
      floor: 1.8,
      pass: ratio >= 1.8,
    },
    {
      id: 'the same, by the CPU second of the replicas',
      value: two.perCpuSecond,
      unit: 'images',
      ratio: efficiency,
      floor: 0.9,
      pass: efficiency >= 0.9,
    },
  ];
}

export async function mixedWork(): Promise<Work[]> {
  return Promise.all(
    mix.map(async ([name, low]) => ({
      file: await corpusFile(name),
      ...(low && { options: { quality: Quality.LOW } }),
    })),
  );
}

async function bareLoop(work: readonly Work[], jobs: number): Promise<number> {
  const child = fork(path.join(import.meta.dirname, 'bare-loop.ts'), {
    env: { ...process.env, MALLOC_ARENA_MAX: '2' },
  });
  const cores = availableParallelism();
  const request: BareLoopRequest = {
    files: work.map(({ file, options }) => ({ path: file.path, options: options ? { quality: 'low' } : {} })),
    jobs,
    inFlight: 2 * cores,
    decoders: cores,
  };
  child.send(request);
  return new Promise((resolve, reject) => {
    child.once('message', ({ seconds }: { seconds: number }) => resolve(seconds));
    child.once('exit', (code) => reject(new Error(`the bare loop ended with ${code}`)));
  });
}
