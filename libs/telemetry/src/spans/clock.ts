import { performance } from 'node:perf_hooks';

/** The monotonic clock drifts from system time, and stands still while a machine sleeps. */
const MAX_DRIFT_MS = 50;
let originMs = performance.timeOrigin;

/** Milliseconds since 1970 with fractions, which never go back between two calls of {@link followWallClock}. */
export const epochMs = (): number => epochOf(performance.now());

/** The same of a time that `performance.now()` gave. */
export const epochOf = (sinceStartMs: number): number => originMs + sinceStartMs;

/** Takes system time where that has moved away. Called about once a second. */
export function followWallClock(): void {
  const driftMs = Date.now() - epochMs();
  if (Math.abs(driftMs) > MAX_DRIFT_MS) originMs += driftMs;
}
