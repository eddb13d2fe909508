import { buckets, openBucket } from '@sluice/messaging';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createKey, revokeKey, type Scope } from '../src/accounts/api-keys.ts';
import { SESSION_MS, SESSIONS_PER_KEY } from '../src/accounts/sessions.ts';
import type { JobView } from '../src/jobs/job-view.ts';
import { eventually, startRig, type Answer, type Call, type Rig } from './rig.ts';

const mail = { to: 'ada@example.com', template: 'welcome', variables: { name: 'Ada' } };

let rig: Rig;
let nowMs = Date.now();
beforeAll(async () => {
  rig = await startRig({ settings: { auth: 'keys' }, now: () => nowMs });
});
afterAll(() => rig?.stop());

const kv = () => openBucket(rig.bus.nc, buckets.apiKeys);
interface SessionView {
  readonly account: string;
  readonly scopes: readonly string[];
  readonly csrfToken: string;
  readonly expiresAt: string;
}

/** A key that every replica knows. */
async function newKey(account: string, scopes: readonly Scope[]): Promise<{ key: string; prefix: string }> {
  const { key, record } = await createKey(await kv(), account, scopes);
  await eventually(
    () => rig.call('/v1/jobs/x', { headers: { authorization: `Bearer ${key}` } }),
    ({ status }) => status !== 401,
  );
  return { key, prefix: record.prefix };
}

async function signIn(key: string, headers: Record<string, string> = {}) {
  const answer = await rig.call<SessionView>('/v1/session', { json: { key }, headers });
  const cookie = answer.headers.get('set-cookie') ?? '';
  return { answer, cookie, sent: { cookie: cookie.split(';')[0] ?? '' }, csrf: answer.body.csrfToken };
}
const status = async (path: string, call?: Call): Promise<number> => (await rig.call(path, call)).status;

describe('a session', () => {
  test('begins with a key and says who one is and what one may do', async () => {
    const { key } = await newKey('acme', ['jobs:read', 'jobs:write']);
    const { answer, cookie, sent } = await signIn(key);
    expect(answer.status).toBe(201);
    expect(answer.body).toMatchObject({ account: 'acme', scopes: ['jobs:read', 'jobs:write'] });
    expect(answer.headers.get('cache-control')).toBe('no-store');
    expect(cookie).toMatch(/^sluice_session=[\w-]{43}; Path=\/; HttpOnly; SameSite=Strict; Max-Age=43200$/);
    expect((await rig.call<SessionView>('/v1/session', { headers: sent })).body).toEqual(answer.body);
    expect(await status('/v1/jobs', { headers: sent })).toBe(200);
  });

  test('has a cookie for https alone where the page came over https', async () => {
    const { key } = await newKey('https', ['jobs:read']);
    const host = new URL(rig.gateway.url).host;
    expect((await signIn(key, { origin: `https://${host}` })).cookie).toMatch(/; Secure$/);
    expect((await signIn(key, { origin: `http://${host}` })).cookie).not.toMatch(/Secure/);
  });

  test('is not begun without a live key', async () => {
    for (const key of ['', 'sk_wrong', 'x'.repeat(300)]) {
      const { answer, cookie } = await signIn(key);
      expect([answer.status, cookie]).toEqual([key === '' || key.length > 256 ? 400 : 401, '']);
    }
    expect(await status('/v1/session')).toBe(401);
    expect(await status('/v1/jobs', { headers: { cookie: `sluice_session=${'A'.repeat(43)}` } })).toBe(401);
  });

  test('changes nothing without its token, which a page of another site cannot read', async () => {
    const { key } = await newKey('csrf', ['jobs:read', 'jobs:write']);
    const { sent, csrf } = await signIn(key);
    const other = await signIn(key);
    const send = (headers: Record<string, string>) => rig.call<JobView>('/v1/emails', { json: mail, headers });
    expect((await send({ ...sent, 'x-csrf-token': csrf })).status).toBe(202);
    for (const wrong of [{}, { 'x-csrf-token': '' }, { 'x-csrf-token': other.csrf }, { 'x-csrf-token': `${csrf}x` }]) {
      const answer = await send({ ...sent, ...wrong });
      expect(answer).toMatchObject({ status: 403, body: { code: 'forbidden' } });
    }
    // A stream of server-sent events reads, so it needs the cookie alone.
    const { body } = await send({ ...sent, 'x-csrf-token': csrf });
    const stream = await fetch(`${rig.gateway.url}/v1/jobs/${body.id}/stream`, { headers: sent });
    expect([stream.status, stream.headers.get('content-type')]).toEqual([200, 'text/event-stream']);
    await stream.body?.cancel();
  });

  test('may do what its key may, and no more', async () => {
    const { key } = await newKey('reader', ['jobs:read']);
    const { sent, csrf } = await signIn(key);
    const headers = { ...sent, 'x-csrf-token': csrf };
    expect(await rig.call('/v1/emails', { json: mail, headers })).toMatchObject({ status: 403 });
    expect(await status('/v1/stats', { headers: sent })).toBe(403);
  });

  test('ends with its key, at once', async () => {
    const { key, prefix } = await newKey('revoked', ['jobs:read']);
    const { sent } = await signIn(key);
    expect(await status('/v1/jobs', { headers: sent })).toBe(200);
    await revokeKey(await kv(), prefix);
    await eventually(
      () => rig.call('/v1/jobs', { headers: sent }),
      (answer: Answer) => answer.status === 401,
    );
  });

  test('ends when one signs out', async () => {
    const { key } = await newKey('leaver', ['jobs:read']);
    const { sent, csrf } = await signIn(key);
    expect(await status('/v1/session', { method: 'DELETE', headers: sent })).toBe(403);
    const left = await rig.call('/v1/session', { method: 'DELETE', headers: { ...sent, 'x-csrf-token': csrf } });
    expect([left.status, left.headers.get('set-cookie')]).toEqual([204, expect.stringContaining('Max-Age=0')]);
    expect(await status('/v1/jobs', { headers: sent })).toBe(401);
  });

  test('ends after half a day', async () => {
    const { key } = await newKey('sleeper', ['jobs:read']);
    const { sent } = await signIn(key);
    nowMs += SESSION_MS - 1;
    expect(await status('/v1/jobs', { headers: sent })).toBe(200);
    nowMs += 2;
    expect(await status('/v1/jobs', { headers: sent })).toBe(401);
  });

  test('is one of so many of its key: the oldest gives way', async () => {
    const { key } = await newKey('many', ['jobs:read']);
    const first = await signIn(key);
    nowMs += 1;
    for (let n = 1; n < SESSIONS_PER_KEY; n += 1) await signIn(key);
    expect(await status('/v1/jobs', { headers: first.sent })).toBe(200);
    const last = await signIn(key);
    expect(await status('/v1/jobs', { headers: last.sent })).toBe(200);
    expect(await status('/v1/jobs', { headers: first.sent })).toBe(401);
  });

  test('holds on every replica, at once', async () => {
    const replica = await rig.replica({ settings: { auth: 'keys' }, now: () => nowMs });
    const { key } = await newKey('roaming', ['jobs:read']);
    for (let n = 0; n < 5; n += 1) {
      const { sent } = await signIn(key);
      expect((await rig.call(`${replica.url}/v1/jobs`, { headers: sent })).status).toBe(200);
    }
  });

  test('is stored as a digest: what the broker holds opens no session', async () => {
    const { key } = await newKey('digests', ['jobs:read']);
    const { sent } = await signIn(key);
    const token = sent.cookie.replace('sluice_session=', '');
    const stored = await openBucket(rig.bus.nc, buckets.sessions);
    for await (const name of await stored.keys()) {
      expect(`${name} ${(await stored.get(name))?.string()}`).not.toContain(token);
    }
  });
});

test('while keys are off, a browser needs no session', async () => {
  const open = await rig.replica({ settings: { auth: 'off' } });
  const { status: code, body } = await rig.call<SessionView>(`${open.url}/v1/session`);
  expect([code, body]).toEqual([200, { account: 'local', scopes: ['*'] }]);
});
