import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { JobView } from '../src/jobs/job-view.ts';
import { png } from './pictures.ts';
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
  });

  test('has its limits checked before anything is promised', async () => {
    const over = await rig.call('/v1/uploads', { json: { contentType: 'image/png', sizeBytes: 1e12 } });
    expect(over).toMatchObject({ status: 413, body: { code: 'payload_too_large' } });
    expect((await rig.call('/v1/uploads', { json: { contentType: 'text/html', sizeBytes: 10 } })).status).toBe(400);
    expect((await convert('upl_nonsense')).status).toBe(400);
  });
});
