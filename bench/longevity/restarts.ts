import { setTimeout as sleep } from 'node:timers/promises';
import type { ServiceProcess, Stack } from '@sluice/dev';
import type { Series } from './samples.ts';

const READY_POLL_MS = 50;

/** Restarts the parts of a system in turn and measures how long each takes until it is ready again. */
export function startRestarts(
  stack: Stack,
  everyMs: number,
): { readonly parts: readonly string[]; stop(): Promise<readonly Series[]> } {
  const beganMs = performance.now();
  const times = new Map<string, [number, number][]>();
  const stopping = new AbortController();
  const { signal } = stopping;
  const service = async (process: ServiceProcess): Promise<number> => {
    const before = process.pid;
    process.kill('SIGTERM');
    while ((process.pid === before || process.pid === undefined) && !signal.aborted) await sleep(READY_POLL_MS);
    const spawnedMs = performance.now();
    while (process.notReady !== undefined && !signal.aborted) await sleep(READY_POLL_MS);
    return performance.now() - spawnedMs;
  };
  const broker = async (): Promise<number> => {
    const startedMs = performance.now();
    await stack.nats.restart();
    return performance.now() - startedMs;
  };
  const parts: readonly (readonly [string, () => Promise<number>])[] = [
    ...stack.services.map((process) => [process.name, () => service(process)] as const),
    ['nats-server', broker],
  ];
  const running = (async () => {
    for (let turn = 0; !signal.aborted; turn += 1) {
      const dueMs = beganMs + (turn + 1) * everyMs;
      while (performance.now() < dueMs && !signal.aborted) await sleep(READY_POLL_MS);
      if (signal.aborted) return;
      const [name, restart] = parts[turn % parts.length]!;
      const tookMs = await restart();
      // Cut short by the end of the run: no measurement.
      if (signal.aborted) return;
      const points = times.get(name) ?? [];
      points.push([(performance.now() - beganMs) / 1_000, tookMs]);
      times.set(name, points);
    }
  })();
  return {
    parts: parts.map(([name]) => name),
    async stop() {
      stopping.abort();
      await running;
      return [...times].map(([name, points]) => ({ name: `start.${name}`, unit: 'ms', points }));
    },
  };
}
