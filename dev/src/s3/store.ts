import { createHash, randomBytes } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { mkdir, open, rename, rm, writeFile, type FileHandle } from 'node:fs/promises';
import { join } from 'node:path';
import type { Checksum } from './checksum.ts';
import { S3Error } from './error.ts';
import { compareKeys } from './listing.ts';

/** What is known of an object; its bytes lie in `file`. */
export interface StoredObject {
  key: string;
  sizeBytes: number;
  /** Without quotes. */
  etag: string;
  /** ISO time. */
  modified: string;
  /** The headers an answer repeats: content type, disposition, `x-amz-meta-*`, ... */
  headers: Record<string, string>;
  file: string;
  checksum?: Checksum;
  tags?: Record<string, string>;
}

/** A bucket: its objects by key, and its configuration documents (`cors`, `lifecycle`, `tagging`) as sent. */
export interface Bucket {
  name: string;
  /** ISO time. */
  created: string;
  objects: Map<string, StoredObject>;
  config: Record<string, string>;
}

/**
 * Buckets and objects in files under one directory: `BUCKET/bucket.json`, `BUCKET/meta/SHA256(key).json`,
 * `BUCKET/data/RANDOM`, and `.tmp` for bodies that are not objects yet. The index is in memory and is read back at
 * start. An object exists from the rename of its meta file on, so a crash leaves the old one or the new one.
 */
export interface Store {
  readonly temporaryDir: string;
  buckets(): Bucket[];
  /** @throws S3Error NoSuchBucket */
  bucket(name: string): Bucket;
  /** @throws S3Error BucketAlreadyOwnedByYou */
  createBucket(name: string, created: string): Promise<void>;
  /** @throws S3Error NoSuchBucket, BucketNotEmpty */
  deleteBucket(name: string): Promise<void>;
  saveConfig(bucket: Bucket): Promise<void>;
  /** @throws S3Error NoSuchKey */
  object(bucket: Bucket, key: string): StoredObject;
  /** Every key in byte order, for listings. */
  sortedKeys(bucket: Bucket): readonly string[];
  /** Makes the file at `temporaryFile` the object. `check` sees the object it replaces and may throw: the two are one step. */
  commit(
    bucket: Bucket,
    object: Omit<StoredObject, 'file'>,
    temporaryFile: string,
    check?: (existing: StoredObject | undefined) => void,
  ): Promise<void>;
  saveTags(bucket: Bucket, key: string, tags: Record<string, string> | undefined): Promise<void>;
  remove(bucket: Bucket, key: string): Promise<void>;
  /** Opens the bytes of an object for reading; they stay readable when it is replaced meanwhile. @throws S3Error NoSuchKey */
  open(bucket: Bucket, key: string): Promise<{ object: StoredObject; handle: FileHandle }>;
}

const randomName = (): string => randomBytes(12).toString('hex');

function restore(directory: string): Map<string, Bucket> {
  const buckets = new Map<string, Bucket>();
  for (const name of readdirSync(directory)) {
    const file = join(directory, name, 'bucket.json');
    if (!existsSync(file)) continue;
    const saved = JSON.parse(readFileSync(file, 'utf8')) as Omit<Bucket, 'objects'>;
    const bucket: Bucket = { ...saved, objects: new Map() };
    const kept = new Set<string>();
    for (const entry of readdirSync(join(directory, name, 'meta'))) {
      const path = join(directory, name, 'meta', entry);
      const object = JSON.parse(readFileSync(path, 'utf8')) as StoredObject;
      bucket.objects.set(object.key, object);
      kept.add(object.file);
    }
    // Bytes of a put that ended between its two renames, or of a removal that ended between its two unlinks.
    for (const data of readdirSync(join(directory, name, 'data'))) {
      if (!kept.has(data)) rmSync(join(directory, name, 'data', data));
    }
    buckets.set(name, bucket);
  }
  return buckets;
}

/** Opens (or begins) the store in this directory. */
export function openStore(directory: string): Store {
  const temporaryDir = join(directory, '.tmp');
  rmSync(temporaryDir, { recursive: true, force: true });
  mkdirSync(temporaryDir, { recursive: true });
  const buckets = restore(directory);
  const sorted = new WeakMap<Bucket, string[]>();
  const queues = new Map<string, Promise<unknown>>();

  const dataFile = (bucket: Bucket, object: StoredObject): string => join(directory, bucket.name, 'data', object.file);
  const metaFile = (bucket: Bucket, key: string): string => {
    const name = createHash('sha256').update(key).digest('hex');
    return join(directory, bucket.name, 'meta', `${name}.json`);
  };
  async function writeAtomically(file: string, content: unknown): Promise<void> {
    const temporary = join(temporaryDir, randomName());
    await writeFile(temporary, JSON.stringify(content));
    await rename(temporary, file);
  }
  /** Writers of one key take turns, so that a condition holds until its write is done. */
  async function inTurn<T>(bucket: Bucket, key: string, work: () => Promise<T>): Promise<T> {
    const name = `${bucket.name}/${key}`;
    const turn = (queues.get(name) ?? Promise.resolve()).then(work, work);
    const settled = turn.catch(() => {});
    queues.set(name, settled);
    try {
      return await turn;
    } finally {
      if (queues.get(name) === settled) queues.delete(name);
    }
  }
  const saveConfig = (bucket: Bucket): Promise<void> => {
    const { name, created, config } = bucket;
    return writeAtomically(join(directory, name, 'bucket.json'), { name, created, config });
  };
  const bucketNamed = (name: string): Bucket => {
    const bucket = buckets.get(name);
    if (!bucket) throw new S3Error(404, 'NoSuchBucket', 'The specified bucket does not exist');
    return bucket;
  };
  const objectOf = (bucket: Bucket, key: string): StoredObject => {
    const object = bucket.objects.get(key);
    if (!object) throw new S3Error(404, 'NoSuchKey', 'The specified key does not exist.');
    return object;
  };

  return {
    temporaryDir,
    buckets: () => [...buckets.values()],
    bucket: bucketNamed,
    async createBucket(name, created) {
      if (buckets.has(name)) throw new S3Error(409, 'BucketAlreadyOwnedByYou');
      const bucket: Bucket = { name, created, objects: new Map(), config: {} };
      buckets.set(name, bucket);
      for (const folder of ['meta', 'data']) await mkdir(join(directory, name, folder), { recursive: true });
      await saveConfig(bucket);
    },
    async deleteBucket(name) {
      if (bucketNamed(name).objects.size > 0) throw new S3Error(409, 'BucketNotEmpty');
      buckets.delete(name);
      await rm(join(directory, name), { recursive: true, force: true });
    },
    saveConfig,
    object: objectOf,
    sortedKeys(bucket) {
      let keys = sorted.get(bucket);
      if (!keys) {
        keys = [...bucket.objects.keys()].sort(compareKeys);
        sorted.set(bucket, keys);
      }
      return keys;
    },
    commit: (bucket, described, temporaryFile, check) =>
      inTurn(bucket, described.key, async () => {
        const existing = bucket.objects.get(described.key);
        try {
          check?.(existing);
        } catch (error) {
          await rm(temporaryFile, { force: true });
          throw error;
        }
        const object: StoredObject = { ...described, file: randomName() };
        await rename(temporaryFile, dataFile(bucket, object));
        await writeAtomically(metaFile(bucket, object.key), object);
        if (!existing) sorted.delete(bucket);
        bucket.objects.set(object.key, object);
        if (existing) await rm(dataFile(bucket, existing), { force: true });
      }),
    saveTags: (bucket, key, tags) =>
      inTurn(bucket, key, async () => {
        const { tags: _replaced, ...untagged } = objectOf(bucket, key);
        const object: StoredObject = tags ? { ...untagged, tags } : untagged;
        await writeAtomically(metaFile(bucket, key), object);
        bucket.objects.set(key, object);
      }),
    remove: (bucket, key) =>
      inTurn(bucket, key, async () => {
        const object = bucket.objects.get(key);
        if (!object) return;
        bucket.objects.delete(key);
        sorted.delete(bucket);
        await rm(metaFile(bucket, key), { force: true });
        await rm(dataFile(bucket, object), { force: true });
      }),
    async open(bucket, key) {
      for (let attempt = 1; ; attempt++) {
        const object = objectOf(bucket, key);
        try {
          return { object, handle: await open(dataFile(bucket, object)) };
        } catch (error) {
          // Replaced between the look-up and the open: the new one is in the index by now.
          if ((error as NodeJS.ErrnoException).code !== 'ENOENT' || attempt === 5) throw error;
        }
      }
    },
  };
}
