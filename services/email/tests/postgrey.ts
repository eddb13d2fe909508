import { existsSync } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { ServerProcesses } from './server-processes.ts';

/** Seconds a new triple of client, sender and recipient has to wait. */
export const GREYLIST_DELAY_S = 2;

/** Where Debian's libraries are. */
export const librariesOf = (root: string): string =>
  join(root, 'usr/lib', `${process.arch === 'arm64' ? 'aarch64' : 'x86_64'}-linux-gnu`);

export const hasPostgrey = (root: string): boolean => existsSync(join(root, 'usr/sbin/postgrey'));

/**
 * Starts the policy server that greylists, as a user that `folder` belongs to.
 *
 * @param root where Debian's package and its Perl modules are.
 */
export async function startPostgrey(
  processes: ServerProcesses,
  { root, folder, port, user }: { root: string; folder: string; port: number; user: string },
): Promise<void> {
  const modules = join(librariesOf(root), 'perl5');
  const versions = await readdir(modules).catch(() => []);
  await processes.start(port, 'perl', [
    '-T',
    `-I${join(root, 'usr/share/perl5')}`,
    ...versions.map((version) => `-I${join(modules, version)}`),
    join(root, 'usr/sbin/postgrey'),
    `--inet=127.0.0.1:${port}`,
    `--delay=${GREYLIST_DELAY_S}`,
    `--dbdir=${folder}`,
    `--user=${user}`,
    `--group=${user}`,
  ]);
}
