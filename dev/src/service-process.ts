import { spawn, type ChildProcess } from 'node:child_process';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { setNice } from './priority.ts';

const REPOSITORY = join(import.meta.dirname, '../..');
const FIRST_RESTART_MS = 250;
const LAST_RESTART_MS = 10_000;
/** After this long the start counts as good: the next restart is quick again. */
const SETTLED_MS = 10_000;
/** Exit code of a service whose configuration is wrong. A restart would read the same configuration. */
const EX_CONFIG = 78;
/** Compiled modules of earlier starts: a service starts with half the CPU. Where it cannot be written, Node goes without. */
const COMPILE_CACHE = join(REPOSITORY, '.data/compile-cache');
const READY_POLL_MS = 100;
const READY_TIMEOUT_MS = 2_000;
const KEPT_LINES = 5;

export interface ServiceProcessOptions {
  /** Names it in the log: the service, with a number when there are several. */
  readonly name: string;
  /** The folder under `services/`. */
  readonly service: string;
  readonly env: Readonly<Record<string, string>>;
  /**
   * Niceness once the service is ready, 0 to 19. Not before: on a busy machine a start at low priority takes minutes.
   */
  readonly niceness?: number;
  /** The pause before every restart; longer after every quick end if absent. */
  readonly restartAfterMs?: number;
  readonly onLine: (name: string, line: string) => void;
  /** Called with every new process. */
  readonly onSpawn?: () => void;
  /** Called when a process ended that was not told to. */
  readonly onExit?: (name: string, how: string, restartsInMs: number | undefined) => void;
}

/**
 * A service as a child process that is started again when it ends by itself.
 *
 * - **running**: there is a process. Its end leads to `waiting`, or to `stopped` when its configuration is wrong.
 * - **waiting**: a timer runs until the next start, longer after every quick end. Leads to `running`.
 * - **stopped**: `stop` was called and the process is gone, or its configuration is wrong. Final.
 */
export interface ServiceProcess {
  readonly name: string;
  /** The folder under `services/`: the same for every replica. */
  readonly service: string;
  readonly opsUrl: string;
  readonly state: 'running' | 'waiting' | 'stopped';
  /** Why the service is not ready, in its own words; undefined when it is. */
  readonly notReady: string | undefined;
  /** Undefined while no process runs. */
  readonly pid: number | undefined;
  readonly restarts: number;
  /** Sends a signal, as a test or an operator would: SIGKILL is a crash. */
  kill(signal: NodeJS.Signals): void;
  /** SIGTERM, and SIGKILL for what has not drained in time. */
  stop(timeoutMs?: number): Promise<void>;
}

/** Starts a service and keeps it running until `stop`. */
export function startService(options: ServiceProcessOptions): ServiceProcess {
  const { name, service, env, onLine, onExit } = options;
  const opsUrl = `http://127.0.0.1:${env['OPS_PORT']}`;
  let child: ChildProcess | undefined;
  let timer: NodeJS.Timeout | undefined;
  let state: ServiceProcess['state'] = 'running';
  let notReady: string | undefined;
  let stopping = false;
  let restarts = 0;
  const firstMs = options.restartAfterMs ?? FIRST_RESTART_MS;
  const lastMs = options.restartAfterMs ?? LAST_RESTART_MS;
  let delayMs = firstMs;
  let ended: Promise<void> = Promise.resolve();

  /** Asks one process until it is ready or gone. */
  const watchReadiness = async (started: ChildProcess): Promise<void> => {
    for (;;) {
      const answer = await readiness(opsUrl);
      if (child !== started) return;
      notReady = answer;
      if (answer === undefined) break;
      await sleep(READY_POLL_MS, undefined, { ref: false });
      if (child !== started) return;
    }
    if (options.niceness !== undefined && started.pid !== undefined) setNice(started.pid, options.niceness);
  };

  const start = (): void => {
    const startedMs = performance.now();
    const lastLines: string[] = [];
    // A group of its own: a Ctrl-C in the terminal reaches the launcher alone, which then stops things in order.
    const started = spawn(process.execPath, ['src/main.ts'], {
      cwd: join(REPOSITORY, 'services', service),
      env: { NODE_COMPILE_CACHE: COMPILE_CACHE, ...process.env, ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
      detached: true,
    });
    child = started;
    state = 'running';
    notReady = 'starting';
    for (const stream of [started.stdout, started.stderr]) {
      createInterface({ input: stream }).on('line', (line) => {
        lastLines.push(line);
        if (lastLines.length > KEPT_LINES) lastLines.shift();
        onLine(name, line);
      });
    }
    const exit = Promise.withResolvers<void>();
    ended = exit.promise;
    started.once('error', (error) => onLine(name, String(error)));
    started.once('close', (code, signal) => {
      child = undefined;
      exit.resolve();
      if (stopping) return;
      const how = signal ?? `exit code ${code}`;
      if (code === EX_CONFIG) {
        state = 'stopped';
        notReady = `ended with ${how}\n${lastLines.join('\n')}`;
        onExit?.(name, how, undefined);
        return;
      }
      if (performance.now() - startedMs > SETTLED_MS) delayMs = firstMs;
      state = 'waiting';
      notReady = `ended with ${how}, starting again in ${delayMs} ms`;
      onExit?.(name, how, delayMs);
      timer = setTimeout(() => {
        restarts += 1;
        start();
      }, delayMs);
      delayMs = Math.min(delayMs * 2, lastMs);
    });
    void watchReadiness(started);
    options.onSpawn?.();
  };
  start();
  process.once('exit', () => child?.kill('SIGKILL'));

  return {
    name,
    service,
    opsUrl,
    get state() {
      return state;
    },
    get notReady() {
      return notReady;
    },
    get pid() {
      return child?.pid;
    },
    get restarts() {
      return restarts;
    },
    kill(signal) {
      child?.kill(signal);
    },
    async stop(timeoutMs = 15_000) {
      stopping = true;
      state = 'stopped';
      clearTimeout(timer);
      if (child === undefined) return;
      child.kill('SIGCONT');
      child.kill('SIGTERM');
      const last = setTimeout(() => child?.kill('SIGKILL'), timeoutMs);
      await ended;
      clearTimeout(last);
    },
  };
}

/** Undefined when the service is ready, else the reason. */
async function readiness(opsUrl: string): Promise<string | undefined> {
  try {
    const answer = await fetch(`${opsUrl}/readyz`, { signal: AbortSignal.timeout(READY_TIMEOUT_MS) });
    if (answer.ok) {
      await answer.body?.cancel();
      return undefined;
    }
    const { reasons = [] } = (await answer.json()) as { reasons?: readonly string[] };
    return reasons.join('; ') || 'not ready';
  } catch {
    return 'starting';
  }
}
