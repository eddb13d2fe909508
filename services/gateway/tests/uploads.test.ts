import { jobLog, newJobId } from '@sluice/jobs';
import { silentLogger } from '@sluice/pipeline';
import type { CleanupReport } from '@sluice/storage';
import type { Logger } from '@sluice/telemetry';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { JobView } from '../src/jobs/job-view.ts';
import { png } from './pictures.ts';
import { cleanedPrefixes, startObjectCleanup } from '../src/uploads/cleanup.ts';
import { eventually, startRig, type Rig } from './rig.ts';

interface Upload {
  uploadId: string;
  url: string;
  headers: Record<string, string>;
  expiresAt: string;
}
let rig: Rig;
beforeAll(async () => {
  rig = await startRig();
  await rig.workers();
});
afterAll(() => rig?.stop());

const ask = async (bytes: Buffer) =>
  (await rig.call<Upload>('/v1/uploads', { json: { contentType: 'image/png', sizeBytes: bytes.length } })).body;
const put = (upload: Upload, bytes: Buffer) =>
  fetch(upload.url, {
    method: 'PUT',
    body: new Uint8Array(bytes),
    headers: { 'content-type': upload.headers['content-type']! },
  });
const convert = (uploadId: string, more: object = {}) =>
  rig.call<JobView>('/v1/images:fromUpload', { json: { uploadId, ...more } });

const keys = async (prefix: string): Promise<string[]> => {
  const found = [];
  for await (const { key } of rig.store.list(prefix)) found.push(key);
  return found;
};

describe('a direct upload', () => {
  test('takes one image into the store and makes one job of it', async () => {
    const picture = png(8, 6, 300_000);
    const upload = await ask(picture);
    expect((await convert(upload.uploadId)).status).toBe(404);
    expect((await put(upload, picture)).status).toBe(200);
    const { status, body } = await convert(upload.uploadId, { page_size: 'a4' });
    expect(status).toBe(202);
    await eventually(
      async () => (await rig.call<JobView>(`/v1/jobs/${body.id}`)).body,
      ({ state }) => state === 'succeeded',
    );
    expect((await convert(upload.uploadId, { pageSize: 'a4' })).body.id).toBe(body.id);
    expect(await convert(upload.uploadId)).toMatchObject({ status: 422, body: { code: 'idempotency_key_reused' } });
  });

  test('takes exactly the bytes it was asked for', async () => {
    const upload = await ask(png());
    expect((await put(upload, png(8, 6, 5_000))).status).toBeGreaterThanOrEqual(400);
  });

  test('of something that is no image makes no job', async () => {
    const text = Buffer.from('not a picture, '.repeat(100));
    const upload = await ask(text);
    await put(upload, text);
    expect(await convert(upload.uploadId)).toMatchObject({ status: 415 });
    // Refused once is refused for good: it is deleted at once.
    expect(await convert(upload.uploadId)).toMatchObject({ status: 404 });
    expect(await keys('uploads/')).toEqual([]);
  });

  test('has its limits checked before anything is promised', async () => {
    const over = await rig.call('/v1/uploads', { json: { contentType: 'image/png', sizeBytes: 1e12 } });
    expect(over).toMatchObject({ status: 413, body: { code: 'payload_too_large' } });
    expect((await rig.call('/v1/uploads', { json: { contentType: 'text/html', sizeBytes: 10 } })).status).toBe(400);
    expect((await convert('upl_nonsense')).status).toBe(400);
  });
});

describe('the PDF of a job', () => {
  const HOUR_MS = 3_600_000;
  const convertNow = async () => {
    const { body } = await rig.call<JobView>('/v1/images', { body: png(), headers: { prefer: 'wait=10' } });
    expect(body.state).toBe('succeeded');
    return body.id;
  };
  /** One run of the cleanup by a clock that is ahead. */
  const cleanUp = async (aheadMs: number, resultTtlMs: number): Promise<void> => {
    const prefixes = new Map<string, CleanupReport>();
    const cleanup = startObjectCleanup({
      store: rig.store,
      jobs: jobLog(rig.bus),
      log: silentLogger as unknown as Logger,
      now: () => Date.now() + aheadMs,
      resultTtlMs,
      onCleaned: (prefix, report) => void prefixes.set(prefix, report),
    });
    await eventually(
      async () => prefixes.size,
      (size) => size === cleanedPrefixes.length,
    );
    await cleanup.stop();
  };

  test('is deleted a day after the end of the job, and not before', async () => {
    const id = await convertNow();
    const open = await rig.call<JobView>('/v1/images', { body: png() });
    await rig.store.put(`pdf/${newJobId()}.pdf`, Buffer.from('of a job that is gone'), { contentType: 'text/plain' });
    await cleanUp(23 * HOUR_MS, 24 * HOUR_MS);
    expect(await keys('pdf/')).toContain(`pdf/${id}.pdf`);
    await eventually(
      async () => (await rig.call<JobView>(`/v1/jobs/${open.body.id}`)).body.state,
      (state) => state === 'succeeded',
    );
    await cleanUp(25 * HOUR_MS, 24 * HOUR_MS);
    expect(await keys('pdf/')).toEqual([]);
  });

  test('is gone for good once its time is over, whether or not it was deleted yet', async () => {
    let aheadMs = 0;
    const brief = await rig.replica({ settings: { resultTtlMs: 60_000 }, now: () => Date.now() + aheadMs });
    const id = await convertNow();
    const get = () => rig.call(`${brief.url}/v1/jobs/${id}/pdf`);
    expect((await get()).status).toBe(302);
    aheadMs = 60_001;
    expect(await get()).toMatchObject({ status: 410, body: { code: 'result_expired', jobId: id } });
    // The job itself is still told of.
    expect((await rig.call<JobView>(`/v1/jobs/${id}`)).body.state).toBe('succeeded');
  });
});
