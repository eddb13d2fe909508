import { readFileSync } from 'node:fs';

interface ProcessEntry {
  pid: number;
  parentPid: number;
  name: string;
  /** Start time in clock ticks: a pid that is used again has another one. */
  startTicks: string;
}

function readProcess(pid: number): ProcessEntry | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
    // pid (name) state ppid ...: the name may hold spaces and brackets, so the last bracket counts.
    const close = stat.lastIndexOf(')');
    const fields = stat.slice(close + 2).split(' ');
    const state = fields[0];
    if (state === 'Z') return undefined;
    const name = stat.slice(stat.indexOf('(') + 1, close);
    return { pid, parentPid: Number(fields[1]), name, startTicks: fields[19] ?? '' };
  } catch {
    return undefined;
  }
}

function commandLine(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'latin1').replaceAll('\0', ' ');
  } catch {
    return '';
  }
}

/** The npx, pnpm and `sh -c` processes above this one, nearest first; a person's shell ends the chain. */
function starterChain(): ProcessEntry[] {
  const chain: ProcessEntry[] = [];
  let entry = process.platform === 'linux' ? readProcess(process.ppid) : undefined;
  while (entry && entry.pid > 1) {
    const command = commandLine(entry.pid);
    const isShell = /^(sh|dash|bash)$/.test(entry.name);
    const starts = isShell ? / -c /.test(command) : /npm|npx|pnpm/.test(command);
    if (!starts) break;
    chain.push(entry);
    entry = readProcess(entry.parentPid);
  }
  return chain;
}

/**
 * Calls `gone` once when a process that started this one has ended. `kill` of npx ends npx alone: it passes no signal
 * on, and pnpm puts scripts into a process group of their own, so without this the whole stack would go on, orphaned.
 * Returns a function that stops watching.
 */
export function onStarterGone(gone: (name: string) => void, everyMs = 500): () => void {
  const chain = starterChain();
  const parentPid = process.ppid;
  const timer = setInterval(() => {
    const lost = chain.find((starter) => readProcess(starter.pid)?.startTicks !== starter.startTicks);
    // Elsewhere than on Linux only the nearest one can be watched: orphans get another parent.
    const orphaned = chain.length === 0 && process.ppid !== parentPid;
    if (!lost && !orphaned) return;
    clearInterval(timer);
    gone(lost?.name ?? 'the starting process');
  }, everyMs);
  timer.unref();
  return () => clearInterval(timer);
}
