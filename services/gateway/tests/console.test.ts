import { createHash } from 'node:crypto';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { png } from './pictures.ts';
import { eventually, startRig, type Rig } from './rig.ts';
import type { JobView } from '../src/jobs/job-view.ts';

const PAGE = '<!doctype html><title>Sluice</title><script type="module" src="./assets/index-abc.js"></script>';
const SCRIPT = 'console.log("the console");';

let directory: string;
let rig: Rig;
beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'sluice-console-'));
  await mkdir(join(directory, 'assets'));
  await writeFile(join(directory, 'index.html'), PAGE);
  await writeFile(join(directory, 'assets/index-abc.js'), SCRIPT);
  await writeFile(join(directory, 'assets/.env'), 'SECRET=1');
  rig = await startRig({
    settings: { consoleDirectory: directory, links: [{ name: 'Mail', url: 'http://127.0.0.1:8025/inbox' }] },
  });
});
afterAll(async () => {
  await rig?.stop();
  await rm(directory, { recursive: true, force: true });
});

const browser = { accept: 'text/html,application/xhtml+xml,*/*;q=0.8' };

describe('a gateway with a console', () => {
  test('shows it to browsers at /, with a policy that allows its own files alone', async () => {
    const answer = await fetch(`${rig.gateway.url}/`, { headers: browser });
    expect([answer.status, await answer.text()]).toEqual([200, PAGE]);
    const policy = answer.headers.get('content-security-policy') ?? '';
    expect(policy).toContain("default-src 'none'; script-src 'self'; style-src 'self';");
    expect(policy).toContain("connect-src 'self' http://127.0.0.1:8025;");
    expect(policy).toContain("frame-ancestors 'none'");
    expect(policy).not.toMatch(/unsafe|\*/);
    expect(answer.headers.get('cache-control')).toBe('no-cache');
  });

  test('answers programs at / as before', async () => {
    for (const accept of ['*/*', 'application/json']) {
      const answer = await fetch(`${rig.gateway.url}/`, { headers: { accept } });
      expect(answer.headers.get('content-type')).toBe('text/plain; charset=utf-8');
      expect(await answer.text()).toContain('OpenAPI: /openapi.json');
    }
  });

  test('draws mails in a page without an origin, whose only script is its own', async () => {
    const answer = await fetch(`${rig.gateway.url}/mail-preview`);
    const policy = answer.headers.get('content-security-policy') ?? '';
    expect(policy).toMatch(/^sandbox allow-scripts; default-src 'none'; script-src 'sha256-[^']+';/);
    expect(policy).toContain("frame-ancestors 'self'");
    expect(policy).not.toContain('allow-same-origin');
    const [, script = ''] = /<script>([^]*)<\/script>/.exec(await answer.text()) ?? [];
    expect(policy).toContain(createHash('sha256').update(script).digest('base64'));
  });

  test('lets browsers keep what has its digest in its name, and compresses it', async () => {
    const answer = await fetch(`${rig.gateway.url}/assets/index-abc.js`, { headers: { 'accept-encoding': 'gzip' } });
    expect(answer.headers.get('cache-control')).toBe('public, max-age=31536000, immutable');
    expect(answer.headers.get('content-type')).toBe('text/javascript; charset=utf-8');
    expect([answer.headers.get('content-encoding'), await answer.text()]).toEqual(['gzip', SCRIPT]);
    const known = { 'if-none-match': answer.headers.get('etag') ?? '' };
    expect((await fetch(`${rig.gateway.url}/assets/index-abc.js`, { headers: known })).status).toBe(304);
  });

  test.each([
    '/assets/',
    '/assets/.env',
    '/assets/..%2findex.html',
    '/assets/%2e%2e%2f%2e%2e%2fpackage.json',
    '/assets/none.js',
  ])('has nothing at %s', async (path) => {
    expect((await fetch(`${rig.gateway.url}${path}`)).status).toBe(404);
  });

  test('gives back a small picture that came with its request, also after the job has ended', async () => {
    const workers = await rig.workers({ convert: () => Promise.resolve('corrupt_image') });
    const picture = png();
    const { body } = await rig.call<JobView>('/v1/images', { body: picture, headers: { prefer: 'wait=20' } });
    expect(body.state).toBe('failed');
    const answer = await fetch(`${rig.gateway.url}/v1/jobs/${body.id}/sources/0`);
    expect([answer.status, Buffer.from(await answer.arrayBuffer())]).toEqual([200, Buffer.from(picture)]);
    expect((await rig.call(`/v1/jobs/${body.id}/sources/1`)).status).toBe(404);
    await workers.stop();
  });

  test('gives the PDF itself to a page that shows it', async () => {
    await rig.workers();
    const { body } = await rig.call<JobView>('/v1/images', { body: png() });
    await eventually(
      () => rig.call<JobView>(`/v1/jobs/${body.id}`),
      (job) => job.body.state === 'succeeded',
    );
    const answer = await rig.call(`/v1/jobs/${body.id}/pdf?inline=true`);
    expect([answer.status, answer.headers.get('content-type'), answer.headers.get('content-disposition')]).toEqual([
      200,
      'application/pdf',
      'inline',
    ]);
    expect(answer.text).toContain('%PDF-1.7');
  });
});

test('a gateway whose console was not built shows a page of links', async () => {
  const replica = await rig.replica({ settings: { consoleDirectory: join(directory, 'nowhere') } });
  const answer = await fetch(`${replica.url}/`, { headers: browser });
  expect(await answer.text()).toContain('<a href="/docs">');
});
