import { readFile, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';

/** The file that makes a folder a backup. Written last: a folder without it is one that was not finished. */
export const MANIFEST = 'backup.json';

const file = z.object({
  /** Within the folder of the backup. */
  file: z.string().regex(/^(?:streams|objects|history)[/.][\w.-]+$/, 'names a place outside of the backup'),
  bytes: z.number().int().min(0),
  sha256: z.string().regex(/^[0-9a-f]{64}$/),
});

const schema = z.object({
  format: z.literal(1),
  madeAt: z.iso.datetime(),
  /** A stream can be restored on a server of this version or a newer one. */
  natsVersion: z.string(),
  streams: z.array(
    z.object({
      name: z.string(),
      config: z.record(z.string(), z.unknown()),
      state: z.record(z.string(), z.unknown()),
      ...file.shape,
    }),
  ),
  /** Absent when it was left out. */
  objects: z.array(z.object({ key: z.string(), contentType: z.string(), ...file.shape })).optional(),
  /** Absent when it was left out. */
  history: z.object({ kind: z.enum(['sqlite', 'postgres']), ...file.shape }).optional(),
});

/** What a backup holds. */
export type BackupManifest = z.infer<typeof schema>;
/** A file of a backup. */
export type BackupFile = z.infer<typeof file>;

/** The folder holds no backup, or one that is damaged. */
export class BackupUnreadableError extends Error {
  override readonly name = 'BackupUnreadableError';
  readonly code = 'backup_unreadable';
}

export async function writeManifest(folder: string, manifest: BackupManifest): Promise<void> {
  const path = join(folder, MANIFEST);
  await writeFile(`${path}.new`, `${JSON.stringify(manifest, undefined, 1)}\n`, { mode: 0o600, flush: true });
  await rename(`${path}.new`, path);
}

/** @throws {BackupUnreadableError} */
export async function readManifest(folder: string): Promise<BackupManifest> {
  const text = await readFile(join(folder, MANIFEST), 'utf8').catch((cause: unknown) => {
    throw new BackupUnreadableError(`${folder} holds no finished backup: there is no ${MANIFEST} in it`, { cause });
  });
  try {
    return schema.parse(JSON.parse(text));
  } catch (cause) {
    throw new BackupUnreadableError(`${join(folder, MANIFEST)} is damaged, or of another version`, { cause });
  }
}
