import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Stack } from '@sluice/dev';
import { parse } from 'yaml';
import { childrenOf } from '../processes.ts';

const COMPOSE = join(import.meta.dirname, '../../docker-compose.yml');
const LOOK_MS = 100;

/** What a process used at most, against what its container may use. */
export interface MemoryUse {
  readonly name: string;
  readonly mostBytes: number;
  readonly limitBytes: number;
  /** How often it was killed for using more. */
  readonly killed: number;
}

/**
 * Holds every process of a stack to a limit, by default the `mem_limit` of its container in docker-compose.yml: one that uses more, its
 * children included, is killed, as the kernel does in a container. A watch and no cgroup, which only root may make.
 */
export function holdToLimits(
  stack: Stack,
  limitOf: (container: string) => number = memoryLimit,
): { use(): readonly MemoryUse[]; stop(): void } {
  const uses = new Map<string, { mostBytes: number; limitBytes: number; killed: number }>();
  const look = (name: string, container: string, pid: number | undefined): void => {
    if (pid === undefined) return;
    const limitBytes = limitOf(container);
    const use = uses.get(name) ?? { mostBytes: 0, limitBytes, killed: 0 };
    uses.set(name, use);
    const bytes = bytesOf(pid);
    use.mostBytes = Math.max(use.mostBytes, bytes);
    if (bytes <= limitBytes) return;
    use.killed += 1;
    process.kill(pid, 'SIGKILL');
  };
  const timer = setInterval(() => {
    for (const { name, service, pid } of stack.services) look(name, service, pid);
    look('nats', 'nats', stack.nats.pid);
  }, LOOK_MS);
  return {
    use: () => [...uses].map(([name, use]) => ({ name, ...use })),
    stop: () => clearInterval(timer),
  };
}

/** The `mem_limit` of a container of docker-compose.yml, in bytes. */
export function memoryLimit(container: string): number {
  const limitBytes = containers.get(container)?.limitBytes;
  if (limitBytes === undefined) throw new Error(`docker-compose.yml has no mem_limit for ${container}`);
  return limitBytes;
}

interface Container {
  readonly limitBytes: number;
  readonly environment: Readonly<Record<string, string>>;
}

/** The environment that Node gets in the containers. */
export function containerEnv(): Readonly<Record<string, Readonly<Record<string, string>>>> {
  const env = [...containers].map(([name, { limitBytes, environment }]) => {
    const nodeOptions = environment['NODE_OPTIONS'];
    // Node takes half of the memory of its container for the heap; here it would see that of the machine.
    const heapMib = Math.floor(limitBytes / 2 ** 21);
    return [name, { NODE_OPTIONS: nodeOptions ?? `--max-old-space-size=${heapMib}`, MALLOC_ARENA_MAX: '2' }] as const;
  });
  return Object.fromEntries(env);
}

const containers = readLimits(COMPOSE);

/** The memory limits and the environment of the containers of a Compose file; of those that it limits. */
export function readLimits(file: string): ReadonlyMap<string, Container> {
  const { services } = parse(readFileSync(file, 'utf8'), { merge: true }) as {
    services: Readonly<Record<string, { readonly mem_limit?: string; readonly environment?: Record<string, string> }>>;
  };
  const units: Readonly<Record<string, number>> = { m: 2 ** 20, g: 2 ** 30 };
  const found = new Map<string, Container>();
  for (const [name, { mem_limit: text = '', environment = {} }] of Object.entries(services)) {
    const [, count, unit = ''] = /^(\d+)([mg])$/.exec(text) ?? [];
    if (count === undefined) continue;
    found.set(name, { limitBytes: Number(count) * units[unit]!, environment });
  }
  return found;
}

/** Memory of a process and its children that the kernel cannot take back: pages of files are not counted. */
export function bytesOf(pid: number): number {
  try {
    const status = readFileSync(`/proc/${pid}/status`, 'utf8');
    const kib = (field: string): number => Number(new RegExp(`^${field}:\\s+(\\d+) kB`, 'm').exec(status)?.[1] ?? 0);
    const own = (kib('RssAnon') + kib('RssShmem')) * 1024;
    return childrenOf(pid).reduce((sum, child) => sum + bytesOf(child), own);
  } catch {
    return 0; // it has ended meanwhile
  }
}
