import { mkdir, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { snapshotStream, type Bus } from '@sluice/messaging';
import type { ObjectStore } from '@sluice/storage';
import type { ReadModelPlace } from '../history/read-model-url.ts';
import { cleanedPrefixes } from '../uploads/cleanup.ts';
import { describeFile, writeBackupFile } from './files.ts';
import { copyHistory } from './history-copy.ts';
import { writeManifest, type BackupManifest } from './manifest.ts';
import { objectCopies } from './object-copies.ts';
import { readOrder } from './read-order.ts';

/** The place for a backup is taken. */
export class FolderInUseError extends Error {
  override readonly name = 'FolderInUseError';
  readonly code = 'folder_in_use';
}

export interface BackupSettings {
  readonly bus: Pick<Bus, 'nc' | 'jsm' | 'port'>;
  /** Undefined leaves the objects out. */
  readonly store: ObjectStore | undefined;
  /** Undefined leaves the history out. */
  readonly history: ReadModelPlace | undefined;
  readonly folder: string;
  /** Told after each part; the backup goes on when it has returned. */
  readonly onProgress: (text: string) => void | Promise<void>;
}

/** The streams of the account: those of the system in their order, then those of others. */
async function streamsOf({ jsm }: BackupSettings['bus']): Promise<readonly string[]> {
  const names: string[] = [];
  for await (const { config } of jsm.streams.list()) names.push(config.name);
  return [
    ...readOrder.filter((name) => names.includes(name)),
    ...names.filter((name) => !readOrder.includes(name)).toSorted((a, b) => a.localeCompare(b, 'en')),
  ];
}

/**
 * Copies all that the system keeps into a folder, while it runs. The history comes first, because a read model that is
 * ahead of its streams would be read anew; objects are looked at before and after the streams, so that those of a job
 * that was accepted meanwhile are there.
 */
export async function makeBackup(settings: BackupSettings): Promise<BackupManifest> {
  const { bus, store, history, folder, onProgress } = settings;
  await mkdir(folder, { recursive: true, mode: 0o700 });
  if ((await readdir(folder)).length > 0) {
    throw new FolderInUseError(`${folder} is not empty: name a folder that is not there yet`);
  }
  const madeAt = new Date().toISOString();
  let historyFile: BackupManifest['history'];
  if (history !== undefined) {
    const file = history.kind === 'sqlite' ? 'history.sqlite' : 'history.dump';
    await copyHistory(history, join(folder, file));
    historyFile = { kind: history.kind, ...(await describeFile(folder, file)) };
    await onProgress(`history  ${historyFile.bytes} bytes`);
  }
  const copies = store === undefined ? undefined : await objectCopies(store, cleanedPrefixes, folder);
  await copies?.copyNew();

  await mkdir(join(folder, 'streams'), { mode: 0o700 });
  const streams: BackupManifest['streams'] = [];
  for (const name of await streamsOf(bus)) {
    const writer = await writeBackupFile(folder, `streams/${name}`);
    try {
      const snapshot = await snapshotStream({ nc: bus.nc, inbox: () => bus.port.inbox() }, name, (chunk) =>
        writer.write(chunk),
      );
      streams.push({ name, ...snapshot, ...(await writer.finish()) });
      await onProgress(`stream   ${name}, ${String(snapshot.state['messages'])} messages`);
    } finally {
      await writer.close();
    }
  }
  await copies?.copyNew();
  if (copies !== undefined) await onProgress(`objects  ${copies.all.length}`);
  const manifest: BackupManifest = {
    format: 1,
    madeAt,
    natsVersion: bus.nc.info?.version ?? '',
    streams,
    ...(copies === undefined ? {} : { objects: [...copies.all] }),
    ...(historyFile === undefined ? {} : { history: historyFile }),
  };
  await writeManifest(folder, manifest);
  return manifest;
}
