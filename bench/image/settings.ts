// Why the service is sized as it is: the same load under other numbers of slots, decoders and threads.
import type { BenchResult, Row } from '../run.ts';
import { mixedWork } from './load.ts';
import { openRig, type Rig } from './rig.ts';

/** What `sizing.ts` chooses on two cores; the baseline that every other row is a ratio to. */
const chosen = { CONCURRENCY: '4', DECODERS: '2', UV_THREADPOOL_SIZE: '4' };
const others: readonly (readonly [name: string, changed: Partial<typeof chosen>])[] = [
  ['2 slots', { CONCURRENCY: '2' }],
  ['3 slots', { CONCURRENCY: '3' }],
  ['8 slots', { CONCURRENCY: '8' }],
  ['1 decoder', { DECODERS: '1' }],
  ['4 decoders', { DECODERS: '4' }],
  ['2 threads in the pool', { UV_THREADPOOL_SIZE: '2' }],
  ['8 threads in the pool', { UV_THREADPOOL_SIZE: '8' }],
];
const JOBS = 48;

interface Seen {
  readonly perSecond: number;
  readonly lagMs: number;
  readonly peakMb: number;
}

/** The 4 MP mix through one replica: images a second, the event loop's delay and the memory, against what is chosen. */
export async function measureSettings(quick: boolean): Promise<BenchResult> {
  if (quick) return { rows: [], notes: ['slots, decoders and threads: only in the full run'] };
  const rig = await openRig();
  try {
    const baseline = await see(rig, chosen);
    const rows: Row[] = [row('4 slots, 2 decoders, 4 threads (chosen)', baseline, baseline)];
    for (const [name, changed] of others) rows.push(row(name, await see(rig, { ...chosen, ...changed }), baseline));
    return { rows };
  } finally {
    await rig.close();
  }
}

async function see(rig: Rig, env: typeof chosen): Promise<Seen> {
  const work = await mixedWork();
  const [replica] = await rig.start(1, env);
  await rig.convert(work, work.length * 2);
  const { seconds, failed } = await rig.convert(work, JOBS);
  if (failed.length > 0) throw new Error(failed.join('\n'));
  const lagMs = ((await replica?.metric('nodejs_eventloop_lag_p99_seconds')) ?? NaN) * 1e3;
  const peakMb = (replica?.peakBytes() ?? NaN) / 1e6;
  await rig.stopReplicas();
  return { perSecond: JOBS / seconds, lagMs, peakMb };
}

const row = (name: string, { perSecond, lagMs, peakMb }: Seen, baseline: Seen): Row => ({
  id: name,
  value: perSecond,
  unit: `images/s; loop p99 ${lagMs.toFixed(0)} ms, peak ${peakMb.toFixed(0)} MB`,
  ratio: perSecond / baseline.perSecond,
  pass: true,
});
