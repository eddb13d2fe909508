// Pictures that are URLs: fetched by the service, with the address rules of webhooks.
import { readFile } from 'node:fs/promises';
import { createServer, type RequestListener, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { startImageSystem, type ImageSystem } from './image-run.ts';
import { readPictures } from './support/pdf-reader.ts';

let system: ImageSystem;
let server: Server;
let origin: string;
const sample = (name: string): Promise<Buffer> => readFile(new URL(`../../../samples/${name}`, import.meta.url));
const [photo, window] = await Promise.all([sample('photo.jpg'), sample('screenshot.png')]);
const asked: string[] = [];
const failures = new Map<string, number>();

const answer: RequestListener = (request, response) => {
  const path = request.url ?? '/';
  asked.push(path);
  const left = failures.get(path) ?? 0;
  failures.set(path, left - 1);
  if (left > 0) response.writeHead(503).end();
  else if (path === '/photo') response.end(photo);
  else if (path === '/window.png') response.writeHead(200, { 'content-length': window.length }).end(window);
  else if (path === '/moved') response.writeHead(301, { location: '/photo' }).end();
  else if (path === '/text') response.end('<!doctype html><p>Please log in');
  else if (path === '/large') response.writeHead(200, { 'content-length': 10 ** 12 }).end();
  else if (path === '/endless') {
    const timer = setInterval(() => response.write(Buffer.alloc(1 << 20)), 1);
    response.on('close', () => clearInterval(timer));
  } else if (path === '/breaks') {
    response.writeHead(200, { 'content-length': photo.length });
    response.write(photo.subarray(0, 1_000), () => response.destroy());
  } else response.writeHead(404).end();
};

beforeAll(async () => {
  server = createServer(answer);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  system = await startImageSystem({ MAX_INPUT_BYTES: String(8 << 20) });
});
afterAll(async () => {
  await system?.close();
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
});

const outcome = async (jobId: string, ...paths: string[]): Promise<unknown> => {
  await system.ask({ jobId, urls: paths.map((path) => `${origin}${path}`) });
  const { result, deadLetter } = await system.ended(jobId);
  expect(deadLetter).toBeUndefined();
  return { attempt: result?.attempt, ...result?.outcome };
};

describe('pictures by URL', () => {
  test('become the PDF that their bytes become', async () => {
    await system.ask({ jobId: 'job_bytes', files: [photo, window] });
    const { result } = await system.ended('job_bytes');
    const sha256 = result?.outcome.case === 'succeeded' ? result.outcome.value.sha256 : '';
    expect(await outcome('job_urls', '/photo', '/window.png')).toMatchObject({
      case: 'succeeded',
      value: { pages: 2, sha256, inputBytes: BigInt(photo.length + window.length) },
    });
    expect((await readPictures(await system.pdf('job_urls'))).map(({ width }) => width)).toEqual([1600, 1280]);
  });

  test('redirected are followed', async () => {
    expect(await outcome('job_moved', '/moved')).toMatchObject({ case: 'succeeded', value: { width: 1600 } });
  });

  test('are fetched again while the server says to come back, and once for a job that is tried again', async () => {
    failures.set('/window.png', 2);
    expect(await outcome('job_busy', '/photo', '/window.png')).toMatchObject({ attempt: 3, case: 'succeeded' });
    await system.ask({ jobId: 'job_busy', urls: [`${origin}/photo`, `${origin}/window.png`], messageId: 'again' });
    await system.settled();
    expect(asked.filter((path) => path === '/window.png').length).toBe(4);
  });

  test.each([
    ['/nowhere', 'source_unavailable', 1],
    ['/breaks', 'source_unavailable', 4],
    ['/large', 'payload_too_large', 1],
    ['/endless', 'payload_too_large', 1],
    ['/text', 'unsupported_media_type', 1],
  ])('%s: %s', async (path, code, attempt) => {
    const jobId = `job_${path.slice(1)}`;
    expect(await outcome(jobId, path)).toMatchObject({ attempt, case: 'failed', value: { code } });
    expect(await system.store.head(`pdf/${jobId}.pdf`)).toBeUndefined();
  });
});

describe('outside dev', () => {
  let strict: ImageSystem;
  beforeAll(async () => {
    strict = await startImageSystem({ FETCH_TARGETS: 'public' });
  });
  afterAll(() => strict.close());

  test.each([
    ['http', () => `${origin}/photo`],
    ['an address of this machine', () => origin.replace('http:', 'https:')],
    ['the address of cloud metadata', () => 'https://169.254.169.254/latest/'],
    ['credentials', () => 'https://user:secret@example.com/a.png'],
  ])('%s is refused, and nothing is asked for', async (name, url) => {
    const before = asked.length;
    const jobId = `job_${name.replaceAll(' ', '_')}`;
    await strict.ask({ jobId, urls: [url()] });
    const { result } = await strict.ended(jobId);
    expect(result).toMatchObject({ attempt: 1, outcome: { case: 'failed', value: { code: 'source_refused' } } });
    expect(JSON.stringify(result?.outcome.value)).not.toMatch(/127\.0|169\.254|secret/);
    expect(asked.length).toBe(before);
  });
});
