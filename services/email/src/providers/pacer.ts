import { setTimeout as sleep } from 'node:timers/promises';

/** Waits for the caller's turn; an aborted wait ends at once. */
export type Pacer = (signal: AbortSignal) => Promise<void>;

/** What a pacer needs of time. */
export interface PacerClock {
  readonly now: () => number;
  readonly wait: (ms: number, signal: AbortSignal) => Promise<void>;
}

const realClock: PacerClock = {
  now: () => performance.now(),
  wait: (ms, signal) => sleep(ms, undefined, { signal }).catch(() => undefined),
};

/**
 * Spaces calls evenly: a provider that takes 50 a second gets one every 20 ms, never 50 at once. Without a limit no caller
 * waits.
 */
export function createPacer(perSecond: number | undefined, clock: PacerClock = realClock): Pacer {
  if (perSecond === undefined) return () => Promise.resolve();
  const gapMs = 1_000 / perSecond;
  let nextMs = 0;
  return async (signal) => {
    const nowMs = clock.now();
    const turnMs = Math.max(nowMs, nextMs);
    nextMs = turnMs + gapMs;
    if (turnMs > nowMs) await clock.wait(turnMs - nowMs, signal);
  };
}
