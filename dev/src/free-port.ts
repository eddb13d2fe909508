import { randomInt } from 'node:crypto';
import { rmSync } from 'node:fs';
import { mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { isAlive } from '@sluice/cli';
import { findPortHolder, PortInUseError } from './port-holder.ts';

// Below what Linux, macOS and Windows hand out for port 0 and for outgoing connections: no process gets these by chance.
const LOWEST = 15_000;
const HIGHEST = 32_000;
const TRIES = 200;
/** One file for each port that a process has been given, with its id. Shared by every process of the machine. */
export const portsFolder = join(tmpdir(), `sluice-ports-${process.getuid?.() ?? 0}`);
const mine = new Set<string>();
let cleaned: Promise<void> | undefined;

/**
 * A free port, reserved until this process ends: the process that is told to listen on
 * it may take seconds to begin, and may end and begin again.
 */
export async function freePort(): Promise<number> {
  await (cleaned ??= removeStale());
  for (let tries = 0; tries < TRIES; tries += 1) {
    const port = randomInt(LOWEST, HIGHEST);
    if (!(await reserve(join(portsFolder, String(port))))) continue;
    try {
      return await listenOnce(port);
    } catch {
      // A process that does not reserve ports listens on it. The reservation stays, so that it is not tried again.
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
  if (mine.size === 0) process.once('exit', releasePorts);
  mine.add(file);
  return true;
}

/** Removes what processes left that were killed: test runners end their workers that way. */
async function removeStale(): Promise<void> {
  await mkdir(portsFolder, { recursive: true });
  for (const name of await readdir(portsFolder)) {
    const file = join(portsFolder, name);
    const holder = Number(await readFile(file, 'utf8').catch(() => ''));
    // An empty one is being written.
    if (holder > 0 && !isAlive(holder)) await rm(file, { force: true });
  }
}

function releasePorts(): void {
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
