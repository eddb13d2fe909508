import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { StoreError, type ObjectStore } from '@sluice/storage';
import { writeBackupFile, readBackupFile } from './files.ts';
import type { BackupManifest } from './manifest.ts';

type ObjectCopy = NonNullable<BackupManifest['objects']>[number];

/** Objects that are copied at once. */
const AT_ONCE = 8;

/** Copies of the objects of a bucket, which a second look adds to. */
export interface ObjectCopies {
  /** Copies what is under these prefixes and was not copied before. */
  copyNew(): Promise<void>;
  readonly all: readonly ObjectCopy[];
}

export async function objectCopies(
  store: ObjectStore,
  prefixes: readonly string[],
  folder: string,
): Promise<ObjectCopies> {
  await mkdir(join(folder, 'objects'), { mode: 0o700 });
  const copies: ObjectCopy[] = [];
  const seen = new Set<string>();

  let files = 0;
  const copy = async (key: string): Promise<void> => {
    // A number, not the key: the names of files are the backup's own.
    files += 1;
    const writer = await writeBackupFile(folder, `objects/${files}`);
    try {
      const { body, contentType } = await store.get(key);
      for await (const chunk of body as AsyncIterable<Uint8Array>) await writer.write(chunk);
      copies.push({ key, contentType, ...(await writer.finish()) });
    } catch (error) {
      // Deleted since it was listed: its time was over.
      if (!(error instanceof StoreError) || error.code !== 'not_found') throw error;
    } finally {
      await writer.close();
    }
  };

  return {
    all: copies,
    async copyNew() {
      await inParallel(keysOf(store, prefixes, seen), copy);
    },
  };
}

async function* keysOf(store: ObjectStore, prefixes: readonly string[], seen: Set<string>): AsyncGenerator<string> {
  for (const prefix of prefixes) {
    for await (const { key } of store.list(prefix)) {
      if (seen.has(key)) continue;
      seen.add(key);
      yield key;
    }
  }
}

export async function restoreObjects(
  store: ObjectStore,
  objects: readonly ObjectCopy[],
  folder: string,
): Promise<void> {
  await store.ensureBucket();
  await inParallel(objects, async ({ key, file, contentType }) => {
    const upload = store.upload(key, { contentType });
    try {
      for await (const chunk of readBackupFile(folder, file)) await upload.write(chunk);
    } catch (error) {
      await upload.abandon();
      throw error;
    }
    await upload.finish();
  });
}

/** Runs a task for every item, {@link AT_ONCE} at a time; the first failure ends it once the others have ended. */
async function inParallel<T>(items: AsyncIterable<T> | Iterable<T>, task: (item: T) => Promise<void>): Promise<void> {
  const iterator = (async function* () {
    yield* items;
  })();
  const failures: unknown[] = [];
  await Promise.all(
    Array.from({ length: AT_ONCE }, async () => {
      while (failures.length === 0) {
        const next = await iterator.next();
        if (next.done === true) return;
        await task(next.value).catch((error: unknown) => failures.push(error));
      }
    }),
  );
  if (failures.length > 0) throw failures[0];
}
