import { linkSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { isAlive, isSameProcess, processIdentity, type ProcessIdentity } from './process-identity.ts';

/** Where the parts of a stack answer. */
export interface StackUrls {
  readonly gateway: string;
  /** For gRPC clients: host and port. */
  readonly grpc: string;
  readonly nats: string;
  readonly natsMonitor: string;
  readonly s3: string;
  readonly smtp: string;
  readonly mail: string;
  readonly otlp: string;
}

/** What a run file says about a stack and the processes that it is made of. */
export interface RunningStack {
  /** The command that started it: `pnpm dev --port-offset 1000`. */
  readonly command: string;
  /** Undefined for a stack on free ports, which no other command is meant to find. */
  readonly portOffset?: number;
  readonly launcher: ProcessIdentity;
  /** nats-server and the services. They outlive a launcher that was ended by SIGKILL. */
  readonly processes: readonly ProcessIdentity[];
  /** Undefined until the broker runs. */
  readonly urls?: StackUrls;
  /** False while it starts. */
  readonly ready: boolean;
}

/** The run file of a launcher, held until `remove`. */
export interface RunFile {
  /** Replaces what the file says about the stack. */
  write(state: { readonly urls: StackUrls; readonly ready: boolean; readonly pids: readonly number[] }): void;
  remove(): void;
}

const RUN_FOLDER = join(import.meta.dirname, '../../../.data/run');

/** The same command already runs. */
export class StackRunsError extends Error {
  override readonly name = 'StackRunsError';
  readonly code = 'stack_runs';
  constructor({ command, urls, launcher, portOffset }: RunningStack) {
    const at = urls === undefined ? '' : ` at ${urls.gateway}`;
    const next = portOffset === undefined ? '' : `, or start another one with --port-offset ${portOffset + 1000}`;
    super(`${command}: already running${at} (pid ${launcher.pid}). Stop that one first${next}.`);
  }
}

/** More than one stack runs, and the command does not say which it means. */
export class SeveralStacksError extends Error {
  override readonly name = 'SeveralStacksError';
  readonly code = 'several_stacks';
  constructor(stacks: readonly RunningStack[]) {
    const list = stacks.map(
      ({ portOffset, urls, launcher }) =>
        `  --port-offset ${portOffset}   ${urls?.gateway ?? 'starting'} (pid ${launcher.pid})`,
    );
    super(`${stacks.length} stacks run; choose one of\n${list.join('\n')}`);
  }
}

/**
 * Takes the run file of a launcher. `left` are processes of an earlier launcher that was killed and that still run: they
 * hold the ports and the data that this run is about to use.
 *
 * @throws {StackRunsError} when the launcher that the file names is alive.
 */
export function openRunFile(
  { command, portOffset }: Pick<RunningStack, 'command' | 'portOffset'>,
  folder = RUN_FOLDER,
): { readonly file: RunFile; readonly left: readonly ProcessIdentity[] } {
  mkdirSync(folder, { recursive: true });
  const path = join(folder, portOffset === undefined ? 'demo.json' : `dev-${portOffset}.json`);
  const unique = `${path}.${process.pid}`;
  const launcher = processIdentity(process.pid) ?? { pid: process.pid, startedAt: '', command: '' };
  const put = (stack: Pick<RunningStack, 'urls' | 'ready' | 'processes'>): void => {
    const record = { command, ...(portOffset === undefined ? {} : { portOffset }), launcher, ...stack };
    writeFileSync(unique, `${JSON.stringify(record, undefined, 2)}\n`);
  };
  const found = read(path);
  if (found !== undefined && runs(found.launcher)) throw new StackRunsError(found);
  rmSync(path, { force: true });
  const left = (found?.processes ?? []).filter(isSameProcess);
  // They stay recorded until this run has ended them: it may be killed before.
  put({ ready: false, processes: left });
  try {
    // Fails when another launcher has put its file there since it was read.
    linkSync(unique, path);
  } catch (error) {
    const first = read(path);
    throw first === undefined ? error : new StackRunsError(first);
  } finally {
    rmSync(unique, { force: true });
  }
  return {
    left,
    file: {
      write({ pids, urls, ready }) {
        put({ urls, ready, processes: pids.flatMap((pid) => processIdentity(pid) ?? []) });
        // Renamed into place: a command that reads at this moment gets a whole file.
        renameSync(unique, path);
      },
      remove: () => rmSync(path, { force: true }),
    },
  };
}

/** Without an identity (Windows) the pid alone decides. Such a process is never ended, only left alone. */
function runs(launcher: ProcessIdentity): boolean {
  return launcher.startedAt === '' ? isAlive(launcher.pid) : isSameProcess(launcher);
}

/** The stacks that `pnpm dev` runs from this copy of the repository, lowest port offset first. */
export function runningStacks(folder = RUN_FOLDER): readonly RunningStack[] {
  let names: string[];
  try {
    names = readdirSync(folder);
  } catch {
    return [];
  }
  return names
    .filter((name) => /^dev-\d+\.json$/.test(name))
    .flatMap((name) => read(join(folder, name)) ?? [])
    .filter(({ launcher }) => runs(launcher))
    .toSorted((a, b) => (a.portOffset ?? 0) - (b.portOffset ?? 0));
}

/**
 * The stack that a command means: that of the port offset when one is given, else the only one. Undefined when none
 * runs.
 *
 * @throws {SeveralStacksError} when several run and no offset was given.
 */
export function findRunningStack(portOffset?: number, folder = RUN_FOLDER): RunningStack | undefined {
  const stacks = runningStacks(folder);
  if (portOffset !== undefined) return stacks.find((stack) => stack.portOffset === portOffset);
  if (stacks.length > 1) throw new SeveralStacksError(stacks);
  return stacks[0];
}

function read(path: string): RunningStack | undefined {
  try {
    const stack = JSON.parse(readFileSync(path, 'utf8')) as Partial<RunningStack>;
    return stack.launcher === undefined ? undefined : (stack as RunningStack);
  } catch {
    return undefined;
  }
}
