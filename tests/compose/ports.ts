import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { ComposedSystem } from './engine.ts';

const PAGE = join(import.meta.dirname, '../../docs/exposure.md');
/** State of a socket in /proc/net/tcp that waits for connections. */
const LISTEN = '0A';
/** Addresses of /proc/net/tcp that other containers cannot reach: 127.0.0.0/8 and ::1, in the byte order of the machine. */
const LOOPBACK = /^(?:[0-9A-F]{6}7F|0{24}01000000|0000000000000000FFFF0000[0-9A-F]{6}7F)$/;

/** The ports of a page of /proc/net/tcp on which something waits for other containers. */
export function listeningPorts(table: string): readonly number[] {
  const sockets = table
    .split('\n')
    .slice(1)
    .map((line) => line.trim().split(/\s+/));
  return sockets
    .filter(([, local = '', , state]) => state === LISTEN && !LOOPBACK.test(local.split(':')[0] ?? ''))
    .map(([, local = '']) => Number.parseInt(local.split(':')[1] ?? '', 16));
}

/** What docs/exposure.md says that each container listens on inside. */
export function documentedPorts(page: string): ReadonlyMap<string, ReadonlySet<number>> {
  const [, table = ''] = page.split('## Inside');
  const found = new Map<string, Set<number>>();
  for (const [, name = '', ports = ''] of table.matchAll(/^\| ([a-z0-9-]+) \| ([0-9, ]+) \|/gm)) {
    const known = found.get(name) ?? new Set();
    for (const port of ports.split(',')) known.add(Number(port));
    found.set(name, known);
  }
  return found;
}

/** Compares what listens in each container, and what is published, with docs/exposure.md. Returns every difference. */
export async function portDifferences(system: ComposedSystem): Promise<readonly string[]> {
  const documented = documentedPorts(await readFile(PAGE, 'utf8'));
  const differences: string[] = [];
  const seen = new Map<string, Set<number>>();
  for (const { Name, Service, State, Publishers } of system.containers()) {
    if (State !== 'running') continue;
    const ports = seen.get(Service) ?? new Set<number>();
    seen.set(Service, ports);
    for (const file of ['tcp', 'tcp6']) {
      const table = await readFile(`/proc/${system.pidOf(Name)}/net/${file}`, 'utf8');
      for (const port of listeningPorts(table)) ports.add(port);
    }
    for (const { PublishedPort } of Publishers ?? []) {
      if (PublishedPort !== 0 && !(Service === 'caddy' && [80, 443].includes(PublishedPort)))
        differences.push(`${Service} publishes ${PublishedPort}`);
    }
  }
  for (const [service, ports] of seen) {
    const known = documented.get(service) ?? new Set();
    // What the proxy leads to is in the first table of the page.
    const own = [...ports].filter((port) => !known.has(port) && !(service === 'caddy' && [8080, 8443].includes(port)));
    if (own.length > 0) differences.push(`${service} listens on ${own.join(', ')}: not in docs/exposure.md`);
    const missing = [...known].filter((port) => !ports.has(port));
    if (missing.length > 0) differences.push(`${service} does not listen on ${missing.join(', ')}`);
  }
  const count = [...seen.values()].reduce((sum, ports) => sum + ports.size, 0);
  console.log(`\n${count} ports of ${seen.size} services, ${differences.length} differences to docs/exposure.md`);
  return differences;
}
