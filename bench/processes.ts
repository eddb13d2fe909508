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

/** CPU time of a process with everything that it has started, ended or not, in milliseconds. Linux only. */
export function treeMsOf(pid: number): number {
  try {
    const fields = readFileSync(`/proc/${pid}/stat`, 'latin1').split(') ').at(-1)?.split(' ') ?? [];
    // Fields 16 and 17 are those of children that have ended and were waited for.
    const own = [11, 12, 13, 14].reduce((sum, at) => sum + Number(fields[at]), 0) * MS_PER_TICK;
    return childrenOf(pid).reduce((sum, child) => sum + treeMsOf(child), own);
  } catch {
    return 0;
  }
}

/** What all processors of the machine have worked since it was started, in milliseconds; NaN where that is not known. */
export function machineBusyMs(): number {
  try {
    // user, nice, system, idle, iowait, irq, softirq, steal
    const fields =
      readFileSync('/proc/stat', 'latin1').split('\n', 1)[0]?.trim().split(/\s+/).slice(1).map(Number) ?? [];
    return [0, 1, 2, 5, 6, 7].reduce((sum, at) => sum + (fields[at] ?? 0), 0) * MS_PER_TICK;
  } catch {
    return NaN;
  }
}

/** Memory of a process and its children that the kernel cannot take back; what several share counts once. Linux only. */
export function proportionalBytesOf(pid: number): number {
  try {
    const rollup = readFileSync(`/proc/${pid}/smaps_rollup`, 'latin1');
    const kib = (field: string): number => Number(new RegExp(`^${field}:\\s+(\\d+) kB`, 'm').exec(rollup)?.[1] ?? 0);
    const own = (kib('Pss_Anon') + kib('Pss_Shmem')) * 1024;
    return childrenOf(pid).reduce((sum, child) => sum + proportionalBytesOf(child), own);
  } catch {
    return 0;
  }
}
