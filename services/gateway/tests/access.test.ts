import { buckets, openBucket } from '@sluice/messaging';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createKey, listKeys, revokeKey } from '../src/accounts/api-keys.ts';
import type { JobView } from '../src/jobs/job-view.ts';
import { png } from './pictures.ts';
import { eventually, startRig, type Rig } from './rig.ts';

const mail = { to: 'ada@example.com', template: 'welcome', variables: { name: 'Ada' } };
const bearer = (key: string) => ({ authorization: `Bearer ${key}` });

let rig: Rig;
beforeAll(async () => {
  rig = await startRig({ settings: { auth: 'keys' } });
});
afterAll(() => rig?.stop());

const keys = async () => openBucket(rig.bus.nc, buckets.apiKeys);
const known = (key: string) =>
  eventually(
    () => rig.call('/v1/jobs/x', { headers: bearer(key) }),
    ({ status }) => status !== 401,
  );

describe('a gateway with keys', () => {
  test('answers nothing but its health and its description without one', async () => {
    const document = rig.gateway.app.swagger() as unknown as { paths: Record<string, Record<string, object>> };
    const open: string[] = [];
    for (const [template, operations] of Object.entries(document.paths)) {
      for (const method of Object.keys(operations)) {
        const path = template.replace(/\{\w+\}/g, 'x');
        const { status, body } = await rig.call(path, { method: method.toUpperCase() });
        if (status === 401) expect(body).toMatchObject({ code: 'unauthenticated' });
        else open.push(`${method} ${template}`);
      }
    }
    // Signing in needs a key in its body, and signing out has nothing to tell.
    const sessions = ['delete /v1/session', 'post /v1/session'];
    expect(open.sort()).toEqual([sessions[0], 'get /healthz', 'get /problems/{code}', 'get /readyz', sessions[1]]);
  });

  test('knows a key as soon as it is made, and forgets it as soon as it is revoked', async () => {
    const kv = await keys();
    const { key, record } = await createKey(kv, 'acme', ['jobs:write', 'jobs:read']);
    await known(key);
    expect((await rig.call('/v1/emails', { json: mail, headers: bearer(key) })).status).toBe(202);
    await revokeKey(kv, record.prefix);
    await eventually(
      () => rig.call('/v1/jobs/x', { headers: bearer(key) }),
      ({ status }) => status === 401,
    );
    for (const wrong of ['', 'sk_', key.slice(0, -1), `${key}x`]) {
      expect((await rig.call('/v1/jobs/x', { headers: bearer(wrong) })).status).toBe(401);
    }
  });

  test('stores digests alone', async () => {
    const kv = await keys();
    const { key } = await createKey(kv, 'secretive', ['jobs:read']);
    const stored = JSON.stringify(await listKeys(kv));
    expect(stored).toContain('secretive');
    expect(stored).not.toContain(key.slice(12));
  });

  test('lets an account have two keys, so that one can replace the other', async () => {
    const kv = await keys();
    await createKey(kv, 'rotating', ['jobs:read']);
    await createKey(kv, 'rotating', ['jobs:read']);
    await expect(createKey(kv, 'rotating', ['jobs:read'])).rejects.toMatchObject({ code: 'too_many_keys' });
    await expect(createKey(kv, 'b', ['everything'])).rejects.toMatchObject({ code: 'scope_unknown' });
    await expect(createKey(kv, 'a.b', ['jobs:read'])).rejects.toMatchObject({ code: 'account_invalid' });
  });

  test('lets a key make and revoke keys of its account, with scopes of its own', async () => {
    const { key } = await createKey(await keys(), 'tenant', ['keys', 'jobs:read', 'account:read']);
    const other = await createKey(await keys(), 'neighbour', ['jobs:read']);
    await known(key);
    const headers = bearer(key);
    const make = (wanted: readonly string[], from = headers) =>
      rig.call<{ key: string; prefix: string }>('/v1/accounts/me/keys', { json: { scopes: wanted }, headers: from });
    const list = async () =>
      (await rig.call<{ keys: { prefix: string }[] }>('/v1/accounts/me/keys', { headers })).body.keys;

    // No escalation: not by one scope, and not by a key that may make none.
    for (const more of [['admin'], ['jobs:read', 'jobs:write']]) {
      expect(await make(more)).toMatchObject({ status: 403, body: { code: 'forbidden' } });
    }
    for (const none of [[], ['everything'], ['jobs:read', 'jobs:read']]) {
      expect(await make(none)).toMatchObject({ status: 400 });
    }
    const made = await make(['jobs:read']);
    expect(made).toMatchObject({ status: 201, body: { scopes: ['jobs:read'] } });
    // It opens what it may at once, and no list shows it again.
    expect((await rig.call('/v1/jobs', { headers: bearer(made.body.key) })).status).toBe(200);
    expect(await make(['jobs:read'], bearer(made.body.key))).toMatchObject({ status: 403 });
    expect((await list()).map(({ prefix }) => prefix)).toEqual([key.slice(0, 11), made.body.prefix]);
    expect(JSON.stringify(await list())).not.toContain(made.body.key);
    // Two at most, as everywhere.
    expect(await make(['jobs:read'])).toMatchObject({ status: 400 });

    const revoke = (prefix: string) => rig.call(`/v1/accounts/me/keys/${prefix}`, { method: 'DELETE', headers });
    // Those of another account are as absent as those that never were.
    expect(await revoke(other.record.prefix)).toMatchObject({ status: 404 });
    expect(await revoke('sk_')).toMatchObject({ status: 404 });
    expect(await revoke(made.body.prefix)).toMatchObject({ status: 204 });
    expect((await rig.call('/v1/jobs', { headers: bearer(made.body.key) })).status).toBe(401);
    expect(await list()).toHaveLength(1);
    for (const action of ['key_create', 'key_revoke']) {
      const told = await rig.bus.jsm.streams.getMessage('AUDIT', { last_by_subj: `audit.${action}` });
      expect(told?.json()).toMatchObject({ by: 'tenant', target: 'tenant' });
    }
  });

  test('asks every route for its scope', async () => {
    const { key } = await createKey(await keys(), 'reader', ['jobs:read']);
    await known(key);
    expect(await rig.call('/v1/emails', { json: mail, headers: bearer(key) })).toMatchObject({
      status: 403,
      body: { code: 'forbidden' },
    });
    expect(await rig.call('/v1/stats', { headers: bearer(key) })).toMatchObject({ status: 403 });
  });

  test('shows a job to its own account alone', async () => {
    const kv = await keys();
    const mine = (await createKey(kv, 'mine', ['jobs:read', 'jobs:write'])).key;
    const theirs = (await createKey(kv, 'theirs', ['jobs:read', 'jobs:write'])).key;
    await known(mine);
    await known(theirs);
    const same = { json: mail, headers: { 'idempotency-key': 'same' } };
    const a = await rig.call<JobView>('/v1/emails', { ...same, headers: { ...same.headers, ...bearer(mine) } });
    const b = await rig.call<JobView>('/v1/emails', { ...same, headers: { ...same.headers, ...bearer(theirs) } });
    expect(a.body.id).not.toBe(b.body.id);
    for (const path of ['', '/events', '/stream', '/pdf']) {
      expect((await rig.call(`/v1/jobs/${a.body.id}${path}`, { headers: bearer(theirs) })).status).toBe(404);
    }
    expect((await rig.call(`/v1/jobs/${a.body.id}`, { method: 'DELETE', headers: bearer(theirs) })).status).toBe(404);
    expect((await rig.call(`/v1/jobs/${a.body.id}`, { headers: bearer(mine) })).status).toBe(200);
  });
});

describe('a rate limit', () => {
  // The clock stands still: however slow the machine, it is one window.
  const now = () => Date.UTC(2026, 0, 1, 12, 0, 0, 500);
  const flood = async (urls: readonly string[], count: number) => {
    const json = { to: 'x', template: 'welcome', variables: { name: 'Ada' } };
    const answers = await Promise.all(
      Array.from({ length: count }, (_, i) => rig.call(`${urls[i % urls.length]}/v1/emails`, { json })),
    );
    return {
      admitted: answers.filter(({ status }) => status === 400).length,
      refused: answers.filter(({ status }) => status === 429),
    };
  };

  test('holds over all replicas together', async () => {
    const settings = {
      auth: 'off',
      rates: { globalPerSecond: 100, accountPerSecond: 0, recipientPerHour: 0 },
    } as const;
    const [a, b] = [await rig.replica({ settings, now }), await rig.replica({ settings, now })];
    const { admitted, refused } = await flood([a.url, b.url], 300);
    expect(admitted).toBe(100);
    expect(refused).toHaveLength(200);
    expect(refused[0]?.body).toMatchObject({ code: 'rate_limited' });
    expect(refused[0]?.headers.get('retry-after')).toBe('1');
    expect(refused[0]?.headers.get('ratelimit-policy')).toBe('"global";q=100;w=1');
    expect(refused[0]?.headers.get('ratelimit')).toBe('"global";r=0;t=1');
  });

  test('of all accounts together is not used up by what an account is refused for its own', async () => {
    const kv = await keys();
    const scopes = ['jobs:write', 'events:write'];
    const greedy = (await createKey(kv, 'over-its-rate', scopes)).key;
    const modest = (await createKey(kv, 'within-its-rate', scopes)).key;
    const rates = { globalPerSecond: 20, accountPerSecond: 5, recipientPerHour: 0 };
    const gateway = await rig.replica({ settings: { rates, auth: 'keys' }, now: () => now() + 60_000 });
    const json = { events: Array.from({ length: 5 }, () => ({ app_id: 'a', message_id: 'm', event: 'e' })) };
    for (const key of [greedy, modest]) await known(key);
    for (let i = 0; i < 30; i += 1) {
      await rig.call(`${gateway.url}/v1/events`, { json, headers: bearer(greedy) });
    }
    const answers = await Promise.all(
      Array.from({ length: 5 }, () => rig.call(`${gateway.url}/v1/emails`, { json: mail, headers: bearer(modest) })),
    );
    expect(answers.map(({ status }) => status)).toEqual([202, 202, 202, 202, 202]);
  });

  test('protects one recipient from many mails', async () => {
    const settings = { auth: 'off', rates: { globalPerSecond: 0, accountPerSecond: 0, recipientPerHour: 3 } } as const;
    const gateway = await rig.replica({ settings, now });
    const to = async (address: string) =>
      (await rig.call(`${gateway.url}/v1/emails`, { json: { ...mail, to: address } })).status;
    expect([await to('b@example.com'), await to('B@example.com'), await to('b@example.com')]).toEqual([202, 202, 202]);
    expect([await to('b@example.com'), await to('c@example.com')]).toEqual([429, 202]);

    // The mail that a PDF is there is one, too.
    const image = (body: Uint8Array) => rig.call(`${gateway.url}/v1/images?notify=d@example.com`, { body });
    const small = [(await image(png())).status, (await image(png())).status, (await image(png())).status];
    expect(small).toEqual([202, 202, 202]);
    expect((await image(png(8, 6, 300_000))).status).toBe(429);
    for await (const { key } of rig.store.list('uploads/')) expect.fail(`${key} of a refused request was left behind`);

    // A repeated request sends no second mail.
    const repeat = async () => {
      const headers = { 'idempotency-key': 'a mail to e' };
      return (await rig.call(`${gateway.url}/v1/emails`, { json: { ...mail, to: 'e@example.com' }, headers })).status;
    };
    const repeats = [await repeat(), await repeat(), await repeat(), await repeat(), await repeat()];
    expect(repeats).toEqual([202, 202, 202, 202, 202]);
  });
});
