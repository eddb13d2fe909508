import { writeFileSync } from 'node:fs';
import { setPriority } from 'node:os';

/**
 * Niceness of the services that work on accepted jobs: the gateway, whose clients wait for an answer, is scheduled before
 * them. 15 is a thirtieth of the gateway's CPU weight; at 19 a fully loaded machine can delay their acks past `ack_wait`.
 */
export const WORK_NICENESS = 15;

/**
 * Sets the niceness of a running process, 0 to 19. Linux schedules every session as one group
 * (`sched_autogroup_enabled`) and applies a process's niceness within its session only, so the group's is set as well.
 * Windows has six priority classes, which Node maps the number to. Never throws: without it the machine is only slower.
 */
export function setNice(pid: number, niceness: number): void {
  try {
    setPriority(pid, niceness);
    if (process.platform === 'linux') writeFileSync(`/proc/${pid}/autogroup`, String(niceness));
  } catch {
    // The process has ended, or the kernel has no autogroups.
  }
}
