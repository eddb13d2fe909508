import { spawn } from 'node:child_process';
import { access, mkdir, rename, rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import { backup, DatabaseSync } from 'node:sqlite';
import { READ_MODEL_URL_FORM, readModelPlace, type ReadModelPlace } from '../history/read-model-url.ts';
import { MEMORY } from '../history/sqlite/file.ts';

/** The history could not be copied; the message says what to do. */
export class HistoryCopyError extends Error {
  override readonly name = 'HistoryCopyError';
  readonly code = 'history_copy_failed';
}

const OR_WITHOUT = 'or leave it out with --without history';

const exists = (path: string): Promise<boolean> =>
  access(path).then(
    () => true,
    () => false,
  );

/** @throws {HistoryCopyError} for a history that lies in memory, or nowhere. */
export function placeOfHistory(url: string): ReadModelPlace {
  const place = readModelPlace(url);
  if (place === undefined) throw new HistoryCopyError(`READ_MODEL_URL ${READ_MODEL_URL_FORM}`);
  if (place.kind === 'sqlite' && place.path === MEMORY) {
    throw new HistoryCopyError('the history lies in memory: leave it out with --without history');
  }
  return place;
}

/**
 * Copies the history of jobs into a file: SQLite's own backup of a file that no gateway has open, or `pg_dump`, which
 * reads one moment of a database in use.
 */
export async function copyHistory(place: ReadModelPlace, target: string): Promise<void> {
  if (place.kind === 'postgres') {
    await postgres('pg_dump', ['--format=custom', '--no-owner', '--no-privileges', `--file=${target}`], place.url);
    return;
  }
  if (!(await exists(place.path))) {
    throw new HistoryCopyError(`there is no history at ${place.path}: name it in READ_MODEL_URL, ${OR_WITHOUT}`);
  }
  const db = new DatabaseSync(place.path, { timeout: 1_000 });
  try {
    await backup(db, target);
  } catch (cause) {
    // A gateway has its file locked for as long as it runs.
    throw new HistoryCopyError(
      `${place.path} could not be copied: stop its gateway for the time of the backup, ${OR_WITHOUT}`,
      { cause },
    );
  } finally {
    db.close();
  }
}

/** Whether there is a history already, which a restore must not replace. */
export async function hasHistory(place: ReadModelPlace): Promise<boolean> {
  if (place.kind === 'sqlite') return exists(place.path);
  const query = "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'";
  return (
    (await postgres('psql', ['--no-psqlrc', '--tuples-only', '--no-align', '-c', query], place.url)).trim() !== '0'
  );
}

export async function restoreHistory(place: ReadModelPlace, source: string): Promise<void> {
  if (place.kind === 'postgres') {
    const args = ['--no-owner', '--no-privileges', '--exit-on-error', '--single-transaction', '--dbname', '', source];
    await postgres('pg_restore', args, place.url);
    return;
  }
  const copy = `${place.path}.restored`;
  await mkdir(dirname(place.path), { recursive: true });
  await rm(copy, { force: true });
  const db = new DatabaseSync(source, { readOnly: true });
  try {
    await backup(db, copy);
  } finally {
    db.close();
  }
  await rename(copy, place.path);
}

/** Runs a program of PostgreSQL on a database. The password goes by the environment: arguments are public to the machine. */
async function postgres(program: string, args: readonly string[], url: string): Promise<string> {
  const { hostname, port, username, password, pathname } = new URL(url);
  const env = {
    ...process.env,
    PGHOST: decodeURIComponent(hostname),
    PGPORT: port === '' ? '5432' : port,
    PGUSER: decodeURIComponent(username),
    PGPASSWORD: decodeURIComponent(password),
    PGDATABASE: decodeURIComponent(pathname.slice(1)),
  };
  const named = args.map((arg) => (arg === '' ? env.PGDATABASE : arg));
  const child = spawn(program, named, { env, stdio: ['ignore', 'pipe', 'pipe'] });
  let stdout = '';
  let stderr = '';
  child.stdout.on('data', (chunk: Buffer) => (stdout += chunk.toString()));
  child.stderr.on('data', (chunk: Buffer) => (stderr += chunk.toString()));
  const { promise, resolve, reject } = Promise.withResolvers<number | null>();
  child.once('error', reject);
  child.once('close', resolve);
  const code = await promise.catch((cause: unknown) => {
    throw new HistoryCopyError(
      `${program} is not installed here: run it beside the database (docs/operations.md), ${OR_WITHOUT}`,
      { cause },
    );
  });
  if (code !== 0) throw new HistoryCopyError(`${program} failed: ${stderr.trim()}`);
  return stdout;
}
