import type { SendEmail } from '@sluice/contracts';
import { buckets, openBucket } from '@sluice/messaging';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createKey } from '../src/accounts/api-keys.ts';
import type { JobView } from '../src/jobs/job-view.ts';
import { startRig, type Rig } from './rig.ts';

let rig: Rig;
const keys = new Map<string, string>();
const sent = new Map<string, SendEmail>();
beforeAll(async () => {
  rig = await startRig({ settings: { auth: 'keys' } });
  const bucket = await openBucket(rig.bus.nc, buckets.apiKeys);
  for (const account of ['acme', 'other']) {
    keys.set(account, (await createKey(bucket, account, ['jobs:write', 'jobs:read', 'templates:write'])).key);
  }
  keys.set('reader', (await createKey(bucket, 'reader', ['jobs:write', 'jobs:read'])).key);
  await rig.workers({
    send: (work) => {
      sent.set(work.email?.to ?? '', work);
      return Promise.resolve();
    },
  });
});
afterAll(() => rig?.stop());

const receipt = {
  subject: 'Receipt {{number}}',
  html: '<p>Thank you, {{name}}.</p>',
  text: 'Thank you, {{name}}.',
  variables: { name: { kind: 'line', required: true, example: 'Ada' }, number: { kind: 'line', default: '0' } },
  locales: { de: { subject: 'Beleg {{number}}', html: '<p>Danke, {{name}}.</p>', text: 'Danke, {{name}}.' } },
};
interface Version {
  readonly version: number;
  readonly errors?: readonly { readonly pointer: string; readonly detail: string }[];
}
const call = <Body = Version>(path: string, method: string, json?: unknown, account = 'acme') =>
  rig.call<Body>(path, {
    method,
    ...(json === undefined ? {} : { json }),
    headers: { authorization: `Bearer ${keys.get(account)}` },
  });
const mail = (json: object, account = 'acme') => call<JobView & Version>('/v1/emails', 'POST', json, account);

test('a template that is shipped is previewed with what a mail of it would say', async () => {
  interface Preview {
    readonly subject: string;
    readonly html: string;
    readonly text: string;
  }
  const shown = (name: string, json: object) =>
    call<Preview & Version>(`/v1/templates/${name}:preview`, 'POST', json, 'reader');
  const { status, body } = await shown('notification', {
    variables: { title: '<b>Done</b>', message: 'All 12 pages.' },
  });
  expect({ status, subject: body.subject }).toEqual({ status: 200, subject: '<b>Done</b>' });
  expect(body.html).toContain('&lt;b&gt;Done&lt;/b&gt;');
  expect(body.html).toContain('src="data:image/png;base64,');
  expect(body.html).not.toContain('cid:');
  expect(body.text).toContain('All 12 pages.');
  for (const name of ['welcome', 'image-ready']) expect((await shown(name, {})).body.html).toContain('Ada');
  expect((await shown('welcome', { variables: { name: 7 } })).body.errors).toEqual([
    { pointer: '/variables/name', detail: 'must be a string' },
  ]);
});

describe('a template of an account', () => {
  test('is written, read, previewed, sent in the version of that moment, and deleted', async () => {
    expect((await call('/v1/templates/receipt', 'PUT', receipt)).status).toBe(201);
    expect(await call('/v1/templates/receipt', 'PUT', receipt)).toMatchObject({ status: 200, body: { version: 1 } });
    const changed = { ...receipt, subject: 'Your receipt {{number}}' };
    expect(await call('/v1/templates/receipt', 'PUT', changed)).toMatchObject({ status: 201, body: { version: 2 } });
    expect((await call('/v1/templates/receipt?version=1', 'GET')).body).toMatchObject({ ...receipt, recurring: false });
    expect((await call('/v1/templates', 'GET')).body).toMatchObject({ templates: [{ name: 'receipt', latest: 2 }] });

    const preview = { locale: 'de-AT', variables: { number: '<7>' } };
    expect((await call('/v1/templates/receipt:preview', 'POST', preview)).body).toEqual({
      subject: 'Beleg <7>',
      html: '<p>Danke, Ada.</p>',
      text: 'Danke, Ada.',
      locale: 'de',
    });

    const json = { to: 'ada@example.com', template: 'receipt', variables: { name: 'Ada' }, locale: 'DE-at' };
    expect((await mail(json)).status).toBe(202);
    await expect
      .poll(() => sent.get('ada@example.com')?.email)
      .toMatchObject({
        template: 'receipt',
        templateVersion: 2,
        locale: 'de-AT',
      });
    const many = {
      template: 'receipt',
      recipients: [{ to: 'bob@example.com', variables: { name: 'Bob' } }, { to: 'eve@example.com' }],
    };
    const batch = await call<{ emails: { problem?: { detail: string } }[] }>('/v1/emails:batch', 'POST', many);
    expect(batch.body.emails[1]?.problem?.detail).toContain('/variables/name is missing');

    expect((await call('/v1/templates/receipt', 'DELETE')).status).toBe(204);
    expect((await mail(json)).status).toBe(400);
  });

  test('is checked and filled in before it is written, and nothing is kept of it', async () => {
    const draft = { template: receipt, locale: 'de-AT', variables: { number: '<8>' } };
    expect(await call('/v1/templates:preview', 'POST', draft)).toMatchObject({
      status: 200,
      body: { subject: 'Beleg <8>', html: '<p>Danke, Ada.</p>', locale: 'de' },
    });
    const before = (await call<{ templates: unknown[] }>('/v1/templates', 'GET')).body.templates;
    const wrong = { ...draft, template: { ...receipt, html: '<script>1</script>', mjml: undefined } };
    const refused = await call<{ errors: { pointer: string }[] }>('/v1/templates:preview', 'POST', wrong);
    expect(refused.status).toBe(400);
    expect(refused.body.errors.map(({ pointer }) => pointer)).toContain('/template/html');
    expect((await call('/v1/templates', 'GET')).body).toEqual({ templates: before });
  });

  test('is no other account’s, to read, to send or to delete', async () => {
    await call('/v1/templates/mine', 'PUT', receipt);
    expect((await call('/v1/templates/mine', 'GET', undefined, 'other')).status).toBe(404);
    expect((await call('/v1/templates/mine', 'DELETE', undefined, 'other')).status).toBe(404);
    const json = { to: 'x@example.com', template: 'mine', variables: { name: 'Ada' } };
    expect((await mail(json, 'other')).body).toMatchObject({ status: 400, errors: [{ pointer: '/template' }] });
    expect((await call('/v1/templates/mine', 'PUT', receipt, 'reader')).status).toBe(403);
  });

  test('is refused with everything that is wrong with it', async () => {
    const wrong = { ...receipt, html: '<script>x</script><a href="{{name}}">x</a>', text: '{{other}}' };
    const { status, body } = await call('/v1/templates/wrong', 'PUT', wrong);
    expect(status).toBe(400);
    expect(body.errors?.map(({ pointer }) => pointer)).toEqual(['/html', '/html', '/text']);
    expect((await call('/v1/templates/wrong', 'GET')).status).toBe(404);
    for (const name of ['welcome', 'Receipt', 'a.b', 'a%2Fb']) {
      expect((await call(`/v1/templates/${name}`, 'PUT', receipt)).status).toBeGreaterThanOrEqual(400);
    }
  });

  test('refuses a mail whose variables do not fit, before there is a job', async () => {
    await call('/v1/templates/strict', 'PUT', receipt);
    const json = { to: 'x@example.com', template: 'strict', variables: { number: 7 } };
    const { status, body } = await mail(json);
    expect(status).toBe(400);
    expect(body.errors?.map(({ pointer }) => pointer)).toEqual(['/variables/name', '/variables/number']);
    expect((await mail({ ...json, variables: { name: 'Ada' }, locale: 'not a tag' })).status).toBe(400);
  });

  test('is bounded in bytes', async () => {
    expect(
      (await call('/v1/templates/large', 'PUT', { ...receipt, html: `<p>${'x'.repeat(65_537)}</p>` })).status,
    ).toBe(400);
    expect((await call('/v1/templates/large', 'PUT', { ...receipt, html: 'x'.repeat(3_000_000) })).status).toBe(413);
  });
});
