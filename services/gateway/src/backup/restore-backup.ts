import { join } from 'node:path';
import { apiErrorCode, JS_ERROR, restoreStream, type Bus } from '@sluice/messaging';
import type { ObjectStore } from '@sluice/storage';
import type { ReadModelPlace } from '../history/read-model-url.ts';
import { readBackupFile, verifyFile } from './files.ts';
import { hasHistory, restoreHistory } from './history-copy.ts';
import { readManifest, type BackupManifest } from './manifest.ts';
import { restoreObjects } from './object-copies.ts';

/** A restore would meet what is there already, or lacks what it needs. Nothing was changed. */
export class RestoreRefusedError extends Error {
  override readonly name = 'RestoreRefusedError';
  readonly code = 'restore_refused';
}

export interface RestoreSettings {
  readonly bus: Pick<Bus, 'nc' | 'jsm'>;
  /** Undefined leaves the objects out. */
  readonly store: ObjectStore | undefined;
  /** Undefined leaves the history out. */
  readonly history: ReadModelPlace | undefined;
  readonly folder: string;
  /** Copies of every stream, for a cluster of another size; as the backup has it when absent. */
  readonly replicas?: number | undefined;
  readonly onProgress: (text: string) => void;
}

type StreamEntry = BackupManifest['streams'][number];

/**
 * Brings back what a backup holds, into a broker that has none of its streams. Everything is verified before anything is
 * written. A restore that broke off goes on where it stood: a stream that was restored as a whole is left alone.
 *
 * @throws {BackupUnreadableError} when the backup is damaged.
 * @throws {RestoreRefusedError} when a stream or a history is there that is not the backup's.
 */
export async function restoreBackup(settings: RestoreSettings): Promise<BackupManifest> {
  const { bus, store, history, folder, replicas, onProgress } = settings;
  const manifest = await readManifest(folder);
  const objects = store === undefined ? [] : wanted('objects', manifest.objects);
  const historyFile = history === undefined ? undefined : wanted('history', manifest.history);
  if (history !== undefined && historyFile?.kind !== history.kind) {
    throw new RestoreRefusedError(
      `the history of the backup is of ${historyFile?.kind}, and READ_MODEL_URL names ${history.kind}`,
    );
  }
  for (const file of [...manifest.streams, ...objects, ...(historyFile === undefined ? [] : [historyFile])]) {
    await verifyFile(folder, file);
  }
  const missing: StreamEntry[] = [];
  for (const entry of manifest.streams) if (!(await isRestored(bus, entry))) missing.push(entry);
  if (history !== undefined && (await hasHistory(history))) {
    throw new RestoreRefusedError(
      'there is a history already: name an empty place in READ_MODEL_URL, or --without history',
    );
  }

  if (store !== undefined) {
    await restoreObjects(store, objects, folder);
    onProgress(`objects  ${objects.length}`);
  }
  for (const { name, config, state, file } of missing) {
    const asked = replicas === undefined ? config : { ...config, num_replicas: replicas };
    await restoreStream(bus.nc, { config: asked, state }, readBackupFile(folder, file));
    onProgress(`stream   ${name}, ${String(state['messages'])} messages`);
  }
  if (history !== undefined && historyFile !== undefined) {
    await restoreHistory(history, join(folder, historyFile.file));
    onProgress(`history  ${historyFile.bytes} bytes`);
  }
  return manifest;
}

function wanted<T>(what: string, part: T | undefined): T {
  if (part !== undefined) return part;
  throw new RestoreRefusedError(`the backup was made without ${what}: restore it with --without ${what}`);
}

/**
 * Whether a stream is there as the backup has it. The sequence and time of its last message tell it from any other; of a
 * stream without messages a restored one has lost the time.
 */
async function isRestored({ jsm }: RestoreSettings['bus'], { name, state: wanted }: StreamEntry): Promise<boolean> {
  const found = await jsm.streams.info(name).catch((error: unknown) => {
    if (apiErrorCode(error) === JS_ERROR.streamNotFound) return undefined;
    throw error;
  });
  if (found === undefined) return false;
  const { state } = found;
  const same = state.last_seq === wanted['last_seq'] && state.messages === wanted['messages'];
  if (same && (state.messages === 0 || sameTime(state.last_ts, wanted['last_ts']))) return true;
  throw new RestoreRefusedError(
    `the stream ${name} is there already: restore into a broker without streams, before the first gateway starts`,
  );
}

const sameTime = (a: unknown, b: unknown): boolean => Date.parse(String(a)) === Date.parse(String(b));
