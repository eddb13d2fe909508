import { execFile } from 'node:child_process';
import { chmod, copyFile, rename } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { toolCacheDir, withDebianPackage } from '@sluice/dev';

const run = promisify(execFile);

/** Whether it is 2.8 or newer: older ones do not know `basic_auth`. */
async function works(program: string): Promise<boolean> {
  const { stdout } = await run(program, ['version'], { timeout: 10_000 }).catch(() => ({ stdout: '' }));
  const [, minor] = /^v?2\.(\d+)\./.exec(stdout) ?? [];
  return Number(minor) >= 8;
}

/** Finds Caddy: on PATH, fetched before, or Debian's package unpacked into the tool cache. */
export async function findCaddy(): Promise<string | undefined> {
  const cached = join(toolCacheDir(), 'caddy');
  for (const program of ['caddy', cached]) if (await works(program)) return program;
  for (const suite of ['sid', 'trixie']) {
    try {
      await withDebianPackage({ name: 'caddy', suite, workDir: toolCacheDir() }, async (unpacked) => {
        const copy = `${cached}.${process.pid}`;
        await copyFile(join(unpacked, 'usr/bin/caddy'), copy);
        await chmod(copy, 0o755);
        await rename(copy, cached);
      });
      if (await works(cached)) return cached;
    } catch (error) {
      console.warn(`caddy of Debian ${suite}: ${error instanceof Error ? error.message.split('\n')[0] : ''}`);
    }
  }
  return undefined;
}
