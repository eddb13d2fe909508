import { spawnSync } from 'node:child_process';
import { mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { cachedBinaries, keepBinary, toolCacheDir, withFetchLock } from './cache.ts';
import { fileFromTar } from './release.ts';

let folder: string;
beforeEach(async () => void (folder = await mkdtemp(join(tmpdir(), 'sluice-cache-'))));
afterEach(async () => await rm(folder, { recursive: true }));

describe('the tool cache', () => {
  it('lies where the environment says', () => {
    expect(toolCacheDir({ XDG_CACHE_HOME: '/somewhere' })).toBe('/somewhere/sluice');
    expect(toolCacheDir({})).toMatch(/\/\.cache\/sluice$/);
  });

  it('offers the newest server first and nothing that is half written', async () => {
    await keepBinary(folder, '2.9.10', Buffer.from('old'));
    await keepBinary(folder, '2.10.27', Buffer.from('new'));
    await writeFile(join(folder, 'nats-server-2.15.1.4242'), 'half');
    expect(await cachedBinaries(folder)).toEqual([
      join(folder, 'nats-server-2.10.27'),
      join(folder, 'nats-server-2.9.10'),
    ]);
  });

  it('lets one fetch at a time', async () => {
    let running = 0;
    let most = 0;
    const fetchOnce = async (): Promise<void> => {
      most = Math.max(most, ++running);
      await new Promise((resolve) => setTimeout(resolve, 5));
      running--;
    };
    await Promise.all([1, 2, 3].map(async () => await withFetchLock(folder, fetchOnce)));
    expect(most).toBe(1);
    expect(await readdir(folder)).toEqual([]);
  });

  it('takes over from a process that died with the lock', async () => {
    const { pid } = spawnSync('true');
    await writeFile(join(folder, 'fetch.lock'), String(pid));
    expect(await withFetchLock(folder, () => Promise.resolve('fetched'))).toBe('fetched');
  });
});

describe('a release archive', () => {
  it('gives its server by the end of the name', async () => {
    await mkdir(join(folder, 'nats-server-v1'));
    await writeFile(join(folder, 'nats-server-v1/README.md'), 'x'.repeat(700));
    await writeFile(join(folder, 'nats-server-v1/nats-server'), 'the binary');
    const { stdout } = spawnSync('tar', ['-c', 'nats-server-v1'], { cwd: folder });
    expect(fileFromTar(stdout, '/nats-server')?.toString()).toBe('the binary');
    expect(fileFromTar(stdout, '/other')).toBeUndefined();
  });
});
