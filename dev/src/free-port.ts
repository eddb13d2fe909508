import { randomInt } from 'node:crypto';
import { rmSync } from 'node:fs';
import { mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { isAlive } from '@sluice/cli';
import { findPortHolder, PortInUseError } from './port-holder.ts';

// Below what Linux, macOS and Windows hand out for port 0 and for outgoing connections: nobody comes by these by chance.
const LOWEST = 15_000;
const HIGHEST = 32_000;
const TRIES = 200;
/** One file for each port that a process has been given, with its id. Shared by every process of the machine. */
export const portsFolder = join(tmpdir(), `sluice-ports-${process.getuid?.() ?? 0}`);
const mine = new Set<string>();
let swept: Promise<void> | undefined;

/**
 * A port nobody listens on now, and that is given to nobody else before this process ends: whoever is told to listen on
 * it may take seconds to begin, and may end and begin again.
 */
export async function freePort(): Promise<number> {
  await (swept ??= sweep());
  for (let tries = 0; tries < TRIES; tries += 1) {
    const port = randomInt(LOWEST, HIGHEST);
    if (!(await reserve(join(portsFolder, String(port))))) continue;
    try {
      return await listenOnce(port);
    } catch {
      // Somebody who does not ask here has it. It stays ours, so that nobody else looks.
    }
  }
  throw new Error(`${TRIES} ports from ${LOWEST} to ${HIGHEST} are taken`);
}

async function reserve(file: string): Promise<boolean> {
  try {
    await writeFile(file, String(process.pid), { flag: 'wx' });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
    return false;
  }
  if (mine.size === 0) process.once('exit', giveBack);
  mine.add(file);
  return true;
}

/** Removes what processes left that were killed: test runners end their workers that way. */
async function sweep(): Promise<void> {
  await mkdir(portsFolder, { recursive: true });
  for (const name of await readdir(portsFolder)) {
    const file = join(portsFolder, name);
    const holder = Number(await readFile(file, 'utf8').catch(() => ''));
    // An empty one is being written.
    if (holder > 0 && !isAlive(holder)) await rm(file, { force: true });
  }
}

function giveBack(): void {
  for (const file of mine) rmSync(file, { force: true });
}

/**
 * Makes sure that a port can be had, before anything is started.
 *
 * @throws {PortInUseError} naming the port, what it is for and who has it.
 */
export async function assertPortFree(port: number, purpose: string): Promise<void> {
  try {
    await listenOnce(port);
  } catch (cause) {
    throw new PortInUseError(port, purpose, await findPortHolder(port), { cause });
  }
}

async function listenOnce(port: number): Promise<number> {
  const server = createServer();
  const listening = Promise.withResolvers<void>();
  server.once('error', listening.reject);
  server.listen(port, '127.0.0.1', listening.resolve);
  await listening.promise;
  const address = server.address();
  await new Promise((resolve) => server.close(resolve));
  if (address === null || typeof address === 'string') throw new Error('no TCP port');
  return address.port;
}
