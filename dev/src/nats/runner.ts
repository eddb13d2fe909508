import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import type { NatsProgram } from './find.ts';

/** The ports of one server. 0 asks for a free one. */
export interface NatsPorts {
  port: number;
  monitorPort: number;
}

/** Files and folders of one server, the same over its restarts. */
export interface NatsFiles {
  storeDir: string;
  configFile: string | undefined;
  /** For what the runner itself writes. Its name is unique. */
  workDir: string;
}

/** How a server is started and signalled: as a process of this machine, or in a container. */
export interface NatsRunner {
  command(ports: NatsPorts): { program: string; args: string[] };
  /** The ports that clients reach it by, once it accepts them; undefined until then. */
  ports(pid: number): Promise<NatsPorts | undefined>;
  signal(child: ChildProcess, name: NodeJS.Signals): void;
}

function processRunner(binary: string, files: NatsFiles): NatsRunner {
  return {
    command({ port, monitorPort }) {
      const args = ['-js', '-a', '127.0.0.1', '-p', String(port || -1), '-m', String(monitorPort || -1)];
      args.push('-sd', files.storeDir, '--ports_file_dir', files.workDir);
      if (files.configFile !== undefined) args.push('-c', files.configFile);
      return { program: binary, args };
    },
    async ports(pid) {
      try {
        // The server's own word, under its own pid: the health of another server cannot be taken for this one's.
        const text = await readFile(join(files.workDir, `${basename(binary)}_${pid}.ports`), 'utf8');
        const { nats, monitoring } = JSON.parse(text) as { nats?: string[]; monitoring?: string[] };
        const portOf = (urls: string[] | undefined): number => Number(new URL(urls?.[0] ?? 'none://none').port);
        const ports = { port: portOf(nats), monitorPort: portOf(monitoring) };
        return ports.port && ports.monitorPort ? ports : undefined;
      } catch {
        // Not there yet, or half written.
        return undefined;
      }
    },
    signal: (child, name) => void child.kill(name),
  };
}

// Signals that have to reach the container past the `docker run` that started it.
const CONTAINER_SIGNALS: Partial<Record<NodeJS.Signals, string>> = {
  SIGKILL: 'kill',
  SIGSTOP: 'pause',
  SIGCONT: 'unpause',
};

function containerRunner(image: string, files: NatsFiles): NatsRunner {
  const name = `sluice-${basename(files.workDir)}`;
  const user = `${process.getuid?.() ?? 1000}:${process.getgid?.() ?? 1000}`;
  const portOf = (inside: number): number => {
    const { stdout } = spawnSync('docker', ['port', name, `${inside}/tcp`], { encoding: 'utf8' });
    return Number(/:(\d+)\s/.exec(stdout)?.[1] ?? 0);
  };
  return {
    command({ port, monitorPort }) {
      // The files it writes belong to who started it, so that they can be removed.
      const args = ['run', '--rm', '--name', name, '--user', user, '-v', `${files.storeDir}:/data`];
      args.push('-p', `127.0.0.1:${port || ''}:4222`, '-p', `127.0.0.1:${monitorPort || ''}:8222`);
      if (files.configFile !== undefined) args.push('-v', `${files.configFile}:/etc/nats/sluice.conf:ro`);
      args.push(image, '-js', '-p', '4222', '-m', '8222', '-sd', '/data');
      if (files.configFile !== undefined) args.push('-c', '/etc/nats/sluice.conf');
      return { program: 'docker', args };
    },
    ports() {
      const ports = { port: portOf(4222), monitorPort: portOf(8222) };
      return Promise.resolve(ports.port && ports.monitorPort ? ports : undefined);
    },
    signal(child, signal) {
      const verb = CONTAINER_SIGNALS[signal];
      if (verb === undefined) child.kill(signal);
      else spawnSync('docker', [verb, name], { stdio: 'ignore' });
    },
  };
}

/** The runner for a program that was found. */
export function natsRunner(program: NatsProgram, files: NatsFiles): NatsRunner {
  return program.kind === 'binary' ? processRunner(program.path, files) : containerRunner(program.image, files);
}

/** Starts a runner's server. Its output is for the caller to read. */
export function spawnNats(runner: NatsRunner, ports: NatsPorts, ownSession: boolean): ChildProcess {
  const { program, args } = runner.command(ports);
  return spawn(program, args, { stdio: ['ignore', 'ignore', 'pipe'], detached: ownSession });
}
