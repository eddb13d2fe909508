import { execFile } from 'node:child_process';
import { access, constants } from 'node:fs/promises';
import { delimiter, join } from 'node:path';
import { promisify } from 'node:util';
import { cachedBinaries, toolCacheDir, withFetchLock } from './cache.ts';
import { DEBIAN_SUITES, fetchFromDebian } from './debian.ts';
import { fetchOfficialRelease } from './release.ts';
import { isUsable, MINIMUM_NATS_VERSION, natsVersionOf } from './version.ts';

const run = promisify(execFile);

/** The image that stands in where no binary can be had but Docker can. */
export const NATS_IMAGE = 'nats:2.14.6-alpine';

/** A server that can be used, and where it came from (`from` is meant for a person). */
export type NatsFound =
  | { kind: 'url'; url: string; from: string }
  | { kind: 'binary'; path: string; version: string; from: string }
  | { kind: 'docker'; image: string; from: string };

/** A server this process may start itself. */
export type NatsProgram = Exclude<NatsFound, { kind: 'url' }>;

/** No usable nats-server: `code` is `nats_unavailable`, the message says what to do about it. */
export class NatsUnavailableError extends Error {
  override readonly name = 'NatsUnavailableError';
  readonly code = 'nats_unavailable';
}

/** How to look for a server. */
export interface FindNatsOptions {
  /** Takes one line per step that is slow or that failed. Silent by default. */
  log?: (line: string) => void;
  /** Only servers of this `major.minor`, such as `2.10` for a run on the oldest supported server. */
  series?: string;
  /** The environment to read (`NATS_URL`, `NATS_SERVER_BIN`, `NATS_SERVER_IMAGE`, `PATH`, `XDG_CACHE_HOME`); the process's own by default. */
  env?: NodeJS.ProcessEnv;
}

// Debian installs daemons into /usr/sbin, which is not on every PATH.
const MORE_FOLDERS = ['/usr/sbin', '/usr/local/sbin', '/opt/homebrew/bin'];

async function onPath(program: string, env: NodeJS.ProcessEnv): Promise<string | undefined> {
  for (const folder of [...(env['PATH'] ?? '').split(delimiter), ...MORE_FOLDERS]) {
    const file = join(folder, program);
    if (
      await access(file, constants.X_OK).then(
        () => true,
        () => false,
      )
    )
      return file;
  }
  return undefined;
}

function reasonOf(error: unknown): string {
  const cause = error instanceof Error && error.cause instanceof Error ? error.cause : error;
  return (cause instanceof Error ? cause.message : String(cause)).split('\n')[0] ?? '';
}

async function fromCache(cacheDir: string, series: string | undefined): Promise<NatsProgram | undefined> {
  for (const path of await cachedBinaries(cacheDir)) {
    const version = await natsVersionOf(path);
    if (version !== undefined && isUsable(version, series)) return { kind: 'binary', path, version, from: 'cache' };
  }
  return undefined;
}

async function fetched(cacheDir: string, series: string | undefined, log: (line: string) => void) {
  const sources: readonly [string, () => Promise<string | undefined>][] = [
    ['the official release', () => fetchOfficialRelease(cacheDir, series)],
    ...DEBIAN_SUITES.map((suite): [string, () => Promise<string | undefined>] => [
      `Debian ${suite}`,
      () => fetchFromDebian(cacheDir, suite, series),
    ]),
  ];
  for (const [from, fetchBinary] of sources) {
    try {
      log(`fetching nats-server from ${from}`);
      const path = await fetchBinary();
      const version = path === undefined ? undefined : await natsVersionOf(path);
      if (path !== undefined && version !== undefined && isUsable(version, series))
        return { kind: 'binary', path, version, from } as const;
      log(`  ${from}: nothing for this platform`);
    } catch (error) {
      log(`  ${from}: ${reasonOf(error)}`);
    }
  }
  return undefined;
}

async function dockerAnswers(env: NodeJS.ProcessEnv): Promise<boolean> {
  if (!(await onPath('docker', env))) return false;
  return await run('docker', ['info'], { timeout: 10_000 }).then(
    () => true,
    () => false,
  );
}

/**
 * Finds a nats-server this process may start: `NATS_SERVER_BIN`, `NATS_SERVER_IMAGE`, the tool cache, PATH, the official
 * release (pinned SHA-256), a Debian package unpacked into the cache, Docker. Servers older than 2.12.1 are passed over
 * with a line.
 *
 * @throws NatsUnavailableError when none of these has one, or when the one named by the environment cannot be used.
 */
export async function findNatsProgram(options: FindNatsOptions = {}): Promise<NatsProgram> {
  const { log = () => {}, series, env = process.env } = options;
  const wanted = series === undefined ? `>= ${MINIMUM_NATS_VERSION}` : `${series}.x`;

  const named = env['NATS_SERVER_BIN'];
  if (named !== undefined && named !== '' && series === undefined) {
    const version = await natsVersionOf(named);
    if (version === undefined) throw new NatsUnavailableError(`NATS_SERVER_BIN=${named} does not run here`);
    if (isUsable(version, undefined)) return { kind: 'binary', path: named, version, from: 'NATS_SERVER_BIN' };
    throw new NatsUnavailableError(`NATS_SERVER_BIN=${named} is ${version}, need ${wanted}`);
  }
  const image = env['NATS_SERVER_IMAGE'];
  if (image !== undefined && image !== '' && series === undefined) {
    return { kind: 'docker', image, from: 'NATS_SERVER_IMAGE' };
  }

  const cacheDir = toolCacheDir(env);
  const cached = await fromCache(cacheDir, series);
  if (cached) return cached;

  const installed = await onPath('nats-server', env);
  if (installed) {
    const version = await natsVersionOf(installed);
    if (version !== undefined && isUsable(version, series))
      return { kind: 'binary', path: installed, version, from: 'PATH' };
    log(`${installed} is ${version ?? 'not runnable here'}, need ${wanted}`);
  }

  const fresh = await withFetchLock(cacheDir, async () => {
    // Another process may have fetched it while this one waited for the lock.
    return (await fromCache(cacheDir, series)) ?? (await fetched(cacheDir, series, log));
  });
  if (fresh) return fresh;
  if (series === undefined && (await dockerAnswers(env))) return { kind: 'docker', image: NATS_IMAGE, from: 'Docker' };
  throw new NatsUnavailableError(
    `no nats-server ${wanted}. Do one of: set NATS_URL to a running one; put nats-server on PATH ` +
      `(brew install nats-server, or your distribution's package); set NATS_SERVER_BIN; start Docker; ` +
      `or go online so that the official release can be fetched.`,
  );
}

/** As {@link findNatsProgram}, but a server that already runs at `NATS_URL` comes before everything else. */
export async function findNats(options: FindNatsOptions = {}): Promise<NatsFound> {
  const url = (options.env ?? process.env)['NATS_URL'];
  if (url !== undefined && url !== '') return { kind: 'url', url, from: 'NATS_URL' };
  return await findNatsProgram(options);
}
