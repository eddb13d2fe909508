import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { userInfo } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);
const FETCH_TIMEOUT_MS = 120_000;
const KEYRING = '/usr/share/keyrings/debian-archive-keyring.gpg';

async function archiveSite(): Promise<string | undefined> {
  if (process.platform !== 'linux') return undefined;
  const { stdout } = await run('apt-get', ['indextargets', '--format', '$(SITE)']).catch(() => ({ stdout: '' }));
  return stdout.split('\n').find((site) => site.endsWith('/debian'));
}

/** Keeps apt from switching to its own user, who cannot read the folder. A user id without a name needs no switch. */
function user(): Record<string, string> {
  try {
    return { 'APT::Sandbox::User': userInfo().username };
  } catch {
    return {};
  }
}

/** A package cannot be had: this machine's apt has no Debian archive, does not reach it, or finds no such package there. */
export class NoDebianPackageError extends Error {
  override readonly name = 'NoDebianPackageError';
}

/**
 * Unpacks a package, or several into one folder, of any suite of the Debian archive that this machine's apt uses, and hands the folder to `use`:
 * apt checks the archive's signature and the package's hash, nothing is installed and no root is needed. The folder is
 * gone afterwards.
 *
 * @returns undefined where there is no such archive.
 * @throws {NoDebianPackageError} when the package cannot be had, and what `use` throws.
 */
export async function withDebianPackage<T>(
  { name, suite, workDir }: { name: string | readonly string[]; suite: string; workDir: string },
  use: (unpacked: string) => Promise<T>,
): Promise<T | undefined> {
  const site = await archiveSite();
  if (site === undefined) return undefined;
  await mkdir(workDir, { recursive: true });
  const work = await mkdtemp(join(workDir, `apt-${suite}-`));
  try {
    const unpacked = join(work, 'unpacked');
    for (const folder of ['lists/partial', 'cache/archives/partial', 'unpacked']) {
      await mkdir(join(work, folder), { recursive: true });
    }
    await writeFile(join(work, 'sources.list'), `deb [signed-by=${KEYRING}] ${site} ${suite} main\n`);
    const settings = {
      'Dir::Etc::sourcelist': join(work, 'sources.list'),
      'Dir::Etc::sourceparts': '-',
      'Dir::State::Lists': join(work, 'lists'),
      'Dir::Cache': join(work, 'cache'),
      'Dir::State::status': '/dev/null',
      ...user(),
    };
    const flags = ['-qq', ...Object.entries(settings).flatMap(([key, value]) => ['-o', `${key}=${value}`])];
    const names = typeof name === 'string' ? [name] : name;
    const fetch = async (args: readonly string[]): Promise<void> => {
      await run('apt-get', [...flags, ...args], { cwd: unpacked, timeout: FETCH_TIMEOUT_MS }).catch((cause: Error) => {
        throw new NoDebianPackageError(`${names.join(', ')} of Debian ${suite}: ${cause.message}`, { cause });
      });
    };
    await fetch(['update']);
    await fetch(['download', ...names]);
    const files = (await readdir(unpacked)).filter((entry) => entry.endsWith('.deb'));
    if (files.length < names.length) {
      throw new NoDebianPackageError(`not all of ${names.join(', ')} are in Debian ${suite}`);
    }
    for (const file of files) await run('dpkg-deb', ['-x', join(unpacked, file), unpacked]);
    return await use(unpacked);
  } finally {
    await rm(work, { recursive: true, force: true });
  }
}
