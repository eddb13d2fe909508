import { create, toBinary } from '@bufbuild/protobuf';
import { SendEmailRequestSchema, type SendEmail } from '@sluice/contracts';
import { buckets, openBucket } from '@sluice/messaging';
import { bounceToken, openSuppressions } from '@sluice/suppression';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { createKey } from '../src/accounts/api-keys.ts';
import { grant } from '../src/credits/ledger.ts';
import type { ErasureRecord } from '../src/erasure/erasures.ts';
import type { JobView } from '../src/jobs/job-view.ts';
import { pricesFrom } from '../src/jobs/kinds/index.ts';
import { eventually, startRig, type Rig } from './rig.ts';

const SECRET = 'a secret of some length';
let rig: Rig;
let plain: string;
let trusted: string;
let operator: string;
const works = new Map<string, SendEmail>();
beforeAll(async () => {
  rig = await startRig({
    settings: {
      auth: 'keys',
      credits: { prices: pricesFrom((kind) => (kind === 'email' ? 2 : 1)), graceMs: 60_000 },
      bounces: { secret: SECRET, smtpPort: 0 },
      rates: { globalPerSecond: 0, accountPerSecond: 0, recipientPerHour: 3 },
    },
  });
  await rig.workers({ send: async (work) => void works.set(work.email?.to ?? '', work) });
  const kv = await openBucket(rig.bus.nc, buckets.apiKeys);
  plain = (await createKey(kv, 'plain', ['jobs:write', 'jobs:read'])).key;
  trusted = (await createKey(kv, 'trusted', ['jobs:write', 'jobs:read', 'account:read', 'emails:copies'])).key;
  operator = (await createKey(kv, 'operator', ['admin', 'erasures', 'mail:reports'])).key;
  for (const account of ['plain', 'trusted']) await grant(rig.bus, account, 1_000, 'to begin with', Date.now());
  await eventually(
    () => rig.call('/v1/jobs', { headers: bearer(trusted) }),
    ({ status }) => status === 200,
  );
});
afterAll(() => rig?.stop());

const bearer = (key: string) => ({ authorization: `Bearer ${key}` });
const mail = { template: 'welcome', variables: { name: 'Ada' } };
const send = (json: Record<string, unknown>, key = trusted) =>
  rig.call<JobView & { code?: string; errors?: { pointer: string }[] }>('/v1/emails', {
    json: { ...mail, ...json },
    headers: { ...bearer(key), prefer: 'wait=20' },
  });
const balance = async () =>
  (await rig.call<{ credits: { balance: number } }>('/v1/accounts/me', { headers: bearer(trusted) })).body.credits
    .balance;

test('copies reach the email service, stand in the request and cost as much as the mail', async () => {
  const before = await balance();
  const copies = { cc: ['Bo@Example.com'], bcc: ['cy@bücher.example', 'di@example.com'] };
  const { status, body } = await send({ to: 'ada@example.com', ...copies });
  expect(status).toBe(200);
  const read = { cc: ['Bo@example.com'], bcc: ['cy@xn--bcher-kva.example', 'di@example.com'] };
  expect(works.get('ada@example.com')?.email).toMatchObject(read);
  const request = await rig.call(`/v1/jobs/${body.id}/request`, { headers: bearer(trusted) });
  expect(request.body).toMatchObject({ json: { to: 'ada@example.com', ...read } });
  expect(before - (await balance())).toBe(8);
});

test.each(['/v1/emails', '/v1/emails:batch'])('a key without the scope sends none over %s', async (path) => {
  const { cc } = { cc: ['bo@example.com'] };
  const to = 'ada1@example.com';
  const json = { ...mail, cc, ...(path.endsWith('batch') ? { recipients: [{ to }] } : { to }) };
  expect(await rig.call(path, { json, headers: bearer(plain) })).toMatchObject({
    status: 403,
    body: { code: 'forbidden' },
  });
  expect((await rig.call(path, { json, headers: bearer(trusted) })).status).toBe(202);
});

test('a command over NATS sends none either without the scope', async () => {
  const command = (to: string) =>
    toBinary(
      SendEmailRequestSchema,
      create(SendEmailRequestSchema, { email: { to, bcc: ['bo1@example.com'], ...mail } }),
    );
  for (const [to, key] of [['no@example.com', plain] as const, ['yes@example.com', trusted] as const]) {
    await rig.bus.port.publish('user.send.email', command(to), { id: to, headers: { Authorization: `Bearer ${key}` } });
  }
  await expect.poll(() => works.get('yes@example.com')?.email?.bcc).toEqual(['bo1@example.com']);
  const letters = await eventually(
    () =>
      rig.call<{ deadLetters: { messageId: string; detail: string }[] }>('/v1/dead-letters?consumer=commands', {
        headers: bearer(operator),
      }),
    ({ body }) => body.deadLetters.length > 0,
  );
  expect(letters.body.deadLetters).toMatchObject([{ messageId: 'no@example.com' }]);
  expect(letters.body.deadLetters[0]?.detail).toContain('emails:copies');
  expect(works.has('no@example.com')).toBe(false);
});

test('of a batch each mail has its own copies, or those of all', async () => {
  const json = {
    ...mail,
    bcc: ['audit@example.com'],
    recipients: [{ to: 'b1@example.com' }, { to: 'b2@example.com', cc: ['boss@example.com'], bcc: [] }],
  };
  expect((await rig.call('/v1/emails:batch', { json, headers: bearer(trusted) })).status).toBe(202);
  await expect.poll(() => works.get('b2@example.com')?.email).toMatchObject({ cc: ['boss@example.com'], bcc: [] });
  await expect.poll(() => works.get('b1@example.com')?.email).toMatchObject({ cc: [], bcc: ['audit@example.com'] });
});

test.each([
  ['a second header', { cc: ['bo@example.com\r\nBcc: evil@example.com'] }, '/cc/0'],
  ['a list', { bcc: ['a@example.com, evil@example.com'] }, '/bcc/0'],
  ['the recipient once more', { cc: ['ADA2@example.com'] }, '/cc/0'],
  ['21 of them', { cc: Array.from({ length: 20 }, (_, n) => `n${n}@example.com`), bcc: ['n20@example.com'] }, '/bcc'],
  ['1,000 of them', { cc: Array.from({ length: 1_000 }, (_, n) => `n${n}@example.com`) }, '/cc'],
])('copies that are %s are refused', async (_, copies, pointer) => {
  const { status, body } = await send({ to: 'ada2@example.com', ...copies });
  expect(status).toBe(400);
  expect(body.errors?.map((error) => error.pointer)).toEqual([pointer]);
});

test('the limit of a recipient counts copies', async () => {
  for (const n of [1, 2, 3])
    expect((await send({ to: `c${n}@example.com`, bcc: ['often@example.com'] })).status).toBe(200);
  expect(await send({ to: 'often@example.com' })).toMatchObject({ status: 429 });
  expect(await send({ to: 'c4@example.com', cc: ['OFTEN@example.com'] })).toMatchObject({ status: 429 });
});

test('what comes back from a copy is about its recipient, and an erasure finds who was in bcc', async () => {
  const { body } = await send({ to: 'ada3@example.com', cc: ['bo3@example.com'], bcc: ['cy3@example.com'] });
  const report = [
    `To: ${bounceToken(body.id, SECRET, 2)}@bounces.example.com`,
    'MIME-Version: 1.0',
    'Content-Type: multipart/report; report-type=delivery-status; boundary="b"',
    '',
    '--b',
    'Content-Type: message/delivery-status',
    '',
    'Reporting-MTA: dns; mx.example.net',
    '',
    'Final-Recipient: rfc822; ada3@example.com',
    'Action: failed',
    'Status: 5.1.1',
    '',
    '--b--',
    '',
  ].join('\r\n');
  const taken = await rig.call('/v1/mail-reports', {
    method: 'POST',
    body: report,
    headers: { ...bearer(operator), 'content-type': 'message/rfc822' },
  });
  expect(taken.status).toBeLessThan(300);
  const list = await openSuppressions(rig.bus.nc);
  expect(await list.find('cy3@example.com')).toMatchObject([{ reason: 'bounce' }]);
  expect(await list.find('ada3@example.com')).toEqual([]);

  const begun = await rig.call<ErasureRecord>('/v1/erasures', {
    json: { recipient: 'CY3@example.com' },
    headers: bearer(operator),
  });
  await eventually(
    () => rig.call<ErasureRecord>(begun.headers.get('location')!, { headers: bearer(operator) }),
    (answer) => answer.body.state === 'finished' && answer.body.jobs === 1,
  );
  const request = await rig.call(`/v1/jobs/${body.id}/request`, { headers: bearer(trusted) });
  expect(JSON.stringify(request.body)).not.toContain('cy3@');
});
