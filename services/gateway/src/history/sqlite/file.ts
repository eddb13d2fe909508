import { mkdirSync, renameSync, rmSync } from 'node:fs';
import { dirname } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { ReadModelUnavailableError } from '../read-model.ts';
import { migrations } from './schema.ts';

/** Primary result codes of SQLite, https://sqlite.org/rescode.html. */
const CODE = { busy: 5, corrupt: 11, full: 13, notADatabase: 26 } as const;

/** A restart may meet the process before it, which is about to end. */
const LOCK_WAIT_MS = 1_000;
/** Of the page cache, in KiB. What is asked for often is small; the rest is the operating system's to keep. */
const CACHE_KIB = 32 * 1024;

export const MEMORY = ':memory:';

/**
 * Opens a database file for this process alone, and brings its schema up.
 *
 * @throws {ReadModelUnavailableError} when another process has it open, or a newer version made it.
 */
export function openFile(path: string): DatabaseSync {
  if (path !== MEMORY) mkdirSync(dirname(path), { recursive: true });
  const db = new DatabaseSync(path, { timeout: LOCK_WAIT_MS });
  try {
    db.exec(`
      PRAGMA locking_mode = EXCLUSIVE;
      PRAGMA journal_mode = WAL;
      PRAGMA synchronous = NORMAL;
      PRAGMA cache_size = -${CACHE_KIB};
    `);
    // The lock is taken by the first transaction that writes, and held until the file is closed.
    db.exec('BEGIN IMMEDIATE');
    bringUp(db, path);
    db.exec('COMMIT');
    return db;
  } catch (error) {
    db.close();
    if (codeOf(error) !== CODE.busy) throw error;
    throw new ReadModelUnavailableError(
      `${path} is open in another process: give every gateway a file of its own (READ_MODEL_URL), or PostgreSQL`,
      { cause: error },
    );
  }
}

function bringUp(db: DatabaseSync, path: string): void {
  const version = Number(db.prepare('PRAGMA user_version').get()?.['user_version'] ?? 0);
  if (version > migrations.length) {
    throw new ReadModelUnavailableError(
      `${path} was made by a newer version (schema ${version}, this one knows ${migrations.length}): run that version, or name another file`,
    );
  }
  for (const migration of migrations.slice(version)) db.exec(migration);
  db.exec(`PRAGMA user_version = ${migrations.length}`);
}

/** Whether the file holds no database, or a broken one. */
export const isCorrupt = (error: unknown): boolean => {
  const code = codeOf(error);
  return code === CODE.corrupt || code === CODE.notADatabase;
};

export const isFull = (error: unknown): boolean => codeOf(error) === CODE.full;

// The low byte is the primary code, the rest says more of the same.
const codeOf = (error: unknown): number | undefined => {
  const { errcode } = error as { errcode?: unknown };
  return typeof errcode === 'number' ? errcode & 0xff : undefined;
};

/** Moves a broken file away, in place of one that was moved before, and returns where it is now. */
export function moveAside(path: string): string {
  const aside = `${path}.corrupt`;
  // The log of a broken file must not be applied to the one that is made next.
  for (const suffix of ['-wal', '-shm']) rmSync(path + suffix, { force: true });
  renameSync(path, aside);
  return aside;
}
