import { writeFileSync } from 'node:fs';
import { setPriority } from 'node:os';

/**
 * How much what works on accepted jobs yields to what answers clients, which needs a processor for a millisecond, now.
 * A thirtieth of the weight: less, and a full machine might keep it from telling the broker that it is alive.
 */
export const WORK_NICENESS = 15;

/**
 * Lets a process that was just started yield to the others of this machine, as `nice` does: 0 to 19, the higher the
 * more it yields. Linux schedules every session as a group of its own (`sched_autogroup_enabled`), where the niceness
 * of a process counts among its own session alone, so the group's is set as well. Failing costs nothing but speed.
 */
export function yieldToOthers(pid: number, niceness: number): void {
  try {
    setPriority(pid, niceness);
    writeFileSync(`/proc/${pid}/autogroup`, String(niceness));
  } catch {
    // Gone already, or a system without groups.
  }
}
