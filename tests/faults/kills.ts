import { setTimeout as sleep } from 'node:timers/promises';
import type { ServiceProcess } from '@sluice/dev';
import { until } from '../e2e/gateway-client.ts';

/** Numbers of 0 up to 1 that are the same for the same seed (mulberry32). */
export function seededRandom(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** One kill in so many hits the process while it starts, the others while it answers. */
const STARTING = 4;
const START_MS = 1_500;
const LONGEST_LIFE_MS = 2_500;
/** About how long a burst of requests takes to be answered on a busy machine: it is killed somewhere in there. */
const BURST_MS = 30;

/**
 * Kills a service with SIGKILL that many times, at random points of its life, its start included; resolves when it is
 * ready again after the last. The launcher of the service starts it again. `burst` is called before each kill, for
 * requests that it shall find half done: at an even pace most kills would find none.
 */
export async function killAtRandom(
  service: ServiceProcess,
  times: number,
  { random, burst }: { readonly random: () => number; readonly burst: () => void },
): Promise<void> {
  for (let kill = 1; kill <= times; kill += 1) {
    if (kill % STARTING === 0) {
      await sleep(random() * START_MS);
    } else {
      await untilReady(service);
      await sleep(random() * LONGEST_LIFE_MS);
    }
    burst();
    await sleep(random() * BURST_MS);
    const killed = service.pid;
    service.kill('SIGKILL');
    await until('another process is there', () => service.pid !== undefined && service.pid !== killed);
  }
  await untilReady(service);
}

/** Resolves when the service says that it can work. */
export const untilReady = (service: ServiceProcess): Promise<void> =>
  until(
    `${service.name} is ready`,
    async () =>
      await fetch(`${service.opsUrl}/readyz`, { signal: AbortSignal.timeout(2_000) }).then(
        async (answer) => {
          await answer.body?.cancel();
          return answer.ok;
        },
        () => false,
      ),
  );
