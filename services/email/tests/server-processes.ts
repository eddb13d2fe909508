import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { connect } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';

export interface ServerProcesses {
  /** Starts a server and resolves once its port answers. @throws with what it said, when it ends before that. */
  start(port: number, command: string, args: readonly string[]): Promise<void>;
  /** Ends all of them. */
  close(): Promise<void>;
}

/** Servers of other projects, as children of the suite. */
export function serverProcesses(options: {
  readonly env: NodeJS.ProcessEnv;
  readonly uid?: number;
  readonly gid?: number;
}): ServerProcesses {
  const processes: ChildProcess[] = [];
  return {
    async start(port, command, args) {
      const child = spawn(command, args, { ...options, stdio: ['ignore', 'pipe', 'pipe'] });
      processes.push(child);
      let said = '';
      for (const stream of [child.stdout, child.stderr]) stream.on('data', (text: Buffer) => (said += text.toString()));
      await once(child, 'spawn');
      while (!(await answers(port))) {
        if (child.exitCode !== null) throw new Error(`${command} ended: ${said}`);
        await sleep(50);
      }
    },
    async close() {
      for (const child of processes) {
        if (child.exitCode !== null || child.signalCode !== null) continue;
        const ended = once(child, 'exit');
        child.kill('SIGTERM');
        await ended;
      }
    },
  };
}

async function answers(port: number): Promise<boolean> {
  const socket = connect(port, '127.0.0.1');
  try {
    await once(socket, 'connect');
    return true;
  } catch {
    return false;
  } finally {
    socket.destroy();
  }
}
