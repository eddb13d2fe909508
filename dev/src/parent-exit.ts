import { isSameProcess, processIdentity, type ProcessIdentity } from '@sluice/cli';
import { readFileSync } from 'node:fs';

/** The npx, pnpm and `sh -c` processes above this one, nearest first. A person's own shell ends the chain. */
function parentChain(): ProcessIdentity[] {
  const chain: ProcessIdentity[] = [];
  let pid = process.platform === 'linux' ? process.ppid : 0;
  for (;;) {
    const identity = pid > 1 ? processIdentity(pid) : undefined;
    const status = identity === undefined ? undefined : statusOf(pid);
    if (identity === undefined || status === undefined) return chain;
    const isShell = /^(sh|dash|bash)$/.test(status.name);
    const starts = isShell ? / -c /.test(identity.command) : /npm|npx|pnpm/.test(identity.command);
    if (!starts) return chain;
    chain.push(identity);
    pid = status.parentPid;
  }
}

function statusOf(pid: number): { readonly name: string; readonly parentPid: number } | undefined {
  try {
    const text = readFileSync(`/proc/${pid}/status`, 'utf8');
    const field = (name: string): string => new RegExp(`^${name}:\\s*(.*)$`, 'm').exec(text)?.[1] ?? '';
    return { name: field('Name'), parentPid: Number(field('PPid')) };
  } catch {
    return undefined;
  }
}

/**
 * Calls `onExit` once when a process that started this one has ended. `kill` of npx ends npx alone: npx passes no signal
 * on, and pnpm puts scripts into a process group of their own, so the whole stack would go on without a terminal.
 * Returns a function that stops watching.
 */
export function onParentExit(onExit: () => void, everyMs = 500): () => void {
  const chain = parentChain();
  const parentPid = process.ppid;
  const timer = setInterval(() => {
    // Elsewhere than on Linux only the nearest parent can be watched: an orphan gets another parent pid.
    const exited = chain.length === 0 ? process.ppid !== parentPid : chain.some((parent) => !isSameProcess(parent));
    if (!exited) return;
    clearInterval(timer);
    onExit();
  }, everyMs);
  timer.unref();
  return () => clearInterval(timer);
}
