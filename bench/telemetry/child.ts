import { fork, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';

/** A server in a process of its own. */
export interface Child {
  readonly url: string;
  readonly pid: number;
  /** Asks the process for its report. */
  ask<R>(): Promise<R>;
  stop(): void;
}

/** Starts a file of this folder, which says its URL and answers a message with its report. */
export async function startChild(file: string, order: object = {}): Promise<Child> {
  const child: ChildProcess = fork(join(import.meta.dirname, file), [JSON.stringify(order)], {
    stdio: 'inherit',
    detached: true,
  });
  const [{ url }] = (await once(child, 'message')) as [{ url: string }];
  return {
    url,
    pid: child.pid ?? 0,
    async ask<R>() {
      child.send('report');
      const [report] = (await once(child, 'message')) as [R];
      return report;
    },
    stop: () => child.disconnect(),
  };
}
