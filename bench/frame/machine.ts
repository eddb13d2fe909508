import { cpus, totalmem } from 'node:os';
import { machineBusyMs, treeMsOf } from '../processes.ts';

/** What the figures were taken on, in one line. */
export function machine(): string {
  const [cpu] = cpus();
  return (
    `${cpus().length} x ${cpu?.model.trim() ?? 'unknown CPU'}, ${Math.round(totalmem() / 2 ** 30)} GiB, ` +
    `${process.platform} ${process.arch}, Node ${process.versions.node}`
  );
}

export const today = (): string => new Date().toISOString().slice(0, 10);

/**
 * Reads from now on how many processors were taken by work that is not of this process nor of any that it has started. On
 * a quiet machine next to none; with more, no time and no rate says anything.
 */
export function startOtherWork(): () => number {
  const beganMs = performance.now();
  const busyMs = machineBusyMs();
  const ownMs = treeMsOf(process.pid);
  return () => (machineBusyMs() - busyMs - (treeMsOf(process.pid) - ownMs)) / (performance.now() - beganMs);
}

/** More than this of one processor, and the machine was not quiet. */
export const QUIET_PROCESSORS = 0.15;
