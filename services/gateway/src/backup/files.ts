import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { open } from 'node:fs/promises';
import { join } from 'node:path';
import { BackupUnreadableError, type BackupFile } from './manifest.ts';

const READ_BYTES = 1024 * 1024;

/** A file of a backup that is being written. */
export interface FileWriter {
  write(chunk: Uint8Array): Promise<void>;
  /** Resolves when it is on the disk. */
  finish(): Promise<BackupFile>;
  /** Closes what is left open after a failure. */
  close(): Promise<void>;
}

export async function writeBackupFile(folder: string, file: string): Promise<FileWriter> {
  // The state of jobs holds addresses: for its owner alone.
  const handle = await open(join(folder, file), 'wx', 0o600);
  const hash = createHash('sha256');
  let bytes = 0;
  let isOpen = true;
  const close = async (): Promise<void> => {
    if (isOpen) await handle.close();
    isOpen = false;
  };
  return {
    async write(chunk) {
      hash.update(chunk);
      bytes += chunk.length;
      await handle.writeFile(chunk);
    },
    async finish() {
      await handle.sync();
      await close();
      return { file, bytes, sha256: hash.digest('hex') };
    },
    close,
  };
}

/** What a file holds, as the manifest describes one. */
export async function describeFile(folder: string, file: string): Promise<BackupFile> {
  const hash = createHash('sha256');
  let bytes = 0;
  for await (const chunk of readBackupFile(folder, file)) {
    hash.update(chunk);
    bytes += chunk.length;
  }
  return { file, bytes, sha256: hash.digest('hex') };
}

export const readBackupFile = (folder: string, file: string): AsyncIterable<Buffer> =>
  createReadStream(join(folder, file), { highWaterMark: READ_BYTES }) as AsyncIterable<Buffer>;

/** @throws {BackupUnreadableError} when a file is not what was written. */
export async function verifyFile(folder: string, wanted: BackupFile): Promise<void> {
  const found = await describeFile(folder, wanted.file).catch((cause: unknown) => {
    throw new BackupUnreadableError(`${join(folder, wanted.file)} cannot be read`, { cause });
  });
  if (found.sha256 === wanted.sha256) return;
  throw new BackupUnreadableError(
    `${join(folder, wanted.file)} is damaged: its SHA-256 is ${found.sha256}, and ${wanted.sha256} was written`,
  );
}
