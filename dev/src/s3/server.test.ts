import { createHash } from 'node:crypto';
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  DeleteObjectCommand,
  GetObjectCommand,
  HeadObjectCommand,
  PutBucketLifecycleConfigurationCommand,
  PutObjectCommand,
  type PutObjectCommandInput,
  S3Client,
} from '@aws-sdk/client-s3';
import { getSignedUrl } from '@aws-sdk/s3-request-presigner';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { startS3, type S3Server, type StartS3Options } from './server.ts';

let directory: string;
let s3: S3Server;
let client: S3Client;

async function start(options: Partial<StartS3Options> = {}): Promise<void> {
  s3 = await startS3({ directory, buckets: ['sluice'], ...options });
  client = new S3Client({ endpoint: s3.url, forcePathStyle: true, region: s3.region, credentials: s3, maxAttempts: 1 });
}

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'sluice-s3-'));
  await start();
});

afterEach(async () => {
  client.destroy();
  await s3.close();
  await rm(directory, { recursive: true });
});

const at = (Key: string) => ({ Bucket: 'sluice', Key });
const put = async (key: string, Body: string, more: Partial<PutObjectCommandInput> = {}) =>
  await client.send(new PutObjectCommand({ ...at(key), Body, ...more }));
const read = async (key: string) => {
  const { Body } = await client.send(new GetObjectCommand(at(key)));
  return await Body?.transformToString();
};
const link = async (key: string) => await getSignedUrl(client, new GetObjectCommand(at(key)), { expiresIn: 60 });

describe('the embedded S3', () => {
  it('has the same objects after a restart, and the same port when asked', async () => {
    await put('a', 'hello');
    await put('b', 'gone');
    await client.send(new DeleteObjectCommand(at('b')));
    await s3.close();
    await start({ port: s3.port });
    expect(await read('a')).toBe('hello');
    await expect(client.send(new HeadObjectCommand(at('b')))).rejects.toMatchObject({ name: 'NotFound' });
  });

  it('makes its ETags of what it is told', async () => {
    await s3.close();
    await start({ etagHash: 'sha1' });
    const { ETag } = await put('a', 'hello');
    expect(ETag).toBe(`"${createHash('sha1').update('hello').digest('hex')}"`);
    await expect(put('a', 'other', { IfMatch: '"other"' })).rejects.toMatchObject({ name: 'PreconditionFailed' });
    await expect(put('a', 'other', { ContentMD5: 'AAAAAAAAAAAAAAAAAAAAAA==' })).rejects.toMatchObject({
      name: 'BadDigest',
    });
    await put('a', 'other', { IfMatch: ETag });
    expect(await read('a')).toBe('other');
  });

  it('leaves no file behind that is no object', async () => {
    await put('a', 'one');
    await put('a', 'two');
    await expect(
      client.send(new PutObjectCommand({ ...at('a'), Body: 'x', ChecksumCRC32: 'AAAAAA==' })),
    ).rejects.toThrow();
    await client.send(new DeleteObjectCommand(at('a')));
    expect(await readdir(join(directory, 'sluice', 'data'))).toEqual([]);
    expect(await readdir(join(directory, '.tmp'))).toEqual([]);
  });

  it('says who holds a taken port', async () => {
    const second = startS3({ directory: join(directory, 'second'), port: s3.port });
    await expect(second).rejects.toMatchObject({ code: 'port_in_use', port: s3.port });
  });

  it('expires objects by the rules of their bucket', async () => {
    let offsetMs = 0;
    await s3.close();
    await start({ now: () => new Date(Date.now() + offsetMs) });
    const Rules = [{ Status: 'Enabled' as const, Filter: { Prefix: 'uploads/' }, Expiration: { Days: 1 } }];
    const LifecycleConfiguration = { Rules };
    await client.send(new PutBucketLifecycleConfigurationCommand({ Bucket: 'sluice', LifecycleConfiguration }));
    await put('uploads/1', 'x');
    await put('pdf/1', 'x');
    expect(await s3.applyLifecycle()).toBe(0);
    offsetMs = 24 * 3600 * 1000 + 1;
    expect(await s3.applyLifecycle()).toBe(1);
    expect(await readdir(join(directory, 'sluice', 'data'))).toHaveLength(1);
  });
});

describe('a fault', () => {
  it('hits as often as it says, only where it says', async () => {
    const fault = s3.fail({
      method: 'PUT',
      keyPrefix: 'pdf/',
      times: 2,
      effect: { kind: 'status', status: 503, code: 'SlowDown' },
    });
    await put('uploads/1', 'x');
    for (let i = 0; i < 2; i++) await expect(put('pdf/1', 'x')).rejects.toMatchObject({ name: 'SlowDown' });
    await put('pdf/1', 'x');
    expect(fault.hits).toBe(2);
  });

  it('ends when it is lifted', async () => {
    const fault = s3.fail({ times: Number.POSITIVE_INFINITY, effect: { kind: 'reset' } });
    await expect(put('a', 'x')).rejects.toThrow(/ECONNRESET|socket hang up/);
    fault.lift();
    await put('a', 'x');
  });

  it('can answer nothing at all', async () => {
    await put('a', 'hello');
    s3.fail({ effect: { kind: 'hang' } });
    await expect(fetch(await link('a'), { signal: AbortSignal.timeout(100) })).rejects.toThrow('timeout');
  });

  it('can do the work and lose the answer', async () => {
    s3.fail({ method: 'PUT', effect: { kind: 'lose-answer' } });
    await expect(put('a', 'stored')).rejects.toThrow(/ECONNRESET|socket hang up/);
    expect(await read('a')).toBe('stored');
  });

  it('can stop in the middle of a body, with the connection open', async () => {
    await put('a', 'x'.repeat(100_000));
    s3.fail({ effect: { kind: 'hang-body', afterBytes: 10 } });
    const patience = new AbortController();
    const response = await fetch(await link('a'), { signal: patience.signal });
    expect(response.status).toBe(200);
    const body = response.text();
    setTimeout(() => patience.abort(new Error('waited in vain')), 200);
    await expect(body).rejects.toThrow('waited in vain');
  });

  it('can cut a body short', async () => {
    await put('a', 'x'.repeat(100_000));
    s3.fail({ effect: { kind: 'truncate', afterBytes: 10 } });
    const response = await fetch(await link('a'));
    await expect(response.text()).rejects.toThrow('terminated');
  });

  it('can flip a byte, which the checksum of the SDK notices', async () => {
    await put('a', 'hello');
    s3.fail({ times: 2, effect: { kind: 'corrupt', atByte: 1 } });
    const bytes = Buffer.from(await (await fetch(await link('a'))).arrayBuffer());
    expect(bytes.toString('latin1')).toBe('h\x9allo');
    await expect(read('a')).rejects.toThrow(/[Cc]hecksum mismatch/);
  });

  it('can refuse connections until it accepts them again', async () => {
    await put('a', 'hello');
    const url = await link('a');
    await s3.refuseConnections();
    await expect(fetch(url)).rejects.toMatchObject({ cause: { code: 'ECONNREFUSED' } });
    await s3.acceptConnections();
    expect(await (await fetch(url)).text()).toBe('hello');
  });

  it('can delay', async () => {
    await put('a', 'hello');
    const fault = s3.fail({ effect: { kind: 'delay', delayMs: 20 } });
    expect(await read('a')).toBe('hello');
    expect(fault.hits).toBe(1);
  });
});
