import { request as httpRequest, type OutgoingHttpHeaders } from 'node:http';
import { buckets, openBucket } from '@sluice/messaging';
import { silentLogger } from '@sluice/pipeline';
import type { Logger } from '@sluice/telemetry';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createKey } from '../src/accounts/api-keys.ts';
import { useAccess } from '../src/http/access.ts';
import { createApp } from '../src/http/app.ts';
import { png } from './pictures.ts';
import { eventually, startRig, type Rig } from './rig.ts';

let rig: Rig;
beforeAll(async () => {
  rig = await startRig({ settings: { hosts: ['sluice.test'], origins: ['https://app.example'] } });
});
afterAll(() => rig?.stop());

/** A request with headers that `fetch` keeps to itself. */
function send(
  path: string,
  method: string,
  headers: OutgoingHttpHeaders | readonly string[],
  body: Uint8Array | string = '',
): Promise<{ status: number; text: string }> {
  return new Promise((resolve, reject) => {
    const asked = httpRequest(`${rig.gateway.url}${path}`, { method, headers }, (answer) => {
      let text = '';
      answer.setEncoding('utf8');
      answer.on('data', (piece: string) => (text += piece));
      answer.on('end', () => resolve({ status: answer.statusCode ?? 0, text }));
    });
    asked.on('error', reject);
    asked.end(body);
  });
}

describe('while keys are off', () => {
  test.each(['evil.example', 'localhost.evil.example', 'evil.example:8080', '127.0.0.1.evil.example'])(
    'a name that was rebound to the gateway reads nothing: %s',
    async (host) => {
      const answer = await send('/v1/webhooks/secrets', 'GET', { host });
      expect([answer.status, answer.text.includes('whsec_')]).toEqual([403, false]);
    },
  );

  test.each([
    'localhost',
    'localhost:8080',
    'sluice.localhost',
    '127.0.0.1:1',
    '[::1]:8080',
    '192.168.1.5',
    'sluice.test',
  ])('it answers to %s', async (host) => {
    expect((await send('/v1/jobs', 'GET', { host })).status).toBe(200);
  });
});

describe('a page of another site', () => {
  test.each([
    ['with its origin', { origin: 'https://evil.example' }],
    ['from a sandbox', { origin: 'null' }],
    ['from another port of this machine', { origin: 'http://localhost:3000' }],
    ['as its browser says', { 'sec-fetch-site': 'cross-site' }],
    ['of the same site', { 'sec-fetch-site': 'same-site' }],
  ])('changes nothing: %s', async (_, headers) => {
    const host = 'localhost:8080';
    const text = { ...headers, host, 'content-type': 'text/plain' };
    expect((await send('/v1/images', 'POST', text, png())).status).toBe(403);
    expect((await send('/v1/pipelines/commands:pause', 'POST', { ...headers, host })).status).toBe(403);
    expect((await send('/v1/jobs/x', 'DELETE', { ...headers, host })).status).toBe(403);
    const call = { ...headers, host, 'content-type': 'application/json' };
    expect((await send('/sluice.v1.UserService/SendEmail', 'POST', call, '{}')).status).toBe(403);
  });

  test.each([
    ['of the gateway itself', { origin: 'http://localhost:8080', 'sec-fetch-site': 'same-origin' }],
    ['that the settings name', { origin: 'https://app.example', 'sec-fetch-site': 'cross-site' }],
    ['that is none: a program', {}],
  ])('is not one %s', async (_, headers) => {
    expect((await send('/v1/images', 'POST', { ...headers, host: 'localhost:8080' }, png())).status).toBe(202);
  });
});

test.each(['/v1/pipelines/commands:resume', '/v1/webhooks/secrets:rotate'])(
  '%s, which takes no body, asks for a header that no form can send',
  async (path) => {
    expect((await send(path, 'POST', { host: 'localhost' })).status).toBe(415);
    const form = { host: 'localhost', 'content-type': 'application/x-www-form-urlencoded' };
    expect((await send(path, 'POST', form, 'a=b')).status).toBe(415);
    const json = { host: 'localhost', 'content-type': 'application/json' };
    expect((await send(path, 'POST', json)).status).toBeLessThan(300);
    expect((await send(path, 'POST', { host: 'localhost', 'x-requested-with': 'cli' })).status).toBeLessThan(300);
  },
);

test('two Host headers are refused', async () => {
  expect((await send('/healthz', 'GET', ['host', 'localhost', 'host', 'evil.example'])).status).toBe(400);
});

test('webhook secrets need a scope of their own', async () => {
  const guarded = await rig.replica({ settings: { auth: 'keys' } });
  const kv = await openBucket(rig.bus.nc, buckets.apiKeys);
  const common = (await createKey(kv, 'acme', ['account:read', 'jobs:write', 'jobs:read'])).key;
  const special = (await createKey(kv, 'acme', ['webhooks:secrets'])).key;
  const read = async (key: string, method = 'GET', path = '') =>
    (
      await rig.call(`${guarded.url}/v1/webhooks/secrets${path}`, {
        method,
        headers: { authorization: `Bearer ${key}` },
      })
    ).status;
  await eventually(
    () => read(special),
    (status) => status === 200,
  );
  expect([await read(common), await read(common, 'POST', ':rotate'), await read(special, 'POST', ':rotate')]).toEqual([
    403, 403, 200,
  ]);
});

test('a route that names no scope is refused', async () => {
  const app = await createApp({ log: silentLogger as unknown as Logger, version: 'test' });
  useAccess(app, { keys: undefined, limiter: undefined as never, limits: undefined as never });
  app.head('/forgotten', async () => 'secret');
  expect(() => app.get('/forgotten-too', async () => 'secret')).toThrow(/names no scope/);
  expect((await app.inject({ method: 'HEAD', url: '/forgotten' })).statusCode).toBe(403);
  await app.close();
});
