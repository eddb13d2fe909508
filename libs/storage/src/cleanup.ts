import type { ObjectStore, StoredObject } from './store.ts';

const MINUTE_MS = 60_000;

export interface CleanupSettings {
  readonly store: ObjectStore;
  /** Only objects under this prefix are looked at. */
  readonly prefix: string;
  /** Whether a job still needs the object. Asked for every object that is old enough. */
  readonly isLive: (object: StoredObject) => Promise<boolean>;
  /** How old an object must be, and an upload that is not finished. An hour unless told otherwise. */
  readonly olderThanMs?: number;
  readonly now?: () => number;
}

export interface CleanupReport {
  readonly looked: number;
  readonly deleted: number;
  readonly kept: number;
  /** Uploads in parts that were begun and neither finished nor given up. */
  readonly unfinished: number;
}

/**
 * Deletes the objects under a prefix that `isLive` does not keep, and the parts of uploads that a process left behind when
 * it was killed in the middle. Rules of the store itself work in whole days, so this is the application's. The store must allow its multipart uploads to be listed (`s3:ListBucketMultipartUploads`).
 */
export async function cleanUp(settings: CleanupSettings): Promise<CleanupReport> {
  const { store, prefix, isLive, olderThanMs = 60 * MINUTE_MS, now = Date.now } = settings;
  let looked = 0;
  let deleted = 0;
  let kept = 0;
  for await (const object of store.list(prefix)) {
    looked += 1;
    if (now() - object.modifiedAt.getTime() < olderThanMs) continue;
    if (await isLive(object)) {
      kept += 1;
      continue;
    }
    await store.delete(object.key);
    deleted += 1;
  }
  const unfinished = await store.dropUnfinished(prefix, new Date(now() - olderThanMs));
  return { looked, deleted, kept, unfinished };
}

/**
 * Cleans up at once and then every quarter of an hour until stopped. A failed run is reported and tried again next time.
 */
export function startCleanup(
  settings: CleanupSettings & {
    readonly everyMs?: number;
    readonly onCleaned: (report: CleanupReport) => void;
    readonly onError: (error: unknown) => void;
  },
): { stop(): Promise<void> } {
  let running: Promise<void> = Promise.resolve();
  const run = () => {
    running = running.then(() => cleanUp(settings).then(settings.onCleaned, settings.onError));
  };
  run();
  const timer = setInterval(run, settings.everyMs ?? 15 * MINUTE_MS);
  timer.unref();
  return {
    async stop() {
      clearInterval(timer);
      await running;
    },
  };
}
