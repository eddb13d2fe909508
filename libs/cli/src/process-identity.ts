import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';

/**
 * Tells one process from every other, also from a later one with the same pid: the kernel reuses pids, but not together
 * with the same start time and command line.
 */
export interface ProcessIdentity {
  readonly pid: number;
  /** Clock ticks since boot on Linux, a date elsewhere. Compared, never calculated with. */
  readonly startedAt: string;
  readonly command: string;
}

/**
 * The identity of a live process. Undefined when there is none, when it has ended but was not waited for (a zombie),
 * and on Windows, where neither `/proc` nor `ps` exists.
 */
export function processIdentity(pid: number): ProcessIdentity | undefined {
  return process.platform === 'linux' ? fromProc(pid) : fromPs(pid);
}

function fromProc(pid: number): ProcessIdentity | undefined {
  try {
    const stat = statOf(pid);
    const command = readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ').trim();
    return stat.zombie ? undefined : { pid, startedAt: stat.startedAt, command };
  } catch {
    return undefined;
  }
}

/** Throws when there is no such process. */
function statOf(pid: number): { readonly startedAt: string; readonly zombie: boolean; readonly threads: number } {
  const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
  // `pid (name) state ppid ...`: the name may contain spaces and brackets, so the fields start after the last bracket.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return { startedAt: fields[19] ?? '', zombie: fields[0] === 'Z', threads: Number(fields[17]) };
}

/** macOS and the BSDs have no `/proc`. `lstart` is a date of 24 characters. */
function fromPs(pid: number): ProcessIdentity | undefined {
  const { stdout, status } = spawnSync('ps', ['-o', 'lstart=', '-o', 'command=', '-p', String(pid)], {
    encoding: 'utf8',
    env: { ...process.env, LC_ALL: 'C' },
  });
  const line = status === 0 ? stdout.trim() : '';
  return line === '' ? undefined : { pid, startedAt: line.slice(0, 24), command: line.slice(24).trim() };
}

/** Whether the process that was recorded still runs. */
export function isSameProcess(recorded: ProcessIdentity): boolean {
  const now = processIdentity(recorded.pid);
  return now !== undefined && now.startedAt === recorded.startedAt && now.command === recorded.command;
}

/**
 * Whether a process has ended and released its ports and files. Later than `isSameProcess` says no: while a process with
 * several threads exits, its command line is empty and its first thread is a zombie, but its sockets are still open.
 */
export function hasExited(recorded: ProcessIdentity): boolean {
  if (process.platform !== 'linux') return processIdentity(recorded.pid)?.startedAt !== recorded.startedAt;
  try {
    const { startedAt, zombie, threads } = statOf(recorded.pid);
    return startedAt !== recorded.startedAt || (zombie && threads <= 1);
  } catch {
    return true;
  }
}

/** Whether there is a process with this pid, of whichever user. */
export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}
