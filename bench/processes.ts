import { readFileSync, readdirSync } from 'node:fs';

const MS_PER_TICK = 10;

/** CPU time that a process and its children have used, in milliseconds; 0 for one that has ended. Linux only. */
export function cpuMsOf(pid: number): number {
  try {
    const fields = readFileSync(`/proc/${pid}/stat`, 'latin1').split(') ')[1]?.split(' ') ?? [];
    const own = (Number(fields[11]) + Number(fields[12])) * MS_PER_TICK;
    return childrenOf(pid).reduce((sum, child) => sum + cpuMsOf(child), own);
  } catch {
    return 0;
  }
}

/** The processes that one has started and that still run. */
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
