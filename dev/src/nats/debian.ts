import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { withDebianPackage } from '../debian-package.ts';
import { keepBinary } from './cache.ts';
import { isUsable, natsVersionOf } from './version.ts';

/** Debian suites in the order they are tried: sid carries the newest server, trixie a steady 2.10. */
export const DEBIAN_SUITES: readonly string[] = ['sid', 'trixie'];

/**
 * Puts the nats-server of a Debian suite into the cache. Undefined where this machine has no Debian archive; throws
 * when the package cannot be had, is of another series, or does not run here (a later sid may want a newer glibc).
 */
export async function fetchFromDebian(cacheDir: string, suite: string, series?: string): Promise<string | undefined> {
  return await withDebianPackage({ name: 'nats-server', suite, workDir: cacheDir }, async (unpacked) => {
    const binary = join(unpacked, 'usr/sbin/nats-server');
    const version = await natsVersionOf(binary);
    if (version === undefined) throw new Error(`the server of Debian ${suite} does not run here`);
    if (!isUsable(version, series)) throw new Error(`Debian ${suite} has ${version}`);
    return await keepBinary(cacheDir, version, await readFile(binary));
  });
}
