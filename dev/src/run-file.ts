import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

/**
 * The processes of a run, written down so that the next run can end what a SIGKILL of this one left behind.
 */
export interface RunFile {
  /** Call whenever the set of processes changes. */
  record(pids: readonly number[]): void;
  remove(): void;
}

interface Entry {
  readonly pid: number;
  /** When the kernel started it: a reused pid belongs to somebody else. */
  readonly startedAt: string;
}

/** Opens the run file of a data folder. `left` are the processes of a dead run that still live. */
export function openRunFile(directory: string): { readonly file: RunFile; readonly left: readonly number[] } {
  mkdirSync(directory, { recursive: true });
  const path = join(directory, 'run.json');
  const left = read(path)
    .filter((entry) => startOf(entry.pid) === entry.startedAt)
    .map((entry) => entry.pid);
  return {
    left,
    file: {
      record(pids) {
        const entries = [process.pid, ...pids].map((pid) => ({ pid, startedAt: startOf(pid) ?? '' }));
        writeFileSync(path, JSON.stringify(entries));
      },
      remove: () => rmSync(path, { force: true }),
    },
  };
}

function read(path: string): readonly Entry[] {
  try {
    return JSON.parse(readFileSync(path, 'utf8')) as readonly Entry[];
  } catch {
    return [];
  }
}

/** Field 22 of /proc/PID/stat. Undefined where there is no such process, or no /proc. */
function startOf(pid: number): string | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
    return stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19];
  } catch {
    return undefined;
  }
}
