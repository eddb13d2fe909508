import { hasExited, isSameProcess, type ProcessIdentity } from '@sluice/cli';
import { setTimeout as sleep } from 'node:timers/promises';

const GRACE_MS = 10_000;
const POLL_MS = 50;

/**
 * Ends the processes of a launcher that was killed, and resolves when they are gone: the next run needs their ports.
 * SIGTERM first, so that the broker closes its store in order; SIGKILL for what still runs after ten seconds. Before
 * each signal the identity is compared again, so a process that got the same pid meanwhile is left alone.
 */
export async function endLeftovers(left: readonly ProcessIdentity[], print: (line: string) => void): Promise<void> {
  for (const identity of left) {
    print(`ending process ${identity.pid}, left by a run that was killed (${identity.command.slice(0, 60)})`);
    signal(identity, 'SIGTERM');
  }
  const deadline = performance.now() + GRACE_MS;
  let rest = left.filter((identity) => !hasExited(identity));
  while (rest.length > 0) {
    if (performance.now() > deadline) for (const identity of rest) signal(identity, 'SIGKILL');
    await sleep(POLL_MS);
    rest = rest.filter((identity) => !hasExited(identity));
  }
}

function signal(identity: ProcessIdentity, name: NodeJS.Signals): void {
  try {
    if (isSameProcess(identity)) process.kill(identity.pid, name);
  } catch {
    // It ended in between.
  }
}
