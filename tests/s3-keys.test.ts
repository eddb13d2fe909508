// What each service's key of the object store may do and what it may not, tried on a real SeaweedFS that is started as
// docker-compose.prod.yml starts it. Without one here nothing is tried, and the output says so.
import { spawn, type ChildProcess } from 'node:child_process';
import { mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { text } from 'node:stream/consumers';
import { setTimeout as sleep } from 'node:timers/promises';
import * as S3 from '@aws-sdk/client-s3';
import { freePort } from '@sluice/dev';
import { createStore, type ObjectStore } from '@sluice/storage';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { findPart } from './tools/find-part.ts';
import { makeProductionSite, type ProductionSite } from './tools/production-site.ts';
import { stop } from './tools/started-process.ts';

const root = join(import.meta.dirname, '..');
const weed = await findPart('seaweedfs');
if (weed === undefined) {
  console.warn(
    'keys of the object store: not tried, no SeaweedFS 4 here. `weed` on PATH or in ~/.cache/sluice runs them',
  );
}

/** Where objects lie, and a place where none belongs. */
const PREFIXES = ['uploads', 'pdf', 'attachments', 'elsewhere'] as const;
const BUCKET = 'sluice';

type Trial = (client: S3.S3Client, prefix: string) => Promise<unknown>;
const object = (prefix: string, name = 'here') => ({ Bucket: BUCKET, Key: `${prefix}/${name}` });

/** What is tried on each prefix. */
const trials: Readonly<Record<string, Trial>> = {
  get: async (client, prefix) => text((await client.send(new S3.GetObjectCommand(object(prefix)))).Body as Readable),
  head: (client, prefix) => client.send(new S3.HeadObjectCommand(object(prefix))),
  put: (client, prefix) => client.send(new S3.PutObjectCommand({ ...object(prefix, 'put'), Body: 'x' })),
  delete: (client, prefix) => client.send(new S3.DeleteObjectCommand(object(prefix, 'gone'))),
  deleteMany: async (client, prefix) => {
    const Objects = [{ Key: `${prefix}/gone` }];
    const { Errors: [error] = [] } = await client.send(
      new S3.DeleteObjectsCommand({ Bucket: BUCKET, Delete: { Objects } }),
    );
    if (error !== undefined) throw Object.assign(new Error(error.Message), { name: error.Code });
  },
  multipart: (client, prefix) => client.send(new S3.CreateMultipartUploadCommand(object(prefix, 'parts'))),
  copyFromPdf: (client, prefix) =>
    client.send(new S3.CopyObjectCommand({ ...object(prefix, 'copy'), CopySource: `${BUCKET}/pdf/here` })),
};
/** What is tried on the bucket, on others, and on the store. */
const bucketTrials: Readonly<Record<string, Trial>> = {
  headBucket: (client) => client.send(new S3.HeadBucketCommand({ Bucket: BUCKET })),
  list: (client) => client.send(new S3.ListObjectsV2Command({ Bucket: BUCKET })),
  listUploads: (client) => client.send(new S3.ListMultipartUploadsCommand({ Bucket: BUCKET })),
  createBucket: (client) => client.send(new S3.CreateBucketCommand({ Bucket: 'another' })),
  deleteBucket: (client) => client.send(new S3.DeleteBucketCommand({ Bucket: 'kept' })),
  getOfAnother: (client) => client.send(new S3.GetObjectCommand({ Bucket: 'kept', Key: 'pdf/here' })),
  putToAnother: (client) => client.send(new S3.PutObjectCommand({ Bucket: 'kept', Key: 'pdf/put', Body: 'x' })),
  listAnother: (client) => client.send(new S3.ListObjectsV2Command({ Bucket: 'kept' })),
  setCors: (client) =>
    client.send(
      new S3.PutBucketCorsCommand({
        Bucket: BUCKET,
        CORSConfiguration: { CORSRules: [{ AllowedMethods: ['GET'], AllowedOrigins: ['*'] }] },
      }),
    ),
  setPolicy: (client) => client.send(new S3.PutBucketPolicyCommand({ Bucket: BUCKET, Policy: openPolicy })),
  deletePolicy: (client) => client.send(new S3.DeleteBucketPolicyCommand({ Bucket: BUCKET })),
  setAcl: (client) => client.send(new S3.PutBucketAclCommand({ Bucket: BUCKET, ACL: 'public-read-write' })),
  setVersioning: (client) =>
    client.send(
      new S3.PutBucketVersioningCommand({ Bucket: BUCKET, VersioningConfiguration: { Status: 'Suspended' } }),
    ),
  setLifecycle: (client) =>
    client.send(
      new S3.PutBucketLifecycleConfigurationCommand({
        Bucket: BUCKET,
        LifecycleConfiguration: {
          Rules: [{ ID: 'all', Status: 'Enabled', Filter: { Prefix: '' }, Expiration: { Days: 1 } }],
        },
      }),
    ),
};
const openPolicy = JSON.stringify({
  Version: '2012-10-17',
  Statement: [{ Effect: 'Allow', Principal: '*', Action: 's3:*', Resource: [`arn:aws:s3:::${BUCKET}/*`] }],
});

const READS = ['get', 'head'];
const WRITES = ['put', 'delete', 'deleteMany', 'multipart'];
const on = (prefixes: readonly string[], names: readonly string[]): string[] =>
  prefixes.flatMap((prefix) => names.map((name) => `${name} ${prefix}`));
/** Reads everything and writes to these. */
const ofWriter = (...prefixes: readonly string[]): string[] => [
  ...on(PREFIXES, READS),
  ...on(prefixes, [...WRITES, 'copyFromPdf']),
  'headBucket',
  'list',
  'listUploads',
];
/** What each key may do of it. */
const granted: Readonly<Record<string, readonly string[]>> = {
  gateway: ofWriter('uploads', 'pdf', 'attachments'),
  image: ofWriter('uploads', 'pdf'),
  email: on(['pdf', 'attachments'], READS),
  // Copies everything, and brings it back.
  operator: ofWriter('uploads', 'pdf', 'attachments'),
  // Who has no key, as the client service, and who has a wrong one.
  nobody: [],
  stranger: [],
};

describe.skipIf(weed === undefined)('the keys of the object store', () => {
  let site: ProductionSite;
  let server: ChildProcess;
  let endpoint: string;
  const keys = new Map<string, { accessKeyId: string; secretAccessKey: string }>();

  beforeAll(async () => {
    site = await makeProductionSite();
    const config = join(site.folder, 'deploy/secrets/s3.json');
    const { identities } = JSON.parse(readFileSync(config, 'utf8')) as {
      identities: { name: string; credentials: [{ accessKey: string; secretKey: string }] }[];
    };
    for (const { name, credentials } of identities) {
      const [{ accessKey, secretKey }] = credentials;
      keys.set(name, { accessKeyId: accessKey, secretAccessKey: secretKey });
    }
    keys.set('stranger', { accessKeyId: 'gateway', secretAccessKey: 'sluice-dev-secret' });

    const compose = readFileSync(join(root, 'deploy/compose/prod.yml'), 'utf8');
    const { services } = parse(compose.replaceAll(/!(?:reset|override)\b/g, ''), { merge: true }) as {
      services: { s3: { command: string[] } };
    };
    const ports = await Promise.all(Array.from({ length: 8 }, () => freePort()));
    const [s3 = 0, filer = 0] = ports;
    const names = ['s3.port', 'filer.port', 'master.port', 'volume.port'];
    const grpc = names.map((name) => `${name}.grpc`);
    const data = join(site.folder, 's3');
    mkdirSync(data);
    // The command of production, with the addresses and files of this run.
    const args = services.s3.command
      .filter((arg) => !/^-(?:dir|ip|ip\.bind|s3\.config|s3\.allowedOrigins)=/.test(arg))
      .concat(`-dir=${data}`, '-ip=127.0.0.1', '-ip.bind=127.0.0.1', `-s3.config=${config}`)
      .concat([...names, ...grpc].map((name, index) => `-${name}=${ports[index]}`));
    server = spawn(weed ?? '', args, { cwd: data, stdio: 'ignore', env: { PATH: process.env['PATH'], HOME: data } });
    endpoint = `http://127.0.0.1:${s3}`;
    // The filer is behind no key, and in production in a network of its own.
    const put = async (path: string): Promise<boolean> =>
      fetch(`http://127.0.0.1:${filer}/buckets/${path}`, { method: 'POST', body: form() }).then(
        ({ ok }) => ok,
        () => false,
      );
    const form = (): FormData => {
      const data = new FormData();
      data.append('file', new Blob(['%PDF']), 'here');
      return data;
    };
    const wanted = [...PREFIXES.map((prefix) => `${BUCKET}/${prefix}/here`), 'kept/pdf/here'];
    for (const path of wanted) {
      while (!(await put(path))) {
        if (server.exitCode !== null) throw new Error(`SeaweedFS ended with ${server.exitCode}`);
        await sleep(100);
      }
    }
    while (!(await allowed('gateway', trials['get']!, 'pdf').catch(() => false))) await sleep(100);
  });
  afterAll(async () => {
    if (server !== undefined) await stop(server);
    await site?.remove();
  });

  const clientOf = (who: string): S3.S3Client => {
    const credentials = keys.get(who);
    return new S3.S3Client({
      endpoint,
      region: 'us-east-1',
      forcePathStyle: true,
      maxAttempts: 1,
      ...(credentials === undefined
        ? { credentials: { accessKeyId: '', secretAccessKey: '' }, signer: { sign: async (request) => request } }
        : { credentials }),
    });
  };

  /** Whether the store does it: a refusal is false, and any other error is an error. */
  async function allowed(who: string, trial: Trial, prefix = ''): Promise<boolean> {
    const client = clientOf(who);
    try {
      await trial(client, prefix);
      return true;
    } catch (error) {
      const { name, $metadata } = error as { name: string; $metadata?: { httpStatusCode?: number } };
      if ($metadata?.httpStatusCode === 403 || name === 'AccessDenied') return false;
      throw error;
    } finally {
      client.destroy();
    }
  }

  it.each(Object.keys(granted))('let %s do what is its own and nothing else', async (who) => {
    const done: string[] = [];
    let tried = 0;
    const attempt = async (name: string, trial: Trial, prefix?: string): Promise<void> => {
      tried += 1;
      if (await allowed(who, trial, prefix)) done.push(name);
    };
    for (const prefix of PREFIXES) {
      for (const [name, trial] of Object.entries(trials)) await attempt(`${name} ${prefix}`, trial, prefix);
    }
    for (const [name, trial] of Object.entries(bucketTrials)) await attempt(name, trial);
    expect(done.toSorted()).toEqual([...(granted[who] ?? [])].toSorted());
    console.log(`${who}: ${tried} requests tried, ${tried - done.length} refused`);
  });

  it('are enough for what the services do', async () => {
    const storeOf = (who: string): ObjectStore =>
      createStore({ endpoint, region: 'us-east-1', bucket: BUCKET, ...keys.get(who)! });
    const [gateway, image, email] = [storeOf('gateway'), storeOf('image'), storeOf('email')];
    try {
      await gateway.ensureBucket();
      await image.ensureBucket();
      const large = (): Readable => Readable.from(Array.from({ length: 9 }, () => Buffer.alloc(2 ** 20)));
      await gateway.put('uploads/a', large(), { contentType: 'image/png' });
      await image.put('pdf/a', large(), { contentType: 'application/pdf' });
      const { body, sizeBytes } = await email.get('pdf/a');
      expect(sizeBytes).toBe(9 * 2 ** 20);
      body.destroy();
      for (const [who, prefix] of [['image', 'pdf'] as const, ['gateway', 'attachments'] as const]) {
        expect(await allowed(who, trials['multipart']!, prefix)).toBe(true);
        expect(await gateway.dropUnfinished(`${prefix}/`, new Date(Date.now() + 60_000))).toBeGreaterThan(0);
      }
      const url = await gateway.presignPut('attachments/b', 60_000, 'text/plain', 2);
      const answer = await fetch(url, { method: 'PUT', body: 'ab', headers: { 'content-type': 'text/plain' } });
      expect(answer.status).toBe(200);
      const listed: string[] = [];
      for await (const { key } of gateway.list('attachments/')) listed.push(key);
      expect(listed).toContain('attachments/b');
      await image.delete('uploads/a');
      for (const key of ['pdf/a', 'attachments/b']) await gateway.delete(key);
      expect(await gateway.head('pdf/a')).toBeUndefined();
    } finally {
      for (const store of [gateway, image, email]) store.close();
    }
  });
});
