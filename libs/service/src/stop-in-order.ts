import { setTimeout as sleep } from 'node:timers/promises';

/** One part of a process that is being stopped. */
export interface StopStep {
  /** What is not done when it does not end: goes into the log line. */
  readonly what: string;
  /** May return what it could not do. */
  readonly stop: () => unknown;
}

/** How much longer than its limit stopping may take: the steps that are left when the limit is over share it. */
export const STOP_GRACE_MS = 3_000;

/**
 * Stops the parts of a process one after the other, all of them within `limitMs` and `STOP_GRACE_MS`. A part that does
 * not end in time, or throws, keeps no other from ending.
 *
 * However many steps hang, the total is bounded: `runService` ends a process by force that takes longer, and then neither
 * the log line of what was not done nor the last spans are written.
 *
 * Returns what was not done.
 */
export async function stopInOrder(limitMs: number, steps: readonly StopStep[]): Promise<readonly string[]> {
  const endMs = performance.now() + limitMs;
  const notDone: string[] = [];
  for (const [done, { what, stop }] of steps.entries()) {
    const timer = new AbortController();
    const now = performance.now();
    // Closing a socket needs no more than its share, so the later steps are tried too.
    const shareMs = Math.max(0, endMs + STOP_GRACE_MS - now) / (steps.length - done);
    const leftMs = Math.max(endMs - now, shareMs);
    const ended = Promise.resolve()
      .then(stop)
      .then(
        (result) => (Array.isArray(result) ? result.filter((each) => typeof each === 'string') : []),
        (error: unknown) => [`${what}: ${error instanceof Error ? error.message : String(error)}`],
      );
    const late = sleep(leftMs, [`${what}: not within ${Math.round(leftMs)} ms`], { signal: timer.signal });
    notDone.push(...(await Promise.race([ended, late])));
    late.catch(() => undefined);
    timer.abort();
  }
  return notDone;
}
