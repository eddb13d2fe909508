import { createHash, randomBytes } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import zlib from 'node:zlib';
import { PageSize, Quality } from '@sluice/contracts';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { startPdfCleanup } from '../src/pdf-cleanup.ts';
import { startImageSystem, type ImageSystem } from './image-run.ts';
import { largestDifference, sharpReading } from './support/compare.ts';
import { readPictures } from './support/pdf-reader.ts';
import { rawPng } from './support/png-writer.ts';

let system: ImageSystem;
const sample = (name: string): Promise<Buffer> => readFile(new URL(`../../../samples/${name}`, import.meta.url));
let photo: Buffer;
let window: Buffer;
let scan: Buffer;

beforeAll(async () => {
  [photo, window, scan] = await Promise.all([sample('photo.jpg'), sample('screenshot.png'), sample('scan.png')]);
  system = await startImageSystem({ RETRY_ATTEMPTS: '1', RETRY_BASE_MS: '50' });
});
afterEach(() => system.s3.clearFaults());
afterAll(() => system?.close());

describe('a conversion', () => {
  test('of a picture in the store writes its PDF there and tells what it wrote', async () => {
    await system.ask({ jobId: 'job_stored', files: [photo], stored: true });
    const { result } = await system.ended('job_stored');
    const pdf = await system.pdf('job_stored');
    expect(result?.outcome).toMatchObject({
      case: 'succeeded',
      value: {
        key: 'pdf/job_stored.pdf',
        pages: 1,
        width: 1600,
        height: 1067,
        path: 'passthrough',
        inputBytes: BigInt(photo.length),
        outputBytes: BigInt(pdf.length),
        sha256: createHash('sha256').update(pdf).digest('hex'),
      },
    });
    expect(largestDifference((await readPictures(pdf))[0]!, await sharpReading(photo))).toBe(0);
  });

  test('of a picture that came with the message does the same', async () => {
    await system.ask({ jobId: 'job_inline', files: [window] });
    const { result } = await system.ended('job_inline');
    expect(result?.outcome).toMatchObject({ case: 'succeeded', value: { path: 'split', width: 1280, height: 720 } });
    expect((await readPictures(await system.pdf('job_inline'))).length).toBe(1);
  });

  test('of several pictures makes one PDF, a page each, in order', async () => {
    await system.ask({ jobId: 'job_several', files: [scan, photo, window], stored: true });
    const { result } = await system.ended('job_several');
    expect(result?.outcome).toMatchObject({ case: 'succeeded', value: { pages: 3, path: 'mixed', width: 2480 } });
    const pictures = await readPictures(await system.pdf('job_several'));
    expect(pictures.map(({ width }) => width)).toEqual([2480, 1600, 1280]);
  });

  test('takes its options from the message', async () => {
    const options = { quality: Quality.LOW, maxWidth: 200, pageSize: PageSize.A4 };
    await system.ask({ jobId: 'job_options', files: [photo], options });
    const { result } = await system.ended('job_options');
    expect(result?.outcome).toMatchObject({ case: 'succeeded', value: { path: 'decode', width: 200, height: 133 } });
    const [picture] = await readPictures(await system.pdf('job_options'));
    expect(picture?.page).toMatchObject({ width: 841.89, height: 595.28 });
  });

  test.each([true, false])('comes from the express lanes, too (stored: %s)', async (stored) => {
    const jobId = `job_express_${String(stored)}`;
    await system.ask({ jobId, files: [photo], stored, express: true });
    expect((await system.ended(jobId)).result?.outcome.case).toBe('succeeded');
  });
});

describe('a picture that cannot be converted', () => {
  test.each([
    ['corrupt_image', () => window.subarray(0, 30_000)],
    ['unsupported_media_type', () => Buffer.from('<svg xmlns="http://www.w3.org/2000/svg"/>')],
  ])('is a result, %s, told once and on the first attempt, and no dead letter', async (code, file) => {
    for (const stored of [true, false]) {
      const jobId = `job_${code}_${String(stored)}`;
      await system.ask({ jobId, files: [file()], stored });
      const { result, deadLetter } = await system.ended(jobId);
      expect(deadLetter).toBeUndefined();
      expect(result).toMatchObject({ attempt: 1, outcome: { case: 'failed', value: { code } } });
      expect(await system.store.head(`pdf/${jobId}.pdf`)).toBeUndefined();
    }
  });

  test('leaves the pages before it unwritten', async () => {
    await system.ask({ jobId: 'job_half', files: [photo, window.subarray(0, 30_000)], stored: true });
    const { result } = await system.ended('job_half');
    expect(result?.outcome).toMatchObject({ case: 'failed', value: { code: 'corrupt_image' } });
    expect(await system.store.head('pdf/job_half.pdf')).toBeUndefined();
  });

  test('that is no longer there is told as source_missing', async () => {
    system.s3.fail({
      method: 'GET',
      keyPrefix: 'uploads/job_gone',
      effect: { kind: 'status', status: 404, code: 'NoSuchKey' },
    });
    await system.ask({ jobId: 'job_gone', files: [photo], stored: true });
    const { result } = await system.ended('job_gone');
    expect(result?.outcome).toMatchObject({ case: 'failed', value: { code: 'source_missing' } });
  });
});

describe('a store that fails for a while', () => {
  test.each([
    ['refuses to give the picture', 'GET', 'uploads/', { kind: 'status', status: 503, code: 'SlowDown' }],
    ['breaks off in the middle of the picture', 'GET', 'uploads/', { kind: 'truncate', afterBytes: 20_000 }],
    ['refuses to take the PDF', 'PUT', 'pdf/', { kind: 'status', status: 503, code: 'SlowDown' }],
    ['resets the connection', 'PUT', 'pdf/', { kind: 'reset' }],
  ] as const)('%s: tried again until it does', async (name, method, prefix, effect) => {
    const jobId = `job_${name.replaceAll(' ', '_')}`;
    const fault = system.s3.fail({ method, keyPrefix: `${prefix}${jobId}`, times: 4, effect });
    await system.ask({ jobId, files: [photo], stored: true });
    const { result, deadLetter } = await system.ended(jobId);
    expect(deadLetter).toBeUndefined();
    expect(fault.hits).toBe(4);
    expect(result?.outcome).toMatchObject({ case: 'succeeded', value: { inputBytes: BigInt(photo.length) } });
    expect((await readPictures(await system.pdf(jobId))).length).toBe(1);
  });
});

test('a store that is away stops the pulling and uses up no attempt', async () => {
  const effect = { kind: 'status', status: 503, code: 'ServiceUnavailable' } as const;
  const away = system.s3.fail({ times: Infinity, effect });
  const jobs = Array.from({ length: 10 }, (_, n) => `job_away_${n}`);
  for (const jobId of jobs) await system.ask({ jobId, files: [photo] });
  await expect.poll(() => system.metrics()).toMatch(/pipeline_state\{[^}]*state="tripped"[^}]*\} 1/);
  // The client asks three times in a run. One run was all that a job had, and the breaker had seen six.
  await expect.poll(() => away.hits).toBeGreaterThan(18);
  system.s3.clearFaults();
  for (const jobId of jobs) {
    const { result, deadLetter } = await system.ended(jobId);
    expect(deadLetter).toBeUndefined();
    expect(result).toMatchObject({ attempt: 1, outcome: { case: 'succeeded' } });
  }
});

describe('what a store does not find, but for the picture, is tried again and not called a missing picture', () => {
  const [width, height] = [2_000, 1_600];
  const noise = randomBytes((width * 3 + 1) * height).map((byte, at) => (at % (width * 3 + 1) === 0 ? 0 : byte));
  // Its PDF takes more than one part.
  const large = rawPng(width, height, 8, 2, zlib.deflateSync(noise, { level: 0 }));

  test.each([
    ['the bucket to read from', 'GET', 'uploads/', 'NoSuchBucket'],
    ['the bucket to write to', 'POST', 'pdf/', 'NoSuchBucket'],
    ['the parts of the PDF', 'PUT', 'pdf/', 'NoSuchUpload'],
  ] as const)('%s', async (name, method, prefix, code) => {
    const jobId = `job_${name.replaceAll(' ', '_')}`;
    const effect = { kind: 'status', status: 404, code } as const;
    const fault = system.s3.fail({ method, keyPrefix: `${prefix}${jobId}`, times: 1, effect });
    await system.ask({ jobId, files: [large], stored: true });
    const { result } = await system.ended(jobId);
    expect(fault.hits).toBe(1);
    expect(result).toMatchObject({ attempt: 1, outcome: { case: 'succeeded', value: { width, height } } });
  });
});

test('parts of a PDF that a killed service left behind are dropped, and nothing else', async () => {
  const killed = system.store.upload('pdf/job_killed.pdf', { contentType: 'application/pdf' });
  await killed.write(Buffer.alloc(17 * 2 ** 20));
  const { promise: told, resolve: tell } = Promise.withResolvers<unknown>();
  const log = { info: tell, warn: tell };
  // As if an hour had passed.
  const cleanup = startPdfCleanup({ store: system.store, log, olderThanMs: -60_000, everyMs: 50 });
  const dropped = await told;
  cleanup.stop();
  expect(dropped).toEqual({ dropped: 1 });
  await expect(killed.finish()).rejects.toMatchObject({ name: 'StoreError' });
  expect(await system.store.head('pdf/job_stored.pdf')).toBeDefined();
});

describe('a message that comes twice', () => {
  test('writes the same bytes to the same key', async () => {
    await system.ask({ jobId: 'job_twice', files: [window] });
    await system.ended('job_twice');
    const first = await system.pdf('job_twice');
    await system.ask({ jobId: 'job_twice', files: [window], messageId: 'job_twice.work.again' });
    await expect
      .poll(() => system.metrics())
      .toMatch(/image_conversions_total\{.*path="split".*outcome="succeeded".*\} [2-9]/);
    expect((await system.pdf('job_twice')).equals(first)).toBe(true);
  });

  test('after its source was deleted changes nothing', async () => {
    await system.ask({ jobId: 'job_late', files: [photo], stored: true });
    await system.ended('job_late');
    const told = system.results.length;
    const work = { jobId: 'job_late', files: [photo], messageId: 'job_late.work.again' };
    system.s3.fail({
      method: 'GET',
      keyPrefix: 'uploads/job_late',
      times: 9,
      effect: { kind: 'status', status: 404, code: 'NoSuchKey' },
    });
    await system.ask({ ...work, stored: true });
    await system.ask({ jobId: 'job_marker', files: [photo] });
    await system.ended('job_marker');
    await system.settled();
    expect(system.results.slice(told).every(({ jobId }) => jobId === 'job_marker')).toBe(true);
  });
});

test('a message that would write the key of another job is given up at once', async () => {
  await system.ask({ jobId: 'job_thief', files: [photo], outputKey: 'pdf/job_victim.pdf' });
  const { deadLetter } = await system.ended('job_thief');
  expect(deadLetter).toMatch(/decode/);
  expect(await system.store.head('pdf/job_victim.pdf')).toBeUndefined();
});

test('what it did is counted by path and outcome', async () => {
  const metrics = await system.metrics();
  expect(metrics).toMatch(/image_conversions_total\{.*outcome="corrupt_image".*\} \d+/);
  expect(metrics).toMatch(/image_pages_total\{.*format="jpeg".*path="passthrough".*\} \d+/);
  expect(metrics).toMatch(/image_conversion_duration_seconds_bucket\{/);
  expect(metrics).toMatch(
    /object_store_operation_duration_seconds_count\{.*operation="GetObject".*outcome="ok".*\} \d+/,
  );
  expect(metrics).toMatch(/image_decoders\{.*state="idle".*\} \d/);
});
