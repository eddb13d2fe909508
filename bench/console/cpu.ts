import type { Page } from '../../apps/console/tests/browser.ts';

/** What the main thread of a page did. */
export interface MainThread {
  /** The longest task, by the processor time that it took. */
  readonly longestTaskMs: number;
  /** All tasks together. */
  readonly totalMs: number;
}

interface TraceEvent {
  readonly name: string;
  readonly ph: string;
  readonly pid: number;
  readonly tid: number;
  readonly dur?: number;
  /** Microseconds of processor time. */
  readonly tdur?: number;
  readonly args?: { readonly name?: string };
}

const CATEGORIES = ['disabled-by-default-devtools.timeline'];
/** Other events of a trace lie within it. */
const TASK = 'RunTask';

/**
 * Runs something and tells what it cost the page in processor time, which says the same on a machine that is busy: by the
 * clock, a task that waits for the processor is as long as one that works.
 */
export async function onMainThread<T>(page: Page, work: () => Promise<T>): Promise<readonly [T, MainThread]> {
  const browser = page.context().browser();
  if (browser === null) throw new Error('the page has no browser');
  await browser.startTracing(page, { categories: CATEGORIES });
  let result: T;
  let trace: Buffer;
  try {
    result = await work();
  } finally {
    trace = await browser.stopTracing();
  }
  const { traceEvents } = JSON.parse(trace.toString('utf8')) as { traceEvents: readonly TraceEvent[] };
  const mainThreads = new Set(
    traceEvents
      .filter(({ name, args }) => name === 'thread_name' && args?.name === 'CrRendererMain')
      .map(({ pid, tid }) => `${pid} ${tid}`),
  );
  const tasksMs = traceEvents
    .filter(({ name, pid, tid }) => name === TASK && mainThreads.has(`${pid} ${tid}`))
    .map(({ tdur = 0 }) => tdur / 1_000);
  return [result, { longestTaskMs: Math.max(0, ...tasksMs), totalMs: tasksMs.reduce((sum, each) => sum + each, 0) }];
}
