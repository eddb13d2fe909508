import { setTimeout as sleep } from 'node:timers/promises';
import type { ServiceProcess, Stack } from '@sluice/dev';
import { cpuMsOf } from '../processes.ts';
import type { Series } from './samples.ts';

const READY_POLL_MS = 50;
/** What a start takes longer by when something else ran beside it. */
const IGNORED_MS = 500;

/**
 * Restarts the parts of a system in turn and measures how long each takes until it is ready again: by the clock, which says
 * as much of what else the machine does, and by the time of its processors, which is what may not grow.
 */
export function startRestarts(
  stack: Stack,
  everyMs: number,
): { readonly parts: readonly string[]; stop(): Promise<readonly Series[]> } {
  const beganMs = performance.now();
  const times = new Map<string, [number, number][]>();
  const note = (name: string, ms: number): void => {
    const points = times.get(name) ?? [];
    points.push([(performance.now() - beganMs) / 1_000, ms]);
    times.set(name, points);
  };
  const stopping = new AbortController();
  const { signal } = stopping;
  const broker = async (): Promise<Start> => {
    const startedMs = performance.now();
    await stack.nats.restart();
    return { clockMs: performance.now() - startedMs, processorMs: cpuMsOf(stack.nats.pid) };
  };
  const parts: readonly (readonly [string, () => Promise<Start>])[] = [
    ...stack.services.map((process) => [process.name, () => restartService(process, signal)] as const),
    ['nats-server', broker],
  ];
  const running = (async () => {
    for (let turn = 0; !signal.aborted; turn += 1) {
      const dueMs = beganMs + (turn + 1) * everyMs;
      while (performance.now() < dueMs && !signal.aborted) await sleep(READY_POLL_MS);
      if (signal.aborted) return;
      const [name, restart] = parts[turn % parts.length]!;
      const took = await restart();
      // Cut short by the end of the run: no measurement.
      if (signal.aborted) return;
      note(`start.${name}`, took.processorMs);
      note(`start_clock.${name}`, took.clockMs);
      const { processorMs, clockMs } = took;
      console.error(
        `longevity: ${name} started, ${Math.round(processorMs)} ms of CPU, ${Math.round(clockMs)} by the clock`,
      );
    }
  })();
  return {
    parts: parts.map(([name]) => name),
    async stop() {
      stopping.abort();
      await running;
      return [...times].map(([name, points]) => ({
        name,
        unit: 'ms',
        points,
        ignored: IGNORED_MS,
        ...(name.startsWith('start_clock.') ? { mayGrow: true } : {}),
      }));
    },
  };
}

/** How long a start took until the part was ready. */
export interface Start {
  readonly clockMs: number;
  /** Of the processors. */
  readonly processorMs: number;
}

/** Ends a service by SIGTERM and measures its next start. */
export async function restartService(process: ServiceProcess, signal: AbortSignal): Promise<Start> {
  const before = process.pid;
  process.kill('SIGTERM');
  while ((process.pid === before || process.pid === undefined) && !signal.aborted) await sleep(READY_POLL_MS);
  const spawnedMs = performance.now();
  while (process.notReady !== undefined && !signal.aborted) await sleep(READY_POLL_MS);
  return {
    clockMs: performance.now() - spawnedMs,
    processorMs: process.pid === undefined ? NaN : cpuMsOf(process.pid),
  };
}
