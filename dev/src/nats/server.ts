import { spawn, type ChildProcess } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { findPortHolder, PortInUseError } from '../port-holder.ts';
import { findNatsProgram, type FindNatsOptions, type NatsProgram } from './find.ts';

/** How to start a nats-server. Everything has a default that lets many servers run next to each other. */
export interface StartNatsOptions extends FindNatsOptions {
  /** Client port; free by default. */
  port?: number;
  /** Monitoring port; free by default. */
  monitorPort?: number;
  /** JetStream's folder, kept after stop. By default a temporary one that stop() removes. */
  storeDir?: string;
  /** Text of a NATS configuration file for what flags cannot say (accounts, permissions, sync_interval). Address, ports and store stay as given here. */
  config?: string;
  /** How long the server may take until it is healthy, restores included. 20 s by default. */
  readyTimeoutMs?: number;
}

/**
 * A nats-server process. States: running -> stopped (stop, kill, or its own death), stopped -> running (restart).
 * Ports and store stay the same over a restart.
 */
export interface NatsProcess {
  readonly url: string;
  readonly monitorUrl: string;
  readonly port: number;
  readonly monitorPort: number;
  readonly storeDir: string;
  readonly version: string | undefined;
  /** Where the server came from, for a person: `cache`, `PATH`, `Debian sid`, ... */
  readonly from: string;
  /** The process's id; of the current process after a restart. */
  readonly pid: number;
  /** Resolves with the exit code or signal name when the current process ends, however it ends. */
  readonly exited: Promise<number | string>;
  /** SIGTERM, after 5 s SIGKILL; removes a temporary store. Safe to call twice. */
  stop(): Promise<void>;
  /** SIGKILL, as a crash would: the store stays for a restart. */
  kill(): Promise<void>;
  /** SIGSTOP: connections stay open and nothing answers, as on a stalled host. */
  pause(): void;
  /** SIGCONT after pause(). */
  resume(): void;
  /** Starts it again on the same ports and store, stopping it first when it still runs. */
  restart(): Promise<void>;
}

/** nats-server ended or stayed unhealthy while starting; `code` is `nats_start_failed`, the message ends with its own last lines. */
export class NatsStartError extends Error {
  override readonly name = 'NatsStartError';
  readonly code = 'nats_start_failed';
}

interface Launched {
  child: ChildProcess;
  pid: number;
  port: number;
  monitorPort: number;
  exited: Promise<number | string>;
}

interface Launch {
  program: NatsProgram;
  port: number;
  monitorPort: number;
  storeDir: string;
  configFile: string | undefined;
  workDir: string;
  readyTimeoutMs: number;
}

const STOP_GRACE_MS = 5_000;
const POLL_MS = 20;
const TAIL_CHARS = 2_000;

// A worker that ends without stop() must not leave a broker behind.
const running = new Set<ChildProcess>();
process.once('exit', () => {
  for (const child of running) child.kill('SIGKILL');
});

function commandOf(launch: Launch): { command: string; args: string[] } {
  const { program, port, monitorPort } = launch;
  if (program.kind === 'binary') {
    const args = ['-js', '-a', '127.0.0.1', '-p', String(port || -1), '-m', String(monitorPort || -1)];
    args.push('-sd', launch.storeDir, '--ports_file_dir', launch.workDir);
    if (launch.configFile !== undefined) args.push('-c', launch.configFile);
    return { command: program.path, args };
  }
  const publish = (host: number, container: number): string[] => ['-p', `127.0.0.1:${host || ''}:${container}`];
  const args = ['run', '--rm', '--init', '--name', containerName(launch), '-v', `${launch.storeDir}:/data`];
  args.push(...publish(port, 4222), ...publish(monitorPort, 8222));
  if (launch.configFile !== undefined) args.push('-v', `${launch.configFile}:/etc/nats/sluice.conf:ro`);
  args.push(program.image, '-js', '-p', '4222', '-m', '8222', '-sd', '/data');
  if (launch.configFile !== undefined) args.push('-c', '/etc/nats/sluice.conf');
  return { command: 'docker', args };
}

function containerName(launch: Launch): string {
  return `sluice-nats-${launch.workDir.slice(-6).replaceAll(/[^a-zA-Z0-9]/g, '0')}`;
}

async function docker(...args: string[]): Promise<string> {
  const child = spawn('docker', args, { stdio: ['ignore', 'pipe', 'ignore'] });
  let out = '';
  child.stdout.on('data', (chunk: Buffer) => (out += chunk.toString()));
  await new Promise((resolve) => child.once('close', resolve));
  return out;
}

/** The ports the server chose, once it accepts clients: from its ports file (so another server's answer cannot be taken for ours). */
async function chosenPorts(launch: Launch, pid: number): Promise<{ port: number; monitorPort: number } | undefined> {
  if (launch.program.kind === 'docker') {
    const mapped = async (inside: number) => {
      return Number((await docker('port', containerName(launch), `${inside}/tcp`)).trim().split(':').at(-1) ?? '');
    };
    const [port, monitorPort] = [await mapped(4222), await mapped(8222)];
    return port && monitorPort ? { port, monitorPort } : undefined;
  }
  try {
    const text = await readFile(join(launch.workDir, `${basename(launch.program.path)}_${pid}.ports`), 'utf8');
    const ports = JSON.parse(text) as { nats?: string[]; monitoring?: string[] };
    const portOf = (urls: string[] | undefined): number => Number(new URL(urls?.[0] ?? 'x://x').port);
    const [port, monitorPort] = [portOf(ports.nats), portOf(ports.monitoring)];
    return port && monitorPort ? { port, monitorPort } : undefined;
  } catch {
    // Not there yet, or half written.
    return undefined;
  }
}

async function failure(launch: Launch, tail: string, what: string): Promise<Error> {
  if (/address already in use|port is already allocated/i.test(tail)) {
    const mentioned = Number(/:(\d+): bind: address already in use/.exec(tail)?.[1]);
    for (const [port, purpose] of [
      [launch.port, 'NATS'],
      [launch.monitorPort, 'NATS monitoring'],
    ] as const) {
      if (port === 0) continue;
      const holder = await findPortHolder(port);
      if (holder || mentioned === port) return new PortInUseError(port, purpose, holder);
    }
  }
  return new NatsStartError(`nats-server ${what}\n${tail.trim()}`);
}

async function launchServer(launch: Launch): Promise<Launched> {
  const { command, args } = commandOf(launch);
  // A process group of its own: a Ctrl-C in the terminal must not end the broker before the services have drained.
  const child = spawn(command, args, { stdio: ['ignore', 'ignore', 'pipe'], detached: true });
  running.add(child);
  let tail = '';
  child.stderr?.on('data', (chunk: Buffer) => (tail = (tail + chunk.toString()).slice(-TAIL_CHARS)));
  const exited = new Promise<number | string>((resolve) => {
    child.once('error', (error) => resolve(error.message));
    // 'close' rather than 'exit': by then the last lines have been read.
    child.once('close', (code, signal) => resolve(code ?? signal ?? 0));
  }).finally(() => running.delete(child));
  let end: number | string | undefined;
  void exited.then((how) => (end = how));

  const pid = child.pid ?? 0;
  const deadline = Date.now() + launch.readyTimeoutMs;
  for (;;) {
    if (end !== undefined) throw await failure(launch, tail, `ended with ${end} while starting`);
    const ports = await chosenPorts(launch, pid);
    if (ports) {
      const healthz = `http://127.0.0.1:${ports.monitorPort}/healthz`;
      const healthy = await fetch(healthz, { signal: AbortSignal.timeout(500) }).then(
        (r) => r.ok,
        () => false,
      );
      if (healthy) return { child, pid, ...ports, exited };
    }
    if (Date.now() > deadline) {
      child.kill('SIGKILL');
      await exited;
      throw await failure(launch, tail, `was not healthy after ${launch.readyTimeoutMs} ms`);
    }
    await sleep(POLL_MS);
  }
}

/**
 * Starts a nats-server with JetStream on 127.0.0.1 and resolves when it is healthy. It never uses `NATS_URL`: who wants
 * a server that already runs asks `findNats()` first.
 *
 * @throws PortInUseError when a given port is taken, saying by whom; NatsStartError with the server's last lines;
 * NatsUnavailableError when there is no server to start.
 * @example
 * const nats = await startNats();            // free ports, temporary store
 * const connection = await connect({ servers: nats.url });
 * await nats.stop();
 */
export async function startNats(options: StartNatsOptions = {}): Promise<NatsProcess> {
  const program = await findNatsProgram(options);
  const workDir = await mkdtemp(join(tmpdir(), 'sluice-nats-'));
  const temporaryStore = options.storeDir === undefined;
  const storeDir = options.storeDir ?? join(workDir, 'store');
  await mkdir(storeDir, { recursive: true });
  let configFile: string | undefined;
  if (options.config !== undefined) {
    configFile = join(workDir, `${randomBytes(4).toString('hex')}.conf`);
    await writeFile(configFile, options.config, { mode: 0o600 });
  }
  const launch: Launch = {
    program,
    port: options.port ?? 0,
    monitorPort: options.monitorPort ?? 0,
    storeDir,
    configFile,
    workDir,
    readyTimeoutMs: options.readyTimeoutMs ?? 20_000,
  };
  let server: Launched;
  try {
    server = await launchServer(launch);
  } catch (error) {
    await rm(workDir, { recursive: true, force: true });
    throw error;
  }
  // From now on the ports are fixed, so that clients find a restarted server.
  launch.port = server.port;
  launch.monitorPort = server.monitorPort;

  const signal = async (name: NodeJS.Signals): Promise<void> => {
    // `docker run` forwards SIGTERM but dies alone on SIGKILL: the container has to be named then.
    if (program.kind === 'docker' && name === 'SIGKILL') await docker('kill', containerName(launch));
    else server.child.kill(name);
  };
  const isRunning = (): boolean => server.child.exitCode === null && server.child.signalCode === null;
  const end = async (graceMs: number): Promise<void> => {
    if (!isRunning()) return;
    // A paused process takes no SIGTERM before it continues.
    server.child.kill('SIGCONT');
    await signal('SIGTERM');
    const timer = setTimeout(() => void signal('SIGKILL'), graceMs);
    await server.exited;
    clearTimeout(timer);
  };

  return {
    url: `nats://127.0.0.1:${server.port}`,
    monitorUrl: `http://127.0.0.1:${server.monitorPort}`,
    port: server.port,
    monitorPort: server.monitorPort,
    storeDir,
    version: program.kind === 'binary' ? program.version : undefined,
    from: program.from,
    get pid() {
      return server.pid;
    },
    get exited() {
      return server.exited;
    },
    async stop() {
      await end(STOP_GRACE_MS);
      if (temporaryStore) await rm(storeDir, { recursive: true, force: true });
      await rm(workDir, { recursive: true, force: true });
    },
    async kill() {
      if (!isRunning()) return;
      await signal('SIGKILL');
      await server.exited;
    },
    pause() {
      server.child.kill('SIGSTOP');
    },
    resume() {
      server.child.kill('SIGCONT');
    },
    async restart() {
      await end(STOP_GRACE_MS);
      server = await launchServer(launch);
    },
  };
}
