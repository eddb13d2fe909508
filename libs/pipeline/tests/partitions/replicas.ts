import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { createInterface } from 'node:readline';

/** A replica in a process of its own. */
export interface Replica {
  readonly name: string;
  /** Partitions it reads, as it said last. */
  readonly held: readonly number[];
  /** Everything it said. */
  readonly said: readonly Readonly<Record<string, unknown>>[];
  stop(): Promise<void>;
  kill(): Promise<void>;
  freeze(): void;
  thaw(): void;
}

/** Starts replicas and ends those that are left. */
export function replicaStarter(url: string): {
  start(name: string, options?: { readonly partitions?: number; readonly workMs?: number }): Replica;
  end(): Promise<void>;
} {
  const children: ChildProcess[] = [];
  return {
    start(name, { partitions = 4, workMs = 5 } = {}) {
      const args = [join(import.meta.dirname, 'replica.ts'), url, name, String(partitions), String(workMs)];
      const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] });
      children.push(child);
      const said: Record<string, unknown>[] = [];
      let held: readonly number[] = [];
      createInterface({ input: child.stdout }).on('line', (line) => {
        const event = JSON.parse(line) as Record<string, unknown>;
        said.push(event);
        if (event['type'] === 'held') held = event['held'] as number[];
      });
      const end = async (signal: 'SIGTERM' | 'SIGKILL'): Promise<void> => {
        child.kill(signal);
        if (child.exitCode === null && child.signalCode === null) await once(child, 'exit');
      };
      return {
        name,
        said,
        get held() {
          return held;
        },
        stop: () => end('SIGTERM'),
        kill: () => end('SIGKILL'),
        freeze: () => void child.kill('SIGSTOP'),
        thaw: () => void child.kill('SIGCONT'),
      };
    },
    async end() {
      for (const child of children) {
        child.kill('SIGCONT');
        child.kill('SIGKILL');
        if (child.exitCode === null && child.signalCode === null) await once(child, 'exit');
      }
    },
  };
}
