import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';

/** One container of a Compose file. */
export interface Container {
  readonly Name: string;
  readonly Service: string;
  readonly State: string;
  readonly Publishers: readonly { readonly PublishedPort: number }[] | null;
}

/** What the engine remembers of a container. */
export interface ContainerState {
  readonly restarts: number;
  readonly exitCode: number;
  readonly outOfMemory: boolean;
}

/** The exit code of a process that was ended by SIGKILL: 128 and the number of the signal. */
const KILLED = 137;
/** The dump of a database that some thousand jobs are in. */
const MAX_OUTPUT_BYTES = 256 * 2 ** 20;

/** The system of one or several Compose files, as the `docker` command sees it. */
export interface ComposedSystem {
  /** Runs a command of Compose; its output is shown. Throws when it fails. */
  run(...args: readonly string[]): Promise<void>;
  /** Runs a command of Compose with this input and returns what it printed, as bytes. Throws when it fails. */
  pipe(input: Buffer | undefined, ...args: readonly string[]): Buffer;
  /** As {@link pipe}, without input and as text. */
  read(...args: readonly string[]): string;
  containers(): readonly Container[];
  /** By name of the container. */
  states(): ReadonlyMap<string, ContainerState>;
  /** The process of a container dies as by a crash: `docker kill` would count as a stop on request. */
  crash(name: string): { isBack(): boolean };
  /** Of the first process of a container, as this machine counts them. */
  pidOf(name: string): number;
}

export function composedSystem(root: string, files: readonly string[]): ComposedSystem {
  const named = ['compose', ...files.flatMap((file) => ['-f', file])];
  const docker = (args: readonly string[]): string =>
    execFileSync('docker', args, { cwd: root, encoding: 'utf8', stdio: ['ignore', 'pipe', 'inherit'] });
  const lines = (text: string): readonly string[] => text.split('\n').filter((line) => line !== '');
  const inspect = (name: string, format: string): string => docker(['inspect', '-f', format, name]).trim();
  const system: ComposedSystem = {
    async run(...args) {
      const [status] = (await once(spawn('docker', [...named, ...args], { cwd: root, stdio: 'inherit' }), 'exit')) as [
        number | null,
      ];
      if (status !== 0) throw new Error(`docker compose ${args.join(' ')} ended with ${status}`);
    },
    pipe: (input, ...args) =>
      execFileSync('docker', [...named, ...args], {
        cwd: root,
        input: input ?? '',
        maxBuffer: MAX_OUTPUT_BYTES,
        stdio: ['pipe', 'pipe', 'inherit'],
      }),
    read: (...args) => docker([...named, ...args]),
    containers: () =>
      lines(docker([...named, 'ps', '--all', '--format', 'json'])).map((line) => JSON.parse(line) as Container),
    states() {
      const names = system.containers().map(({ Name }) => Name);
      if (names.length === 0) return new Map();
      const format = '{{.Name}} {{.RestartCount}} {{.State.ExitCode}} {{.State.OOMKilled}}';
      return new Map(
        lines(docker(['inspect', '-f', format, ...names])).map((line) => {
          const [name = '', restarts, exitCode, outOfMemory] = line.split(' ');
          const state = { restarts: Number(restarts), exitCode: Number(exitCode), outOfMemory: outOfMemory === 'true' };
          return [name.replace(/^\//, ''), state];
        }),
      );
    },
    pidOf: (name) => Number(inspect(name, '{{.State.Pid}}')),
    crash(name) {
      const startedAt = inspect(name, '{{.State.StartedAt}}');
      process.kill(system.pidOf(name), 'SIGKILL');
      // One short question: `compose ps` would take much of a processor when it is asked again and again.
      const format = '{{.State.StartedAt}} {{.State.Status}} {{with .State.Health}}{{.Status}}{{end}}';
      return {
        isBack() {
          const [since, status, health = ''] = inspect(name, format).split(' ');
          return since !== startedAt && status === 'running' && (health === '' || health === 'healthy');
        },
      };
    },
  };
  return system;
}

/**
 * What went wrong between two looks at the same containers: one that ran out of memory, and one that was started again
 * although nothing killed it.
 */
export function troubles(
  before: ReadonlyMap<string, ContainerState>,
  after: ReadonlyMap<string, ContainerState>,
  killed?: string,
): readonly string[] {
  return [...after].flatMap(([name, { restarts, outOfMemory }]) => {
    const restarted = restarts - (before.get(name)?.restarts ?? 0) - (name === killed ? 1 : 0);
    return [
      ...(outOfMemory ? [`${name} ran out of memory`] : []),
      ...(restarted > 0 ? [`${name} ended by itself and was started again, ${restarted} times`] : []),
    ];
  });
}

/** The containers that were still there when their time to stop was over, and were killed. */
export const killedAtStop = (states: ReadonlyMap<string, ContainerState>): readonly string[] =>
  [...states].filter(([, { exitCode }]) => exitCode === KILLED).map(([name]) => name);
