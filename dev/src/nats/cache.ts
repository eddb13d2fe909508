import { chmod, mkdir, open, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { isAlive } from '@sluice/cli';
import { writableFolder } from '../writable.ts';

/** Where fetched tools are kept between runs: `$XDG_CACHE_HOME/sluice`, by default `~/.cache/sluice`. */
export function toolCacheDir(env: NodeJS.ProcessEnv = process.env): string {
  return join(env['XDG_CACHE_HOME'] ?? join(homedir(), '.cache'), 'sluice');
}

const CACHE_ADVICE =
  'set XDG_CACHE_HOME to a folder that can be, or put nats-server on PATH (NATS_SERVER_BIN names another one)';

/** The cached nats-server binaries, newest version first. */
export async function cachedBinaries(cacheDir: string): Promise<string[]> {
  const names = await readdir(cacheDir).catch(() => []);
  return names
    .filter((name) => /^nats-server-\d+\.\d+\.\d+$/.test(name))
    .sort((a, b) => b.localeCompare(a, 'en', { numeric: true }))
    .map((name) => join(cacheDir, name));
}

/** Puts a binary into the cache by an atomic rename, so another process never runs half of one. */
export async function keepBinary(cacheDir: string, version: string, content: Buffer): Promise<string> {
  await mkdir(cacheDir, { recursive: true });
  const target = join(cacheDir, `nats-server-${version}`);
  const temporary = `${target}.${process.pid}`;
  await writeFile(temporary, content);
  await chmod(temporary, 0o755);
  await rename(temporary, target);
  return target;
}

/**
 * Runs `work` while no other process does: test workers that start together on an empty cache would otherwise all
 * download the same binary. A lock left by a dead process is taken over.
 */
export async function withFetchLock<T>(cacheDir: string, work: () => Promise<T>): Promise<T> {
  await writableFolder(cacheDir, CACHE_ADVICE);
  const lock = join(cacheDir, 'fetch.lock');
  for (;;) {
    try {
      const handle = await open(lock, 'wx');
      await handle.writeFile(String(process.pid));
      await handle.close();
      break;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
      const holder = Number(await readFile(lock, 'utf8').catch(() => ''));
      // An empty lock is one being written this very moment, or one whose writer died before the pid: both pass.
      if (holder > 0 && !isAlive(holder)) await rm(lock, { force: true });
      await sleep(100);
    }
  }
  try {
    return await work();
  } finally {
    await rm(lock, { force: true });
  }
}
