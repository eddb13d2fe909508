// `pnpm pngsuite`: puts PngSuite where the tests look for it. 160 kB from Debian's archive, known by their checksum.
import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, rename, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { promisify } from 'node:util';
import { suiteFolder } from './suite.ts';

const run = promisify(execFile);
const source = 'pool/main/libs/libspng/libspng_0.7.4.orig.tar.gz';
const sha256 = '47ec02be6c0a6323044600a9221b049f63e1953faf816903e7383d4dc4234487';
const fetchTimeoutMs = 60_000;

/** The archive that this machine's apt uses, the archive itself, and the one that keeps what it has dropped. */
async function sites(): Promise<readonly string[]> {
  const { stdout } = await run('apt-get', ['indextargets', '--format', '$(SITE)']).catch(() => ({ stdout: '' }));
  const mirror = stdout.split('\n').find((site) => /^https?:.*\/debian$/.test(site));
  const known = ['https://deb.debian.org/debian', 'https://snapshot.debian.org/archive/debian/20250901T000000Z'];
  return mirror === undefined ? known : [mirror, ...known];
}

async function fetchSource(): Promise<Buffer> {
  const failures: string[] = [];
  for (const site of await sites()) {
    try {
      const response = await fetch(`${site}/${source}`, { signal: AbortSignal.timeout(fetchTimeoutMs) });
      if (!response.ok) throw new Error(`answered ${response.status}`);
      const bytes = Buffer.from(await response.arrayBuffer());
      const found = createHash('sha256').update(bytes).digest('hex');
      if (found !== sha256) throw new Error(`gave other bytes, of SHA-256 ${found}`);
      return bytes;
    } catch (error) {
      failures.push(`${site}: ${error instanceof Error ? error.message : String(error)}`);
    }
  }
  throw new Error(`PngSuite cannot be had\n${failures.join('\n')}`);
}

async function unpack(archive: Buffer): Promise<void> {
  const parent = path.dirname(suiteFolder);
  await mkdir(parent, { recursive: true });
  const work = await mkdtemp(path.join(parent, 'pngsuite-'));
  try {
    await writeFile(path.join(work, 'source.tar.gz'), archive);
    await run('tar', ['-xzf', 'source.tar.gz', '--strip-components=2', 'libspng-0.7.4/tests'], { cwd: work });
    const folder = path.join(work, 'suite');
    await mkdir(folder);
    for (const part of ['images', 'crashers']) await rename(path.join(work, part), path.join(folder, part));
    await rename(folder, suiteFolder);
  } finally {
    await rm(work, { recursive: true });
  }
}

if (!existsSync(suiteFolder)) await unpack(await fetchSource());
console.log(suiteFolder);
