import { openSuppressions, unsubscribeToken, type Suppression, type Suppressions } from '@sluice/suppression';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { startRig, type Rig } from './rig.ts';

const SECRET = 'a secret of some length';
let rig: Rig;
let list: Suppressions;
beforeAll(async () => {
  rig = await startRig({ settings: { unsubscribeSecret: SECRET } });
  list = await openSuppressions(rig.bus.nc);
});
afterAll(() => rig?.stop());

interface Entries {
  readonly suppressions: readonly Suppression[];
  readonly more?: boolean;
  readonly next?: string;
}

describe('the suppression list', () => {
  test('shows an entry, by address and by hash, and lets it go', async () => {
    await list.bounced('gone@example.com', 'certain');
    const shown = await rig.call<Entries>('/v1/suppressions/gone@example.com');
    expect(shown.body.suppressions).toMatchObject([{ reason: 'bounce' }]);
    const hash = shown.body.suppressions[0]?.hash ?? '';
    const all = await rig.call<Entries>('/v1/suppressions');
    expect(all.body.suppressions.map((entry) => entry.hash)).toContain(hash);
    expect(all.text).not.toContain('gone@');

    expect((await rig.call(`/v1/suppressions/${hash}`, { method: 'DELETE' })).status).toBe(204);
    expect(await list.reasonFor('gone@example.com', true)).toBeUndefined();
    expect((await rig.call('/v1/suppressions/gone@example.com')).status).toBe(404);
    expect((await rig.call('/v1/suppressions/gone@example.com', { method: 'DELETE' })).status).toBe(404);
  });

  test('takes an address from an operator, and refuses what is none', async () => {
    const added = await rig.call<Entries>('/v1/suppressions', { json: { address: 'Never@Example.com' } });
    expect(added.status).toBe(201);
    expect(added.body.suppressions).toMatchObject([{ reason: 'manual' }]);
    expect(await list.reasonFor('never@example.com', false)).toBe('manual');
    expect((await rig.call('/v1/suppressions', { json: { address: 'a@example.com,b@example.com' } })).status).toBe(400);
  });

  test('says when there is more than was asked for', async () => {
    for (let n = 0; n < 3; n++) await list.add(`n${n}@example.com`, 'manual');
    const { body } = await rig.call<Entries>('/v1/suppressions?limit=2');
    expect(body).toMatchObject({ more: true });
    expect(body.suppressions).toHaveLength(2);
  });

  test('is read page by page, each entry once, over both of its parts', async () => {
    for (let n = 0; n < 7; n++) await list.add(`page${n}@example.com`, n % 2 === 0 ? 'manual' : 'unsubscribe');
    const whole = await rig.call<Entries>('/v1/suppressions?limit=1000');
    const seen: string[] = [];
    let cursor: string | undefined = '';
    for (let page = 0; cursor !== undefined; page += 1) {
      const path: string = `/v1/suppressions?limit=2${cursor === '' ? '' : `&cursor=${cursor}`}`;
      const { body }: { body: Entries } = await rig.call<Entries>(path);
      seen.push(...body.suppressions.map(({ hash, reason }) => `${reason} ${hash}`));
      expect(body.more).toBe(body.next !== undefined);
      // What is written while someone reads moves nothing that was not read yet.
      if (page === 0) await list.add('page0@example.com', 'complaint');
      cursor = body.next;
    }
    expect(seen).toEqual(whole.body.suppressions.map(({ hash, reason }) => `${reason} ${hash}`));
    expect(new Set(seen).size).toBe(seen.length);
    expect((await rig.call('/v1/suppressions?cursor=x')).status).toBe(400);
  });
});

describe('an unsubscribe link', () => {
  const path = (address: string): string =>
    `/v1/unsubscribe?token=${encodeURIComponent(unsubscribeToken(address, SECRET))}`;
  const form = { 'content-type': 'application/x-www-form-urlencoded' };
  const multipart = { 'content-type': 'multipart/form-data; boundary=x' };

  test.each([
    ['a form', form, 'List-Unsubscribe=One-Click'],
    [
      'a multipart form',
      multipart,
      '--x\r\nContent-Disposition: form-data; name="List-Unsubscribe"\r\n\r\nOne-Click\r\n--x--\r\n',
    ],
  ])('posted once by a mail program, as %s, unsubscribes without a redirect', async (name, headers, body) => {
    const address = `reader-${name.length}@example.com`;
    for (let again = 0; again < 2; again++) {
      const answer = await rig.call(path(address), { method: 'POST', headers, body });
      expect(answer.status).toBe(200);
      expect(answer.headers.get('set-cookie')).toBeNull();
      expect(answer.text).toContain('You are unsubscribed');
    }
    expect(await list.reasonFor(address, true)).toBe('unsubscribe');
    expect(await list.reasonFor(address, false)).toBeUndefined();
  });

  test('opened by a person or a scanner changes nothing, and has a button that posts', async () => {
    const page = await rig.call(path('scanned@example.com'));
    expect(page.status).toBe(200);
    expect(page.text).toMatch(/<form method="post">.*Unsubscribe/);
    expect(page.headers.get('content-security-policy')).toContain("form-action 'self'");
    expect(await list.reasonFor('scanned@example.com', true)).toBeUndefined();
  });

  test('that was not signed here does nothing', async () => {
    for (const token of ['x', unsubscribeToken('ada@example.com', 'another secret of length')]) {
      const answer = await rig.call(`/v1/unsubscribe?token=${token}`, { method: 'POST', headers: form, body: '' });
      expect(answer.status).toBe(404);
    }
    expect(await list.reasonFor('ada@example.com', true)).toBeUndefined();
  });

  test('with a long body is refused, not read', async () => {
    const body = 'x'.repeat(100_000);
    expect((await rig.call(path('long@example.com'), { method: 'POST', headers: form, body })).status).toBe(413);
  });
});
