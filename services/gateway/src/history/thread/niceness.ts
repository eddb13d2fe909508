import { readlinkSync } from 'node:fs';
import { getPriority, setPriority } from 'node:os';
import { basename } from 'node:path';

/** A third of the processor time of the thread that answers clients, where both want all of it. */
const NICER_BY = 5;
const MOST = 19;

/**
 * Schedules the thread that calls it behind the others of its process: lists may fall behind on a machine that is full,
 * answers may not. Linux has a niceness for each thread; elsewhere nothing happens.
 */
export function yieldToAnswers(): void {
  try {
    const thread = Number(basename(readlinkSync('/proc/thread-self')));
    setPriority(thread, Math.min(MOST, getPriority() + NICER_BY));
  } catch {
    // No such file, or no such permission: the machine is only slower.
  }
}
