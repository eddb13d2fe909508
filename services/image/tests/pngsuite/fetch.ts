// `pnpm pngsuite`: puts PngSuite where the tests look for it. 160 kB from a Debian archive, known by their checksum.
import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, rename, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { promisify } from 'node:util';
import { suiteFolder } from './suite.ts';

const run = promisify(execFile);
// Debian has the source in main, distributions made of it in universe.
const sources = ['main', 'universe'].map((part) => `pool/${part}/libs/libspng/libspng_0.7.4.orig.tar.gz`);
const sha256 = '47ec02be6c0a6323044600a9221b049f63e1953faf816903e7383d4dc4234487';
const fetchTimeoutMs = 60_000;

/** The archives of packages that this machine is set up with, or the one that DEBIAN_ARCHIVE names. */
async function sites(): Promise<readonly string[]> {
  const { DEBIAN_ARCHIVE } = process.env;
  if (DEBIAN_ARCHIVE !== undefined) return [DEBIAN_ARCHIVE];
  const { stdout } = await run('apt-get', ['indextargets', '--format', '$(SITE)']).catch(() => ({ stdout: '' }));
  return [...new Set(stdout.split('\n').filter((site) => /^https?:/.test(site)))];
}

async function fetchSource(): Promise<Buffer> {
  const failures: string[] = [];
  const urls = (await sites()).flatMap((site) => sources.map((source) => `${site.replace(/\/$/, '')}/${source}`));
  if (urls.length === 0) {
    throw new Error(
      'PngSuite cannot be had: apt has no archive here; set DEBIAN_ARCHIVE to the URL of a mirror of Debian',
    );
  }
  for (const url of urls) {
    try {
      const response = await fetch(url, { signal: AbortSignal.timeout(fetchTimeoutMs) });
      if (!response.ok) throw new Error(`answered ${response.status}`);
      const bytes = Buffer.from(await response.arrayBuffer());
      const found = createHash('sha256').update(bytes).digest('hex');
      if (found !== sha256) throw new Error(`gave other bytes, of SHA-256 ${found}`);
      return bytes;
    } catch (error) {
      failures.push(`${url}: ${error instanceof Error ? error.message : String(error)}`);
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
