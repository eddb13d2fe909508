import { readFileSync, readdirSync } from 'node:fs';

const MS_PER_TICK = 10;

/** CPU time that a process and its children have used, in milliseconds; NaN for one that has ended. Linux only. */
export const cpuMsOf = (pid: number): number =>
  childrenOf(pid).reduce((sum, child) => sum + (cpuMsOf(child) || 0), ownCpuMsOf(pid));

/** The same without its children. */
export function ownCpuMsOf(pid: number): number {
  try {
    // The name of the program, which may hold spaces, ends with the last bracket; user and system time are fields 14 and 15.
    const fields = readFileSync(`/proc/${pid}/stat`, 'latin1').split(') ').at(-1)?.split(' ') ?? [];
    return (Number(fields[11]) + Number(fields[12])) * MS_PER_TICK;
  } catch {
    return NaN;
  }
}

/** The processes that one has started and that still run; none for one that has ended. */
export function childrenOf(pid: number): readonly number[] {
  try {
    return readdirSync(`/proc/${pid}/task`)
      .flatMap((task) => readFileSync(`/proc/${pid}/task/${task}/children`, 'latin1').trim().split(' '))
      .filter(Boolean)
      .map(Number);
  } catch {
    return [];
  }
}
