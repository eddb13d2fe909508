import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { toolCacheDir } from '@sluice/dev';

const run = promisify(execFile);

/** SeaweedFS with `weed mini`, which is in version 4 and newer: on PATH, or in the tool cache. */
export async function findWeed(): Promise<string | undefined> {
  for (const program of ['weed', join(toolCacheDir(), 'weed')]) {
    const { stdout } = await run(program, ['version'], { timeout: 10_000 }).catch(() => ({ stdout: '' }));
    const [, major] = /^version \S+ (\d+)\./.exec(stdout) ?? [];
    if (Number(major) >= 4) return program;
  }
  return undefined;
}
