import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { userInfo } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { keepBinary } from './cache.ts';
import { isUsable, natsVersionOf } from './version.ts';

const run = promisify(execFile);
const FETCH_TIMEOUT_MS = 120_000;

/** Debian suites in the order they are tried: sid carries the newest server, trixie a steady 2.10. */
export const DEBIAN_SUITES: readonly string[] = ['sid', 'trixie'];

async function archiveSite(): Promise<string | undefined> {
  const { stdout } = await run('apt-get', ['indextargets', '--format', '$(SITE)']).catch(() => ({ stdout: '' }));
  return stdout.split('\n').find((site) => site.endsWith('/debian'));
}

/**
 * Unpacks the nats-server of another Debian suite into the cache: apt checks the archive's signature and the package's
 * hash, nothing is installed and no root is needed. Undefined where this machine has no Debian archive; throws when the
 * package cannot be had or does not run here (a later sid may want a newer glibc).
 */
export async function fetchFromDebian(cacheDir: string, suite: string, series?: string): Promise<string | undefined> {
  const site = process.platform === 'linux' ? await archiveSite() : undefined;
  if (!site) return undefined;
  await mkdir(cacheDir, { recursive: true });
  const work = await mkdtemp(join(cacheDir, `apt-${suite}-`));
  try {
    const unpacked = join(work, 'unpacked');
    for (const folder of ['lists/partial', 'cache/archives/partial', 'unpacked']) {
      await mkdir(join(work, folder), { recursive: true });
    }
    const keyring = '/usr/share/keyrings/debian-archive-keyring.gpg';
    await writeFile(join(work, 'sources.list'), `deb [signed-by=${keyring}] ${site} ${suite} main\n`);
    const settings = {
      'Dir::Etc::sourcelist': join(work, 'sources.list'),
      'Dir::Etc::sourceparts': '-',
      'Dir::State::Lists': join(work, 'lists'),
      'Dir::Cache': join(work, 'cache'),
      'Dir::State::status': '/dev/null',
      'APT::Sandbox::User': userInfo().username,
    };
    const flags = ['-qq', ...Object.entries(settings).flatMap(([key, value]) => ['-o', `${key}=${value}`])];
    await run('apt-get', [...flags, 'update'], { timeout: FETCH_TIMEOUT_MS });
    await run('apt-get', [...flags, 'download', 'nats-server'], { cwd: unpacked, timeout: FETCH_TIMEOUT_MS });
    const packageFile = (await readdir(unpacked)).find((file) => file.endsWith('.deb'));
    if (!packageFile) throw new Error(`no nats-server package in Debian ${suite}`);
    await run('dpkg-deb', ['-x', join(unpacked, packageFile), unpacked]);
    const binary = join(unpacked, 'usr/sbin/nats-server');
    const version = await natsVersionOf(binary);
    if (version === undefined) throw new Error(`the server of Debian ${suite} does not run here`);
    if (!isUsable(version, series)) throw new Error(`Debian ${suite} has ${version}`);
    return await keepBinary(cacheDir, version, await readFile(binary));
  } finally {
    await rm(work, { recursive: true, force: true });
  }
}
