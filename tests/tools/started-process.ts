import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';

/** Resolves when a process has written this to its standard error, and goes on reading it. */
export function said(child: ChildProcess, text: string): Promise<void> {
  let log = '';
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('exit', () => reject(new Error(`it ended:\n${log}`)));
    child.stderr?.on('data', (chunk: Buffer) => {
      if (log.includes(text)) return;
      log += chunk.toString();
      if (log.includes(text)) resolve();
    });
  });
}

/** Ends a process and waits until it is gone. */
export async function stop(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const ended = once(child, 'exit');
  child.kill();
  await ended;
}
