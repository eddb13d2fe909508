import { createHash, randomBytes } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import * as S3 from '@aws-sdk/client-s3';
import { Upload } from '@aws-sdk/lib-storage';
import { getSignedUrl } from '@aws-sdk/s3-request-presigner';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { compareKeys } from './listing.ts';
import { startS3, type S3Server } from './server.ts';

// What services use of S3, through the AWS SDK as they use it. S3_CONFORMANCE_ENDPOINT (with
// S3_ACCESS_KEY_ID and S3_SECRET_ACCESS_KEY) runs the same checks against another server.

/** Three things another store may do in its own way are not asked of it; the services need none of them. */
const isEmbedded = process.env['S3_CONFORMANCE_ENDPOINT'] === undefined;
const BUCKET = 'conformance';
const MIB = 1024 * 1024;
let server: S3Server | undefined;
let directory = '';
let endpoint = '';
let credentials = { accessKeyId: '', secretAccessKey: '' };
let client: S3.S3Client;

function clientWith(overrides: S3.S3ClientConfig = {}): S3.S3Client {
  return new S3.S3Client({
    endpoint,
    region: 'us-east-1',
    forcePathStyle: true,
    credentials,
    maxAttempts: 1,
    ...overrides,
  });
}

beforeAll(async () => {
  const external = process.env['S3_CONFORMANCE_ENDPOINT'];
  if (external === undefined) {
    directory = await mkdtemp(join(tmpdir(), 'sluice-s3-'));
    server = await startS3({ directory });
    endpoint = server.url;
    credentials = server;
  } else {
    endpoint = external;
    credentials = {
      accessKeyId: process.env['S3_ACCESS_KEY_ID'] ?? '',
      secretAccessKey: process.env['S3_SECRET_ACCESS_KEY'] ?? '',
    };
  }
  client = clientWith();
  await client.send(new S3.CreateBucketCommand({ Bucket: BUCKET }));
});

afterAll(async () => {
  client.destroy();
  await server?.close();
  if (directory !== '') await rm(directory, { recursive: true });
});

const md5 = (bytes: Uint8Array | string): string => createHash('md5').update(bytes).digest('hex');

async function put(key: string, body: string | Uint8Array, more: Partial<S3.PutObjectCommandInput> = {}) {
  return await client.send(new S3.PutObjectCommand({ Bucket: BUCKET, Key: key, Body: body, ...more }));
}

async function get(key: string, more: Partial<S3.GetObjectCommandInput> = {}) {
  const output = await client.send(new S3.GetObjectCommand({ Bucket: BUCKET, Key: key, ...more }));
  return { output, bytes: Buffer.from((await output.Body?.transformToByteArray()) ?? []) };
}

async function head(key: string) {
  return await client.send(new S3.HeadObjectCommand({ Bucket: BUCKET, Key: key }));
}

const refused = (status: number) => ({ $metadata: { httpStatusCode: status } });

describe('buckets', () => {
  it('lists what was created', async () => {
    const { Buckets } = await client.send(new S3.ListBucketsCommand({}));
    expect(Buckets?.map((bucket) => bucket.Name)).toContain(BUCKET);
  });

  it('answers 404 for one that is missing', async () => {
    await expect(client.send(new S3.HeadBucketCommand({ Bucket: 'nobody' }))).rejects.toMatchObject(refused(404));
  });

  it('refuses to create one twice', async () => {
    const again = client.send(new S3.CreateBucketCommand({ Bucket: BUCKET }));
    await expect(again).rejects.toMatchObject({ name: 'BucketAlreadyOwnedByYou' });
  });

  it('refuses to delete one with objects in it', async () => {
    await put('keep', 'x');
    const deletion = client.send(new S3.DeleteBucketCommand({ Bucket: BUCKET }));
    await expect(deletion).rejects.toMatchObject({ name: 'BucketNotEmpty' });
  });
});

describe('objects', () => {
  it('stores a buffer and tells its MD5 as ETag', async () => {
    expect((await put('a.txt', 'hello')).ETag).toBe(`"${md5('hello')}"`);
  });

  it('gives back bytes, content type and metadata', async () => {
    await put('meta.txt', 'hello', { ContentType: 'text/plain', Metadata: { foo: 'bar' } });
    const { output, bytes } = await get('meta.txt');
    expect(bytes.toString()).toBe('hello');
    expect(output.ContentType).toBe('text/plain');
    expect(output.Metadata).toEqual({ foo: 'bar' });
  });

  it('takes the chunk framing off a streamed upload', async () => {
    const body = randomBytes(300_000);
    const Body = Readable.from([body.subarray(0, 100_000), body.subarray(100_000)]);
    await client.send(new S3.PutObjectCommand({ Bucket: BUCKET, Key: 'stream', Body, ContentLength: body.length }));
    const { output, bytes } = await get('stream');
    expect(md5(bytes)).toBe(md5(body));
    // SeaweedFS stores the encoding of the request with the object. The services' client does not use it.
    if (isEmbedded) expect(output.ContentEncoding).toBeUndefined();
  });

  it('replaces an object at once and completely', async () => {
    await put('replaced', 'one');
    await put('replaced', 'two!');
    expect((await get('replaced')).bytes.toString()).toBe('two!');
  });

  it('tells the size without the body', async () => {
    await put('sized', 'hello');
    expect((await head('sized')).ContentLength).toBe(5);
  });

  it.each([
    ['HEAD', 'NotFound'],
    ['GET', 'NoSuchKey'],
  ])('names the error of %s of a missing key %s', async (method, name) => {
    await expect(method === 'HEAD' ? head('missing') : get('missing')).rejects.toMatchObject({ name });
  });

  it.each([
    'sp ace/ü+&=?.txt',
    'x//y',
    'smile-\u{1f600}',
    // SeaweedFS takes it for the path it looks like. No service makes such a key.
    ...(isEmbedded ? ['a/../b'] : []),
  ])('keeps the odd key %s', async (key) => {
    await put(key, key);
    expect((await get(key)).bytes.toString()).toBe(key);
    const { Contents } = await client.send(new S3.ListObjectsV2Command({ Bucket: BUCKET, Prefix: key }));
    expect(Contents?.[0]?.Key).toBe(key);
  });

  it('answers a range with that part', async () => {
    await put('ranged', 'hello');
    const { output, bytes } = await get('ranged', { Range: 'bytes=1-3' });
    expect(bytes.toString()).toBe('ell');
    expect(output.ContentRange).toBe('bytes 1-3/5');
    expect((await get('ranged', { Range: 'bytes=-2' })).bytes.toString()).toBe('lo');
    await expect(get('ranged', { Range: 'bytes=9-' })).rejects.toMatchObject(refused(416));
  });

  it('copies', async () => {
    await put('from here', 'hello', { ContentType: 'text/plain' });
    const CopySource = `${BUCKET}/from%20here`;
    await client.send(new S3.CopyObjectCommand({ Bucket: BUCKET, Key: 'copied', CopySource }));
    const { output, bytes } = await get('copied');
    expect([bytes.toString(), output.ContentType]).toEqual(['hello', 'text/plain']);
  });

  it('deletes one and many, also what is not there', async () => {
    for (const key of ['d/0', 'd/1', 'd/2']) await put(key, 'x');
    await client.send(new S3.DeleteObjectCommand({ Bucket: BUCKET, Key: 'd/0' }));
    const Objects = [{ Key: 'd/0' }, { Key: 'd/1' }, { Key: 'd/never' }];
    const { Deleted } = await client.send(new S3.DeleteObjectsCommand({ Bucket: BUCKET, Delete: { Objects } }));
    expect(Deleted).toHaveLength(3);
    const { KeyCount } = await client.send(new S3.ListObjectsV2Command({ Bucket: BUCKET, Prefix: 'd/' }));
    expect(KeyCount).toBe(1);
  });

  it('tags', async () => {
    await put('tagged', 'x', { Tagging: 'a=1' });
    const ask = async () =>
      (await client.send(new S3.GetObjectTaggingCommand({ Bucket: BUCKET, Key: 'tagged' }))).TagSet;
    expect(await ask()).toEqual([{ Key: 'a', Value: '1' }]);
    const Tagging = { TagSet: [{ Key: 'k', Value: 'v' }] };
    await client.send(new S3.PutObjectTaggingCommand({ Bucket: BUCKET, Key: 'tagged', Tagging }));
    expect(await ask()).toEqual([{ Key: 'k', Value: 'v' }]);
  });
});

describe('checksums', () => {
  it.each(['CRC32', 'CRC32C', 'CRC64NVME', 'SHA1', 'SHA256'] as const)(
    '%s is verified, stored and told',
    async (algorithm) => {
      await put(`sum-${algorithm}`, 'checksum me', { ChecksumAlgorithm: algorithm });
      const { output, bytes } = await get(`sum-${algorithm}`, { ChecksumMode: 'ENABLED' });
      expect(bytes.toString()).toBe('checksum me');
      expect(output[`Checksum${algorithm}`]).toBeTruthy();
    },
  );

  it('refuses a body that is not what its CRC32 says', async () => {
    await expect(put('bad', 'x', { ChecksumCRC32: 'AAAAAA==' })).rejects.toMatchObject(refused(400));
    await expect(head('bad')).rejects.toMatchObject({ name: 'NotFound' });
  });

  it('refuses a body that is not what its MD5 says', async () => {
    await expect(put('bad', 'x', { ContentMD5: 'AAAAAAAAAAAAAAAAAAAAAA==' })).rejects.toMatchObject(refused(400));
  });
});

describe('conditions', () => {
  it('creates only when nothing is there', async () => {
    await put('once', 'first', { IfNoneMatch: '*' });
    await expect(put('once', 'second', { IfNoneMatch: '*' })).rejects.toMatchObject(refused(412));
    expect((await get('once')).bytes.toString()).toBe('first');
  });

  it('lets one of many creators win', async () => {
    const attempts = Array.from({ length: 8 }, (_, i) => put('race', String(i), { IfNoneMatch: '*' }));
    const outcomes = await Promise.allSettled(attempts);
    expect(outcomes.filter((outcome) => outcome.status === 'fulfilled')).toHaveLength(1);
  });

  it('replaces only the version it names', async () => {
    const { ETag } = await put('version', 'one');
    await put('version', 'two', { IfMatch: ETag });
    await expect(put('version', 'three', { IfMatch: ETag })).rejects.toMatchObject(refused(412));
  });

  it('answers 304 to a reader that has it', async () => {
    const { ETag } = await put('fresh', 'x');
    await expect(get('fresh', { IfNoneMatch: ETag })).rejects.toMatchObject(refused(304));
  });
});

describe('multipart', () => {
  const named = (Key: string) => ({ Bucket: BUCKET, Key });

  it('joins the parts of a streamed upload', async () => {
    const body = randomBytes(12 * MIB);
    const params = { ...named('parts'), Body: Readable.from([body.subarray(0, 7 * MIB), body.subarray(7 * MIB)]) };
    const { ETag } = await new Upload({ client, params, partSize: 5 * MIB, queueSize: 2 }).done();
    expect(ETag).toMatch(/-3"$/);
    expect(md5((await get('parts')).bytes)).toBe(md5(body));
  });

  it('takes parts in any order', async () => {
    const { UploadId } = await client.send(new S3.CreateMultipartUploadCommand(named('unordered')));
    const upload = { ...named('unordered'), UploadId };
    const second = await client.send(new S3.UploadPartCommand({ ...upload, PartNumber: 2, Body: 'tail' }));
    const first = await client.send(
      new S3.UploadPartCommand({ ...upload, PartNumber: 1, Body: Buffer.alloc(5 * MIB, 'a') }),
    );
    const Parts = [
      { PartNumber: 1, ETag: first.ETag },
      { PartNumber: 2, ETag: second.ETag },
    ];
    await client.send(new S3.CompleteMultipartUploadCommand({ ...upload, MultipartUpload: { Parts } }));
    expect((await get('unordered')).bytes.subarray(5 * MIB - 1).toString()).toBe('atail');
  });

  it('refuses a part too small that is not the last', async () => {
    const { UploadId } = await client.send(new S3.CreateMultipartUploadCommand(named('small')));
    const upload = { ...named('small'), UploadId };
    const Parts = [];
    for (const PartNumber of [1, 2]) {
      const { ETag } = await client.send(new S3.UploadPartCommand({ ...upload, PartNumber, Body: 'tiny' }));
      Parts.push({ PartNumber, ETag });
    }
    const completion = client.send(new S3.CompleteMultipartUploadCommand({ ...upload, MultipartUpload: { Parts } }));
    await expect(completion).rejects.toMatchObject({ name: 'EntityTooSmall' });
  });

  it('forgets an aborted upload', async () => {
    const { UploadId } = await client.send(new S3.CreateMultipartUploadCommand(named('aborted')));
    const upload = { ...named('aborted'), UploadId };
    await client.send(new S3.AbortMultipartUploadCommand(upload));
    const part = client.send(new S3.UploadPartCommand({ ...upload, PartNumber: 1, Body: 'x' }));
    await expect(part).rejects.toMatchObject({ name: 'NoSuchUpload' });
  });
});

describe('listings', () => {
  it('pages through in order, with and without a delimiter', async () => {
    for (let i = 0; i < 25; i++) await put(`list/${String(i).padStart(2, '0')}`, 'x');
    await put('list/deep/er', 'x');
    const page = { client, pageSize: 10 };
    const keys: (string | undefined)[] = [];
    for await (const { Contents } of S3.paginateListObjectsV2(page, { Bucket: BUCKET, Prefix: 'list/' })) {
      keys.push(...(Contents ?? []).map((object) => object.Key));
    }
    expect(keys).toHaveLength(26);
    expect(keys).toEqual(keys.toSorted((a, b) => compareKeys(a ?? '', b ?? '')));
    const input = { Bucket: BUCKET, Prefix: 'list/', Delimiter: '/', MaxKeys: 5 };
    let prefixes: string[] = [];
    for await (const { CommonPrefixes } of S3.paginateListObjectsV2({ client }, input)) {
      prefixes = prefixes.concat((CommonPrefixes ?? []).map((common) => common.Prefix ?? ''));
    }
    expect(prefixes).toEqual(['list/deep/']);
  });

  it('has the first version of the call too', async () => {
    await put('v1/a', 'x');
    await put('v1/b', 'x');
    const first = await client.send(new S3.ListObjectsCommand({ Bucket: BUCKET, Prefix: 'v1/', MaxKeys: 1 }));
    expect(first.IsTruncated).toBe(true);
    const input = { Bucket: BUCKET, Prefix: 'v1/', Marker: first.NextMarker };
    const second = await client.send(new S3.ListObjectsCommand(input));
    expect(second.Contents?.map((object) => object.Key)).toEqual(['v1/b']);
  });
});

describe('access', () => {
  const command = () =>
    new S3.GetObjectCommand({ Bucket: BUCKET, Key: 'open', ResponseContentDisposition: 'attachment' });
  beforeAll(async () => void (await put('open', 'hello')));

  it('lets the bearer of a presigned URL read, under the name the URL gives', async () => {
    const response = await fetch(await getSignedUrl(client, command(), { expiresIn: 60 }));
    expect([response.status, await response.text()]).toEqual([200, 'hello']);
    expect(response.headers.get('content-disposition')).toBe('attachment');
  });

  it('refuses a presigned URL that was changed', async () => {
    const url = new URL(await getSignedUrl(client, command(), { expiresIn: 60 }));
    url.searchParams.set('response-content-disposition', 'inline');
    expect((await fetch(url)).status).toBe(403);
  });

  it('refuses a presigned URL after its time', async () => {
    const signingDate = new Date(Date.now() - 60_000);
    const url = await getSignedUrl(client, command(), { expiresIn: 1, signingDate });
    expect((await fetch(url)).status).toBe(403);
  });

  it('refuses a presigned URL that is used for another host', async () => {
    const url = await getSignedUrl(client, command(), { expiresIn: 60 });
    expect((await fetch(url.replace('127.0.0.1', 'localhost'))).status).toBe(403);
  });

  it('lets the bearer of a presigned URL write', async () => {
    // WHEN_REQUIRED: a default client would sign the checksum of the empty body it sees into the URL.
    const presigner = clientWith({ requestChecksumCalculation: 'WHEN_REQUIRED' });
    const upload = new S3.PutObjectCommand({ Bucket: BUCKET, Key: 'by-url', ContentType: 'image/png' });
    const url = await getSignedUrl(presigner, upload, { expiresIn: 60 });
    const response = await fetch(url, { method: 'PUT', body: 'pngdata', headers: { 'content-type': 'image/png' } });
    expect(response.status).toBe(200);
    expect(await head('by-url')).toMatchObject({ ContentLength: 7, ContentType: 'image/png' });
  });

  it('refuses a body against the checksum in a presigned URL', async () => {
    const upload = new S3.PutObjectCommand({ Bucket: BUCKET, Key: 'by-default-client' });
    const url = await getSignedUrl(client, upload, { expiresIn: 60 });
    expect((await fetch(url, { method: 'PUT', body: 'pngdata' })).status).toBe(400);
  });

  it('refuses a stranger', async () => {
    expect((await fetch(`${endpoint}/${BUCKET}/open`)).status).toBe(403);
  });

  it.each([
    ['an unknown key', { accessKeyId: 'NOPE', secretAccessKey: 'x' }],
    ['a wrong secret', { accessKeyId: 'right', secretAccessKey: 'wrong' }],
  ])('refuses %s', async (_, given) => {
    const accessKeyId = given.accessKeyId === 'right' ? credentials.accessKeyId : given.accessKeyId;
    const stranger = clientWith({ credentials: { ...given, accessKeyId } });
    await expect(stranger.send(new S3.ListBucketsCommand({}))).rejects.toMatchObject(refused(403));
  });
});

describe('bucket configuration', () => {
  // SeaweedFS allows methods that the rules do not name.
  it.skipIf(!isEmbedded)('answers a browser by the CORS rules', async () => {
    const CORSRules = [
      { AllowedMethods: ['PUT', 'GET'], AllowedOrigins: ['http://localhost:8080'], AllowedHeaders: ['content-*'] },
    ];
    await client.send(new S3.PutBucketCorsCommand({ Bucket: BUCKET, CORSConfiguration: { CORSRules } }));
    const preflight = async (headers: Record<string, string>) =>
      await fetch(`${endpoint}/${BUCKET}/any`, {
        method: 'OPTIONS',
        headers: { origin: 'http://localhost:8080', 'access-control-request-method': 'PUT', ...headers },
      });
    const allowed = await preflight({ 'access-control-request-headers': 'content-type' });
    expect(allowed.headers.get('access-control-allow-origin')).toBe('http://localhost:8080');
    expect((await preflight({ origin: 'http://evil.test' })).status).toBe(403);
    expect((await preflight({ 'access-control-request-method': 'DELETE' })).status).toBe(403);
  });

  it('keeps the lifecycle rules', async () => {
    const Rules = [{ ID: 'x', Status: 'Enabled' as const, Filter: { Prefix: 'old/' }, Expiration: { Days: 1 } }];
    const LifecycleConfiguration = { Rules };
    const write = new S3.PutBucketLifecycleConfigurationCommand({ Bucket: BUCKET, LifecycleConfiguration });
    await client.send(write);
    const read = await client.send(new S3.GetBucketLifecycleConfigurationCommand({ Bucket: BUCKET }));
    expect(read.Rules?.[0]?.Expiration?.Days).toBe(1);
  });
});

describe('load', () => {
  it('carries 64 MiB through one stream each way', async () => {
    const chunk = randomBytes(64 * 1024);
    const total = 64 * MIB;
    const Body = Readable.from(
      (function* () {
        for (let sent = 0; sent < total; sent += chunk.length) yield chunk;
      })(),
    );
    await client.send(new S3.PutObjectCommand({ Bucket: BUCKET, Key: 'big', Body, ContentLength: total }));
    const { Body: read } = await client.send(new S3.GetObjectCommand({ Bucket: BUCKET, Key: 'big' }));
    let received = 0;
    for await (const bytes of read as Readable) received += (bytes as Buffer).length;
    expect(received).toBe(total);
  });

  it('takes 200 small puts, 16 at a time', async () => {
    let next = 0;
    const worker = async () => {
      while (next < 200) await put(`load/${next++}`, randomBytes(20_000));
    };
    await Promise.all(Array.from({ length: 16 }, worker));
    const { KeyCount } = await client.send(new S3.ListObjectsV2Command({ Bucket: BUCKET, Prefix: 'load/' }));
    expect(KeyCount).toBe(200);
  });
});
