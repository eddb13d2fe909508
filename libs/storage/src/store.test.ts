import { randomBytes } from 'node:crypto';
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { setTimeout as sleep } from 'node:timers/promises';
import { CreateMultipartUploadCommand, UploadPartCommand, type S3Client } from '@aws-sdk/client-s3';
import { startS3, type S3Server } from '@sluice/dev';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { s3Client } from './client.ts';
import { createStore, type ObjectStore } from './store.ts';
import { cleanUp } from './cleanup.ts';

const MINUTE_MS = 60_000;
let directory: string;
let s3: S3Server;
let store: ObjectStore;
/** The same bucket, for tests of what hangs: it waits half a second. */
let hasty: ObjectStore;
let client: S3Client;

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'sluice-storage-'));
  s3 = await startS3({ directory });
  const settings = {
    endpoint: s3.url,
    publicEndpoint: s3.url.replace('127.0.0.1', 'localhost'),
    region: s3.region,
    bucket: 'sluice',
    accessKeyId: s3.accessKeyId,
    secretAccessKey: s3.secretAccessKey,
  };
  store = createStore(settings);
  client = s3Client(settings);
  hasty = createStore({ ...settings, requestTimeoutMs: 500 });
  await store.ensureBucket(['http://localhost:8080']);
});
afterEach(() => s3.clearFaults());
afterAll(async () => {
  store?.close();
  client?.destroy();
  hasty?.close();
  await s3?.close();
  await rm(directory, { recursive: true });
});

const read = async (key: string): Promise<Buffer> => buffer((await store.get(key)).body);
const text = { contentType: 'text/plain' };

describe('the object store', () => {
  test('makes its bucket once, however often it is asked', async () => {
    await store.ensureBucket();
  });

  test('gives back what was put', async () => {
    await store.put('a/bytes', Buffer.from('hello'), text);
    expect((await read('a/bytes')).toString()).toBe('hello');
    expect(await store.head('a/bytes')).toMatchObject({ key: 'a/bytes', sizeBytes: 5 });
  });

  test('streams an object of several parts in and out', async () => {
    const bytes = randomBytes(20 * 1024 * 1024);
    const pieces = function* () {
      for (let at = 0; at < bytes.length; at += 65_536) yield bytes.subarray(at, at + 65_536);
    };
    const { sizeBytes } = await store.put('a/stream', Readable.from(pieces()), text);
    expect(sizeBytes).toBe(bytes.length);
    expect((await read('a/stream')).equals(bytes)).toBe(true);
  });

  test('leaves nothing behind when the source of a stream fails', async () => {
    const broken = async function* () {
      yield Buffer.alloc(20 * 1024 * 1024);
      await Promise.reject(new Error('the client went away'));
    };
    await expect(store.put('a/broken', Readable.from(broken()), text)).rejects.toThrow('the client went away');
    expect(await store.head('a/broken')).toBeUndefined();
  });

  test.each([3, 8 * 1024 * 1024, 17 * 1024 * 1024])(
    'stores %i bytes that are written through one buffer, again and again',
    async (size) => {
      const upload = store.upload('a/written', text);
      const piece = Buffer.alloc(100_000);
      const whole = Buffer.alloc(size, 'the quick brown fox ');
      for (let at = 0; at < size; at += piece.length) {
        const length = whole.copy(piece, 0, at);
        await upload.write(piece.subarray(0, length));
      }
      expect(await upload.finish()).toEqual({ sizeBytes: size });
      expect((await read('a/written')).equals(whole)).toBe(true);
    },
  );

  test('shows nothing of an upload that was given up', async () => {
    const upload = store.upload('a/given-up', text);
    await upload.write(Buffer.alloc(20 * 1024 * 1024));
    await upload.abandon();
    expect(await store.head('a/given-up')).toBeUndefined();
  });

  test('takes nothing more for an upload that was given up while its writer waited', async () => {
    const upload = store.upload('a/given-up', text);
    const writing = upload.write(Buffer.alloc(30 * 1024 * 1024));
    await Promise.all([upload.abandon(), expect(writing).rejects.toMatchObject({ code: 'refused' })]);
    expect(await store.head('a/given-up')).toBeUndefined();
    expect(await readdir(join(directory, '.tmp'))).toEqual([]);
  });

  test('tells the writer when a part cannot be stored, and removes the parts that were', async () => {
    s3.fail({ method: 'PUT', times: Infinity, effect: { kind: 'status', status: 403, code: 'AccessDenied' } });
    const upload = store.upload('a/refused', text);
    const writing = async () => {
      for (let part = 0; part < 4; part++) await upload.write(Buffer.alloc(8 * 1024 * 1024));
    };
    await expect(writing()).rejects.toMatchObject({ name: 'StoreError', code: 'refused' });
    await upload.abandon();
    expect(await readdir(join(directory, '.tmp'))).toEqual([]);
  });

  test('refuses a key that is taken when asked to', async () => {
    await store.put('a/once', Buffer.from('1'), { ...text, ifAbsent: true });
    const again = store.put('a/once', Buffer.from('2'), { ...text, ifAbsent: true });
    await expect(again).rejects.toMatchObject({ name: 'StoreError', code: 'exists', retryable: false });
  });

  test('says that an object is not there', async () => {
    expect(await store.head('nowhere')).toBeUndefined();
    await expect(store.get('nowhere')).rejects.toMatchObject({ code: 'not_found', retryable: false });
    await store.delete('nowhere');
  });

  test.each(['NoSuchBucket', 'NoSuchUpload'])('does not take %s for an object that is not there', async (code) => {
    s3.fail({ method: 'GET', times: 1, effect: { kind: 'status', status: 404, code } });
    await expect(store.get('a/bytes')).rejects.toMatchObject({ code: 'unavailable', retryable: true });
  });

  test('does not hang when the store does', async () => {
    s3.fail({ method: 'GET', times: Infinity, effect: { kind: 'hang' } });
    await expect(hasty.get('a/bytes')).rejects.toMatchObject({ code: 'timeout', retryable: true });
  });

  test.each([
    ['stops', 'nothing more of the body came for 500 ms', { kind: 'hang-body', afterBytes: 100_000 }],
    ['is cut off', 'aborted', { kind: 'truncate', afterBytes: 100_000 }],
  ] as const)('fails a read whose body %s on the way', async (_, how, effect) => {
    await store.put('a/large', Buffer.alloc(1_000_000), text);
    s3.fail({ method: 'GET', times: Infinity, effect });
    await expect(hasty.get('a/large').then(({ body }) => buffer(body))).rejects.toThrow(how);
  });

  test('gives a reader that pauses all the time it wants', async () => {
    await store.put('a/large', Buffer.alloc(1_000_000), text);
    const { body } = await hasty.get('a/large');
    let received = 0;
    for await (const piece of body as AsyncIterable<Buffer>) {
      // Once, for longer than the store may be silent.
      if (received === 0) await sleep(1_200);
      received += piece.length;
    }
    expect(received).toBe(1_000_000);
  });

  test('calls an outage retryable', async () => {
    s3.fail({ method: 'GET', times: Infinity, effect: { kind: 'status', status: 503, code: 'SlowDown' } });
    await expect(store.get('a/bytes')).rejects.toMatchObject({ code: 'unavailable', retryable: true });
  });
});

test('drops what was never finished, when it is old enough and under the prefix', async () => {
  const parts = () => readdir(join(directory, '.tmp'));
  const object = { Bucket: 'sluice', Key: 'left/behind' };
  const { UploadId } = await client.send(new CreateMultipartUploadCommand(object));
  await client.send(new UploadPartCommand({ ...object, UploadId, PartNumber: 1, Body: Buffer.alloc(100_000) }));
  expect(await store.dropUnfinished('left/', new Date(Date.now() - MINUTE_MS))).toBe(0);
  expect(await store.dropUnfinished('other/', new Date(Date.now() + MINUTE_MS))).toBe(0);
  expect(await parts()).toHaveLength(1);
  expect(await store.dropUnfinished('left/', new Date(Date.now() + MINUTE_MS))).toBe(1);
  expect(await parts()).toEqual([]);
  expect(await store.dropUnfinished('left/', new Date(Date.now() + MINUTE_MS))).toBe(0);
});

test('drops each unfinished upload once, however many look for them', async () => {
  const names = Array.from({ length: 10 }, (_, n) => `raced/${n}`);
  for (const Key of names) await client.send(new CreateMultipartUploadCommand({ Bucket: 'sluice', Key }));
  const later = new Date(Date.now() + MINUTE_MS);
  const dropped = await Promise.all([1, 2, 3].map(() => store.dropUnfinished('raced/', later)));
  expect(dropped.reduce((sum, count) => sum + count, 0)).toBe(names.length);
});

test('drops what was never finished where the store does not say when it was begun', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'sluice-storage-'));
  const dateless = await startS3({ directory: folder, datesUploads: false, buckets: ['sluice'] });
  const settings = { endpoint: dateless.url, region: dateless.region, bucket: 'sluice' };
  const { accessKeyId, secretAccessKey } = dateless;
  let now = Date.now();
  const opened = createStore({ ...settings, accessKeyId, secretAccessKey, now: () => now });
  const uploads = s3Client({ ...settings, accessKeyId, secretAccessKey });
  const begin = (Key: string) => uploads.send(new CreateMultipartUploadCommand({ Bucket: 'sluice', Key }));
  const drop = (prefix: string) => opened.dropUnfinished(prefix, new Date(now - 60 * MINUTE_MS));
  try {
    await begin('left/behind');
    expect(await drop('left/')).toBe(0);
    expect(await drop('other/')).toBe(0);
    now += 59 * MINUTE_MS;
    await begin('left/later');
    expect(await drop('left/')).toBe(0);
    now += 2 * MINUTE_MS;
    expect(await drop('left/')).toBe(1);
    now += 60 * MINUTE_MS;
    expect(await drop('left/')).toBe(1);
  } finally {
    opened.close();
    uploads.destroy();
    await dateless.close();
    await rm(folder, { recursive: true });
  }
});

describe('presigned URLs', () => {
  test('are signed for the public host', async () => {
    await store.put('a/shared', Buffer.from('shared'), text);
    const url = await store.presignGet('a/shared', MINUTE_MS, 'my "report".pdf');
    expect(new URL(url).hostname).toBe('localhost');
    const answer = await fetch(url);
    expect(await answer.text()).toBe('shared');
    expect(answer.headers.get('content-disposition')).toBe(
      `attachment; filename="my_report_.pdf"; filename*=UTF-8''my%20%22report%22.pdf`,
    );
  });

  test.each([
    ['report.pdf', 'attachment; filename="report.pdf"'],
    ['Größe.pdf', `attachment; filename="Gr_e.pdf"; filename*=UTF-8''Gr%C3%B6%C3%9Fe.pdf`],
    ['../a\r\nb: c.pdf', `attachment; filename=".._a_b_c.pdf"; filename*=UTF-8''.._a_b%3A%20c.pdf`],
  ])('name the file %j', async (name, disposition) => {
    await store.put('a/shared', Buffer.from('shared'), text);
    const answer = await fetch(await store.presignGet('a/shared', MINUTE_MS, name));
    expect(answer.headers.get('content-disposition')).toBe(disposition);
  });

  test('open no other object and no other method', async () => {
    const url = await store.presignGet('a/shared', MINUTE_MS);
    expect((await fetch(url.replace('a/shared', 'a/bytes'))).status).toBe(403);
    expect((await fetch(url, { method: 'DELETE' })).status).toBe(403);
  });

  test('take one upload of the size and type they were signed for', async () => {
    const url = await store.presignPut('a/upload', MINUTE_MS, 'image/png', 4);
    const put = (body: string, type = 'image/png') =>
      fetch(url, { method: 'PUT', body, headers: { 'content-type': type } });
    expect((await put('12345')).status).toBe(403);
    expect((await put('1234', 'text/html')).status).toBe(403);
    expect((await put('1234')).status).toBe(200);
    expect((await read('a/upload')).toString()).toBe('1234');
  });
});

describe('the cleanup', () => {
  test('deletes what is old and dead, and nothing else', async () => {
    for (const key of ['clean/dead', 'clean/live', 'other/dead']) await store.put(key, Buffer.from('x'), text);
    const isLive = ({ key }: { key: string }) => Promise.resolve(key.endsWith('live'));
    const settings = { store, prefix: 'clean/', isLive };
    await client.send(new CreateMultipartUploadCommand({ Bucket: 'sluice', Key: 'clean/half' }));
    expect(await cleanUp(settings)).toEqual({ looked: 2, deleted: 0, kept: 0, unfinished: 0 });
    const later = () => Date.now() + 61 * MINUTE_MS;
    expect(await cleanUp({ ...settings, now: later })).toEqual({ looked: 2, deleted: 1, kept: 1, unfinished: 1 });
    expect(await store.head('clean/dead')).toBeUndefined();
    expect(await store.head('clean/live')).toBeDefined();
    expect(await store.head('other/dead')).toBeDefined();
  });
});
