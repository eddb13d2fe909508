import { fork, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import type { SinkCount, SinkKind } from './sink.ts';

/** A mail server in a process of its own. */
export interface SinkProcess {
  readonly port: number;
  readonly pid: number;
  /** What it saw since it was last asked. */
  count(): Promise<SinkCount>;
  stop(): void;
}

export async function startSink(kind: SinkKind): Promise<SinkProcess> {
  const child: ChildProcess = fork(join(import.meta.dirname, 'sink.ts'), [kind], { stdio: 'inherit' });
  const [{ port }] = (await once(child, 'message')) as [{ port: number }];
  return {
    port,
    pid: child.pid ?? 0,
    async count() {
      const answer = once(child, 'message') as Promise<[SinkCount]>;
      child.send('count');
      return (await answer)[0];
    },
    stop: () => child.disconnect(),
  };
}
