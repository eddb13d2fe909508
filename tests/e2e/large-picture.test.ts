// What the image service can convert gets through the gateway, both ways in, with nothing configured.
import { mkdtempSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { crc32, deflateSync } from 'node:zlib';
import { startStack, type Stack } from '@sluice/dev';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { gatewayClient, type JobAnswer } from './gateway-client.ts';

let directory: string;
let stack: Stack;
let api: ReturnType<typeof gatewayClient>;

beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), 'sluice-large-'));
  stack = await startStack({ dataDirectory: directory, services: ['gateway', 'image'] });
  api = gatewayClient(stack.urls.gateway);
});
afterAll(async () => {
  await stack?.stop();
  await rm(directory, { recursive: true, force: true });
});

/** An RGB PNG that is stored, not compressed: as many bytes as pixels ask for. */
function largePng(width: number, height: number): Buffer {
  const rowBytes = 1 + width * 3;
  const rows = Buffer.alloc(rowBytes * height);
  for (let at = 0; at < rows.length; at++) rows[at] = at % rowBytes === 0 ? 0 : (at >> 4) & 255;
  const header = Buffer.alloc(13);
  header.writeUInt32BE(width, 0);
  header.writeUInt32BE(height, 4);
  header.set([8, 2, 0, 0, 0], 8);
  const chunks: readonly (readonly [string, Buffer])[] = [
    ['IHDR', header],
    ['IDAT', deflateSync(rows, { level: 0 })],
    ['IEND', Buffer.alloc(0)],
  ];
  const parts = chunks.flatMap(([type, data]) => {
    const body = Buffer.concat([Buffer.from(type, 'latin1'), data]);
    const [length, checksum] = [Buffer.alloc(4), Buffer.alloc(4)];
    length.writeUInt32BE(data.length);
    checksum.writeUInt32BE(crc32(body));
    return [length, body, checksum];
  });
  return Buffer.concat([Buffer.from('\x89PNG\r\n\x1a\n', 'latin1'), ...parts]);
}

const png = { 'content-type': 'image/png' };
const json = { 'content-type': 'application/json' };

async function uploaded(picture: Buffer): Promise<JobAnswer> {
  const asked = await api.post(
    '/v1/uploads',
    JSON.stringify({ contentType: 'image/png', sizeBytes: picture.length }),
    json,
  );
  expect(asked.status).toBe(201);
  const { url, uploadId } = (await asked.json()) as { url: string; uploadId: string };
  const put = await fetch(url, { method: 'PUT', body: new Uint8Array(picture), headers: png });
  expect(put.status).toBe(200);
  return api.accept('/v1/images:fromUpload', JSON.stringify({ uploadId }), json);
}

describe('a picture of 61 MB', () => {
  const picture = largePng(5_200, 3_900);

  test('goes through as the body of a request and as an upload of its own, and both make the same PDF', async () => {
    const posted = await api.accept('/v1/images', picture, png);
    const direct = await uploaded(picture);
    const jobs = [await api.ended(posted.id), await api.ended(direct.id)];
    expect(jobs.map(({ state, error }) => error?.code ?? state)).toEqual(['succeeded', 'succeeded']);
    expect(jobs[0]?.result?.sha256).toBe(jobs[1]?.result?.sha256);
    const pdf = Buffer.from(await (await api.pdf(posted.id)).arrayBuffer());
    expect(pdf.toString('latin1', 0, 5)).toBe('%PDF-');
    expect(pdf.length).toBeGreaterThan(picture.length);
  });
});

describe('a picture of more than the image service takes', () => {
  test('of 121 megapixels is refused by its header, before it is stored', async () => {
    const header = largePng(1, 1).subarray(0, 33);
    header.writeUInt32BE(11_000, 16);
    header.writeUInt32BE(11_000, 20);
    const answer = await api.post('/v1/images', Buffer.concat([header, Buffer.alloc(1_000)]), png);
    expect(await answer.json()).toMatchObject({ status: 422, code: 'image_too_large' });
  });

  test('of 129 MiB is not promised a place', async () => {
    const asked = JSON.stringify({ contentType: 'image/png', sizeBytes: 129 * 2 ** 20 });
    const answer = await api.post('/v1/uploads', asked, json);
    expect(await answer.json()).toMatchObject({ status: 413, code: 'payload_too_large' });
  });
});
