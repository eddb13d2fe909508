import { spawn, type ChildProcess } from 'node:child_process';
import { createInterface } from 'node:readline';
import { join } from 'node:path';
import { yieldToOthers } from './priority.ts';

const REPOSITORY = join(import.meta.dirname, '../..');
const FIRST_RESTART_MS = 250;
const LAST_RESTART_MS = 10_000;
/** A service that ran this long had started well: its next restart is quick again. */
const SETTLED_MS = 10_000;
/** What a service exits with when its configuration is wrong: no restart will mend that. */
const EX_CONFIG = 78;

export interface ServiceProcessOptions {
  /** Names it in the log: the service, with a number when there are several. */
  readonly name: string;
  /** The folder under `services/`. */
  readonly service: string;
  readonly env: Readonly<Record<string, string>>;
  /** How much it yields to the rest of the machine, 0 to 19. */
  readonly niceness?: number;
  /** The pause before every restart; longer after every quick end if absent. */
  readonly restartAfterMs?: number;
  readonly onLine: (name: string, line: string) => void;
  /** Called when a process ended that nobody asked to end. */
  readonly onExit?: (name: string, how: string, restartsInMs: number | undefined) => void;
}

/**
 * A service as a child process that is started again when it ends by itself.
 *
 * - **running**: there is a process. It ending leads to `waiting`, or to `stopped` for a wrong configuration.
 * - **waiting**: a timer runs until the next start, longer after every quick end. Leads to `running`.
 * - **stopped**: `stop` was called and the process is gone. Final.
 */
export interface ServiceProcess {
  readonly name: string;
  readonly opsUrl: string;
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
  let child: ChildProcess | undefined;
  let timer: NodeJS.Timeout | undefined;
  let stopping = false;
  let restarts = 0;
  const firstMs = options.restartAfterMs ?? FIRST_RESTART_MS;
  const lastMs = options.restartAfterMs ?? LAST_RESTART_MS;
  let delayMs = firstMs;
  let ended: Promise<void> = Promise.resolve();

  const start = (): void => {
    const startedMs = performance.now();
    // A group of its own: a Ctrl-C in the terminal reaches the launcher alone, which then stops things in order.
    const started = spawn(process.execPath, ['src/main.ts'], {
      cwd: join(REPOSITORY, 'services', service),
      env: { ...process.env, ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
      detached: true,
    });
    child = started;
    if ((options.niceness ?? 0) > 0 && started.pid !== undefined) yieldToOthers(started.pid, options.niceness ?? 0);
    for (const stream of [started.stdout, started.stderr]) {
      createInterface({ input: stream }).on('line', (line) => onLine(name, line));
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
        onExit?.(name, how, undefined);
        return;
      }
      if (performance.now() - startedMs > SETTLED_MS) delayMs = firstMs;
      onExit?.(name, how, delayMs);
      timer = setTimeout(() => {
        restarts += 1;
        start();
      }, delayMs);
      delayMs = Math.min(delayMs * 2, lastMs);
    });
  };
  start();
  process.once('exit', () => child?.kill('SIGKILL'));

  return {
    name,
    opsUrl: `http://127.0.0.1:${env['OPS_PORT']}`,
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
