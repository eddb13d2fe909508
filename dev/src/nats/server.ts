import type { ChildProcess } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { freePort } from '../free-port.ts';
import { findPortHolder, PortInUseError } from '../port-holder.ts';
import { findNatsProgram, type FindNatsOptions } from './find.ts';
import { natsRunner, spawnNats, type NatsPorts, type NatsRunner } from './runner.ts';

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
  /** Ends a start that still waits: the server is killed and `startNats` throws. */
  signal?: AbortSignal;
  /** Out of reach of the terminal's Ctrl-C, for a caller that then stops it in its turn: after those who use it. */
  ownSession?: boolean;
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

interface Launched extends NatsPorts {
  child: ChildProcess;
  pid: number;
  exited: Promise<number | string>;
}

const READY_TIMEOUT_MS = 20_000;
const STOP_GRACE_MS = 5_000;
const POLL_MS = 20;
const WAITING_LINE_MS = 5_000;
const TAIL_CHARS = 2_000;

// A worker that ends without stop() must not leave a broker behind.
const running = new Map<ChildProcess, NatsRunner>();
process.once('exit', () => {
  for (const [child, runner] of running) runner.signal(child, 'SIGKILL');
});

async function failure(ports: NatsPorts, tail: string, what: string): Promise<Error> {
  if (/address already in use|port is already allocated/i.test(tail)) {
    const mentioned = Number(/:(\d+): bind: address already in use/.exec(tail)?.[1]);
    const asked = [
      [ports.port, 'NATS'],
      [ports.monitorPort, 'NATS monitoring'],
    ] as const;
    for (const [port, purpose] of asked) {
      const holder = port === 0 ? undefined : await findPortHolder(port);
      if (holder || mentioned === port) return new PortInUseError(port, purpose, holder);
    }
  }
  return new NatsStartError(`nats-server ${what}\n${tail.trim()}`);
}

async function launchServer(
  runner: NatsRunner,
  asked: NatsPorts,
  { readyTimeoutMs = READY_TIMEOUT_MS, ownSession = false, signal, log }: StartNatsOptions,
): Promise<Launched> {
  const child = spawnNats(runner, asked, ownSession);
  running.set(child, runner);
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
  const deadline = Date.now() + readyTimeoutMs;
  let nextLine = Date.now() + WAITING_LINE_MS;
  for (;;) {
    if (end !== undefined) throw await failure(asked, tail, `ended with ${end} while starting`);
    const ports = await runner.ports(pid);
    if (ports) {
      const healthz = `http://127.0.0.1:${ports.monitorPort}/healthz`;
      const healthy = await fetch(healthz, { signal: AbortSignal.timeout(500) }).then(
        (r) => r.ok,
        () => false,
      );
      if (healthy) return { child, pid, ...ports, exited };
    }
    if (Date.now() > nextLine) {
      log?.('waiting for nats-server to be healthy; a large store takes time to load');
      nextLine = Date.now() + WAITING_LINE_MS;
    }
    if (signal?.aborted === true || Date.now() > deadline) {
      runner.signal(child, 'SIGKILL');
      await exited;
      signal?.throwIfAborted();
      throw await failure(asked, tail, `was not healthy after ${readyTimeoutMs} ms`);
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
  const runner = natsRunner(program, { storeDir, configFile, workDir });
  let server: Launched;
  try {
    // Not the server's own choice: its ports must be there for it when it is killed and started again.
    const asked = { port: options.port ?? (await freePort()), monitorPort: options.monitorPort ?? (await freePort()) };
    server = await launchServer(runner, asked, options);
  } catch (error) {
    await rm(workDir, { recursive: true, force: true });
    throw error;
  }
  // From now on the ports are fixed, so that clients find a restarted server.
  const ports: NatsPorts = { port: server.port, monitorPort: server.monitorPort };
  const isRunning = (): boolean => server.child.exitCode === null && server.child.signalCode === null;
  const end = async (): Promise<void> => {
    if (!isRunning()) return;
    // A paused process takes no SIGTERM before it continues.
    runner.signal(server.child, 'SIGCONT');
    runner.signal(server.child, 'SIGTERM');
    const timer = setTimeout(() => runner.signal(server.child, 'SIGKILL'), STOP_GRACE_MS);
    await server.exited;
    clearTimeout(timer);
  };

  return {
    url: `nats://127.0.0.1:${ports.port}`,
    monitorUrl: `http://127.0.0.1:${ports.monitorPort}`,
    ...ports,
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
      await end();
      if (temporaryStore) await rm(storeDir, { recursive: true, force: true });
      await rm(workDir, { recursive: true, force: true });
    },
    async kill() {
      if (!isRunning()) return;
      runner.signal(server.child, 'SIGKILL');
      await server.exited;
    },
    pause() {
      runner.signal(server.child, 'SIGSTOP');
    },
    resume() {
      runner.signal(server.child, 'SIGCONT');
    },
    async restart() {
      await end();
      server = await launchServer(runner, ports, options);
    },
  };
}
