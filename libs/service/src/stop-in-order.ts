import { setTimeout as sleep } from 'node:timers/promises';

/** One part of a process that is being stopped. */
export interface StopStep {
  /** What is not done when it does not end: goes into the log line. */
  readonly what: string;
  /** May return what it could not do. */
  readonly stop: () => unknown;
}

/** Every step gets this long, also when the time is over: closing a socket needs no more, and the log must be written. */
const LEAST_MS = 500;

/**
 * Stops the parts of a process one after the other, all of them within `limitMs` and half a second for each. A part that
 * does not end in time, or throws, keeps no other from ending.
 *
 * Returns what was not done.
 */
export async function stopInOrder(limitMs: number, steps: readonly StopStep[]): Promise<readonly string[]> {
  const endMs = performance.now() + limitMs;
  const notDone: string[] = [];
  for (const { what, stop } of steps) {
    const timer = new AbortController();
    const leftMs = Math.max(LEAST_MS, endMs - performance.now());
    const ended = Promise.resolve()
      .then(stop)
      .then(
        (result) => (Array.isArray(result) ? result.map(String) : []),
        (error: unknown) => [`${what}: ${error instanceof Error ? error.message : String(error)}`],
      );
    const late = sleep(leftMs, [`${what}: not within ${Math.round(leftMs)} ms`], { signal: timer.signal });
    notDone.push(...(await Promise.race([ended, late])));
    late.catch(() => undefined);
    timer.abort();
  }
  return notDone;
}
