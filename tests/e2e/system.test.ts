import { createHash } from 'node:crypto';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startStack, type Stack } from '@sluice/dev';
import { createStore } from '@sluice/storage';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { gatewayClient, until, type Problem } from './gateway-client.ts';

const SAMPLES = join(import.meta.dirname, '../../samples');
let directory: string;
let stack: Stack;
let api: ReturnType<typeof gatewayClient>;
let photo: Buffer;
let screenshot: Buffer;

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'sluice-e2e-'));
  [photo, screenshot] = await Promise.all([
    readFile(join(SAMPLES, 'photo.jpg')),
    readFile(join(SAMPLES, 'screenshot.png')),
  ]);
  stack = await startStack({ dataDirectory: directory, imageReplicas: 2 });
  api = gatewayClient(stack.urls.gateway);
});
afterAll(async () => {
  await stack?.stop();
  await rm(directory, { recursive: true, force: true });
});

describe('a photo', () => {
  test('becomes a PDF that is what the job says it is', async () => {
    const job = await api.ended((await api.accept('/v1/images', photo)).id);
    expect(job).toMatchObject({ state: 'succeeded', result: { pages: 1 } });
    const answer = await api.pdf(job.id);
    expect(answer.headers.get('content-disposition')).toMatch(/^attachment/);
    const pdf = Buffer.from(await answer.arrayBuffer());
    expect(pdf.subarray(0, 5).toString()).toBe('%PDF-');
    expect(createHash('sha256').update(pdf).digest('hex')).toBe(job.result?.sha256);
  });

  test('posted twice with one Idempotency-Key is one job, with another body an error', async () => {
    const key = { 'idempotency-key': '"one-photo"' };
    const first = await api.accept('/v1/images', photo, key);
    const again = await api.post('/v1/images', photo, key);
    expect(((await again.json()) as { id: string }).id).toBe(first.id);
    const other = await api.post('/v1/images', screenshot, key);
    expect(other.status).toBe(422);
    expect(other.headers.get('content-type')).toMatch(/^application\/problem\+json/);
  });

  test('leaves no upload behind', async () => {
    const large = Buffer.concat([photo, Buffer.alloc(300_000)]);
    expect((await api.ended((await api.accept('/v1/images', large)).id)).state).toBe('succeeded');
    const { url, region, accessKeyId, secretAccessKey } = stack.s3;
    const store = createStore({ endpoint: url, region, bucket: 'sluice', accessKeyId, secretAccessKey });
    await until('the source is deleted', async () => (await Array.fromAsync(store.list('uploads/'))).length === 0);
    expect((await Array.fromAsync(store.list('pdf/'))).length).toBeGreaterThan(0);
    store.close();
  });
});

describe('what is no image', () => {
  test('is refused before it is stored', async () => {
    const answer = await api.post('/v1/images', 'just some text under an image header', {
      'content-type': 'image/png',
    });
    expect(answer.status).toBe(415);
    const problem = (await answer.json()) as Problem;
    expect(problem).toMatchObject({ status: 415, code: 'unsupported_media_type' });
    expect(problem.traceId).toMatch(/^[0-9a-f]{32}$/);
  });

  test('fails its job once when it only looked like one', async () => {
    const truncated = screenshot.subarray(0, Math.floor(screenshot.length / 2));
    const job = await api.ended((await api.accept('/v1/images', truncated)).id);
    expect(job).toMatchObject({ state: 'failed', attempt: 1, error: { code: 'corrupt_image' } });
    const pdf = await api.pdf(job.id);
    expect(pdf.headers.get('content-type')).toMatch(/^application\/problem\+json/);
    expect((await pdf.json()) as Problem).toMatchObject({ status: 422, code: 'corrupt_image' });
  });
});

describe('a user', () => {
  test('is welcomed by one mail', async () => {
    const json = { 'content-type': 'application/json' };
    const person = { name: 'Grace Hopper', email: 'grace@example.com' };
    const job = await api.ended((await api.accept('/v1/users', JSON.stringify(person), json)).id);
    expect(job.state).toBe('succeeded');
    const found = await fetch(`${stack.urls.mail}/api/v1/search?query=${encodeURIComponent('to:grace@example.com')}`);
    expect(((await found.json()) as { messages: unknown[] }).messages).toHaveLength(1);
  });
});

describe('the trace of a job', () => {
  test('is one, over gateway, image and client, with a link from the callback to the work', async () => {
    const job = await api.ended((await api.accept('/v1/images', photo)).id);
    const services = ['gateway', 'image', 'client'];
    const spans = () => stack.otlp.store.spans(job.traceId);
    await until('spans of all arrived', () =>
      services.every((service) => spans().some((span) => span.service === service)),
    );
    // Each service sends its spans when it likes: until the last has come, what follows from it has no parent.
    const roots = () => {
      const ids = new Set(spans().map((span) => span.spanId));
      return spans().filter((span) => span.parentSpanId === undefined || !ids.has(span.parentSpanId));
    };
    await expect.poll(() => roots().map((span) => span.service)).toEqual(['gateway']);
    const callback = spans().find((span) => span.service === 'client');
    expect(callback?.links.length).toBeGreaterThan(0);
  });
});

describe('two image replicas', () => {
  test('share the work, and lose none of it when one is killed', async () => {
    const post = () => api.accept('/v1/images', screenshot);
    const jobs = await Promise.all(Array.from({ length: 60 }, post));
    for (const { id } of jobs) expect((await api.ended(id)).state).toBe('succeeded');
    const by: Record<string, number> = {};
    for (const { id } of jobs) {
      const events = await api.events(id);
      const worker = events.find((e) => e.app === 'image' && e.event === 'effect_done')?.instance ?? 'nobody';
      by[worker] = (by[worker] ?? 0) + 1;
    }
    expect(Object.keys(by).sort()).toEqual(['image-1', 'image-2']);
    // Who is quicker takes more, and on a busy machine one replica may be much quicker. A consumer that prefetched would
    // leave the other nothing at all; `pnpm smoke --images 100` prints the shares on a machine at rest.
    for (const share of Object.values(by)) expect(share / jobs.length).toBeGreaterThan(0.1);

    const more = await Promise.all(Array.from({ length: 30 }, post));
    stack.services.find((service) => service.name === 'image-2')?.kill('SIGKILL');
    for (const { id } of more) expect((await api.ended(id, 90_000)).state).toBe('succeeded');
  });
});
