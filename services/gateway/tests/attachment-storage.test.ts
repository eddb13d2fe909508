// What one account may store for its mails, over all replicas.
import { buckets, openBucket } from '@sluice/messaging';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createKey } from '../src/accounts/api-keys.ts';
import type { Gateway } from '../src/gateway.ts';
import { startRig, type Rig } from './rig.ts';

interface Upload {
  uploadId: string;
  url: string;
  code?: string;
  detail?: string;
}
const LIMIT = 1_000_000;
let nowMs = Date.now();
const settings = { auth: 'keys', attachmentBytesPerAccount: LIMIT } as const;
let rig: Rig;
let other: Gateway;
const keys = new Map<string, string>();
beforeAll(async () => {
  rig = await startRig({ settings, now: () => nowMs });
  other = await rig.replica({ settings, now: () => nowMs });
  const bucket = await openBucket(rig.bus.nc, buckets.apiKeys);
  for (const account of ['whole', 'small', 'race', 'late', 'freed', 'neighbour', 'again']) {
    keys.set(account, (await createKey(bucket, account, ['jobs:write', 'jobs:read'])).key);
  }
});
afterAll(() => rig?.stop());

const as = (account: string) => ({ authorization: `Bearer ${keys.get(account)}` });
const ask = (account: string, sizeBytes: number, at = '') =>
  rig.call<Upload>(`${at}/v1/uploads`, {
    json: { use: 'attachment', contentType: 'text/plain', sizeBytes },
    headers: as(account),
  });
async function put({ url }: Upload, sizeBytes: number): Promise<number> {
  const body = new Uint8Array(sizeBytes);
  return (await fetch(url, { method: 'PUT', body, headers: { 'content-type': 'text/plain' } })).status;
}
const remove = (account: string, uploadId: string) =>
  rig.call(`/v1/uploads/${uploadId}`, { method: 'DELETE', headers: as(account) });

describe('files for mails of one account', () => {
  test('have a limit together, which an upload counts against once', async () => {
    for (let file = 0; file < 2; file += 1) {
      const { status, body } = await ask('whole', 400_000);
      expect(status).toBe(201);
      expect(await put(body, 400_000)).toBe(200);
    }
    const refused = await ask('whole', 400_000);
    expect(refused).toMatchObject({ status: 409, body: { code: 'storage_quota_exceeded' } });
    expect(refused.body.detail).toContain('1 MB');
    expect((await ask('whole', 200_000)).status).toBe(201);
    expect((await ask('neighbour', 400_000)).status).toBe(201);
  });

  test('count as 100 kB each at least', async () => {
    const asked = [];
    for (let file = 0; file < 11; file += 1) asked.push((await ask('small', 1)).status);
    expect(asked).toEqual([...Array.from({ length: 10 }, () => 201), 409]);
  });

  test('cannot pass it by many requests at once, at several replicas', async () => {
    await expect.poll(async () => (await ask('race', 1, other.url)).status).toBe(201);
    const answers = await Promise.all(
      Array.from({ length: 40 }, (_, file) => ask('race', 100_000, file % 2 === 0 ? '' : other.url)),
    );
    expect(answers.map(({ status }) => status).toSorted((a, b) => a - b)).toEqual([
      ...Array.from({ length: 9 }, () => 201),
      ...Array.from({ length: 31 }, () => 409),
    ]);
  });

  test('have room again for an upload that never came, once its URL has ended', async () => {
    expect((await ask('late', LIMIT)).status).toBe(201);
    expect((await ask('late', 1)).status).toBe(409);
    nowMs += 21 * 60_000;
    expect((await ask('late', LIMIT)).status).toBe(201);
    nowMs -= 21 * 60_000;
  });

  test('have room again for one that was deleted, once it cannot be put there again', async () => {
    const { body } = await ask('freed', LIMIT);
    expect(await put(body, LIMIT)).toBe(200);
    expect((await remove('neighbour', body.uploadId)).status).toBe(404);
    expect((await remove('freed', 'upl_x')).status).toBe(400);
    expect((await remove('freed', body.uploadId)).status).toBe(204);
    expect((await remove('freed', body.uploadId)).status).toBe(404);
    expect((await ask('freed', 1)).status).toBe(409);
    nowMs += 21 * 60_000;
    expect((await ask('freed', LIMIT)).status).toBe(201);
    nowMs -= 21 * 60_000;
  });

  test('stay counted as long as they are stored', async () => {
    const { body } = await ask('again', LIMIT);
    expect(await put(body, LIMIT)).toBe(200);
    nowMs += 21 * 60_000;
    expect((await ask('again', 1)).status).toBe(409);
    nowMs -= 21 * 60_000;
  });
});
