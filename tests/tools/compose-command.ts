import { execFile } from 'node:child_process';
import { chmod, copyFile, rename } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { toolCacheDir, withDebianPackage } from '@sluice/dev';

const run = promisify(execFile);

/** How to call Docker Compose 2 on this machine, as program and first arguments. */
export type ComposeCommand = readonly [program: string, ...args: string[]];

async function works(command: ComposeCommand): Promise<boolean> {
  const [program, ...args] = command;
  try {
    const { stdout } = await run(program, [...args, 'version'], { timeout: 10_000 });
    // Version 1 rejects most of what the files here use.
    return /\bv?[2-9]\.\d+\.\d+/.test(stdout);
  } catch {
    return false;
  }
}

/**
 * Finds Compose: Docker's plugin, a `docker-compose` on PATH, one fetched before, or Debian's package unpacked into the
 * tool cache. `config` needs no Docker engine, so the files can be checked on machines without one.
 */
export async function findCompose(): Promise<ComposeCommand | undefined> {
  const cached = join(toolCacheDir(), 'docker-compose');
  const candidates: ComposeCommand[] = [['docker', 'compose'], ['docker-compose'], [cached]];
  for (const command of candidates) {
    if (await works(command)) return command;
  }
  for (const suite of ['sid', 'trixie']) {
    try {
      await withDebianPackage({ name: 'docker-compose', suite, workDir: toolCacheDir() }, async (unpacked) => {
        await copyFile(join(unpacked, 'usr/libexec/docker/cli-plugins/docker-compose'), `${cached}.${process.pid}`);
        await chmod(`${cached}.${process.pid}`, 0o755);
        await rename(`${cached}.${process.pid}`, cached);
      });
      if (await works([cached])) return [cached];
    } catch (error) {
      console.warn(`docker-compose of Debian ${suite}: ${error instanceof Error ? error.message.split('\n')[0] : ''}`);
    }
  }
  return undefined;
}
