import type { SendEmail } from '@sluice/contracts';
import { buckets, openBucket } from '@sluice/messaging';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createKey } from '../src/accounts/api-keys.ts';
import type { JobView } from '../src/jobs/job-view.ts';
import { startObjectCleanup } from '../src/uploads/cleanup.ts';
import { jobLog } from '@sluice/jobs';
import { silentLogger } from '@sluice/pipeline';
import type { Logger } from '@sluice/telemetry';
import { png } from './pictures.ts';
import { eventually, startRig, type Rig } from './rig.ts';

let rig: Rig;
const keys = new Map<string, string>();
const sent = new Map<string, SendEmail>();
beforeAll(async () => {
  rig = await startRig({ settings: { auth: 'keys' } });
  const bucket = await openBucket(rig.bus.nc, buckets.apiKeys);
  for (const account of ['acme', 'other']) {
    keys.set(account, (await createKey(bucket, account, ['jobs:write', 'jobs:read'])).key);
  }
  await rig.workers({
    send: (work) => {
      sent.set(work.email?.to ?? '', work);
      return Promise.resolve();
    },
  });
});
afterAll(() => rig?.stop());

const as = (account: string) => ({ authorization: `Bearer ${keys.get(account)}` });
const call = <Body = JobView>(path: string, json: unknown, account = 'acme') =>
  rig.call<Body>(path, { json, headers: as(account) });

async function upload(contentType: string, content: Buffer): Promise<string> {
  const asked = { use: 'attachment', contentType, sizeBytes: content.length };
  const { body } = await call<{ uploadId: string; url: string }>('/v1/uploads', asked);
  const put = await fetch(body.url, {
    method: 'PUT',
    body: new Uint8Array(content),
    headers: { 'content-type': contentType },
  });
  expect(put.status).toBe(200);
  return body.uploadId;
}
const mailTo = (to: string, attachments: unknown) => ({
  to,
  template: 'notification',
  variables: { message: 'Here it is.' },
  attachments,
});

describe('a mail with files', () => {
  test('names an upload, as often as it likes, and the PDF of a job', async () => {
    const uploadId = await upload('text/calendar', Buffer.from('BEGIN:VCALENDAR'));
    const converted = await rig.call<JobView>('/v1/images', {
      body: png(),
      headers: { ...as('acme'), prefer: 'wait=20' },
    });
    expect(converted.body.state).toBe('succeeded');
    const attachments = [{ uploadId, fileName: 'Termin März.ics' }, { jobId: converted.body.id }];
    const first = await rig.call<JobView>('/v1/emails', {
      json: mailTo('ada@example.com', attachments),
      headers: { ...as('acme'), 'idempotency-key': 'files' },
    });
    expect(first.status).toBe(202);
    const many = await call<{ accepted: number }>('/v1/emails:batch', {
      ...mailTo('', [attachments[0]]),
      to: undefined,
      recipients: [{ to: 'bob@example.com' }, { to: 'eve@example.com' }],
    });
    expect(many.body.accepted).toBe(2);
    await expect.poll(() => sent.size).toBe(3);
    expect(sent.get('ada@example.com')?.email?.attachments).toMatchObject([
      { fileName: 'Termin März.ics', contentType: 'text/calendar', sizeBytes: 15n },
      { key: `pdf/${converted.body.id}.pdf`, fileName: `${converted.body.id}.pdf`, contentType: 'application/pdf' },
    ]);
    expect(sent.get('eve@example.com')?.email?.attachments).toHaveLength(1);
    const again = await rig.call<JobView>('/v1/emails', {
      json: mailTo('ada@example.com', attachments),
      headers: { ...as('acme'), 'idempotency-key': 'files' },
    });
    expect(again.body.id).toBe(first.body.id);
  });

  test('cannot name what another account uploaded or made', async () => {
    const uploadId = await upload('application/pdf', Buffer.from('%PDF-1.7'));
    const file = { uploadId, fileName: 'a.pdf' };
    expect((await call('/v1/emails', mailTo('x@example.com', [file]), 'other')).status).toBe(404);
    const { body } = await rig.call<JobView>('/v1/images', {
      body: png(),
      headers: { ...as('acme'), prefer: 'wait=20' },
    });
    expect((await call('/v1/emails', mailTo('x@example.com', [{ jobId: body.id }]), 'other')).status).toBe(404);
  });

  test.each([
    ['nothing that was uploaded', [{ uploadId: `upl_${'a'.repeat(26)}`, fileName: 'a.pdf' }], 404],
    ['neither upload nor job', [{ fileName: 'a.pdf' }], 400],
    ['no id of an upload', [{ uploadId: 'upl_x', fileName: 'a.pdf' }], 400],
    ['a job that is not there', [{ jobId: `job_${'a'.repeat(26)}` }], 404],
    ['six files', Array.from({ length: 6 }, () => ({ jobId: 'x' })), 400],
  ])('that names %s is refused', async (_, attachments, status) => {
    expect((await call('/v1/emails', mailTo('x@example.com', attachments))).status).toBe(status);
  });

  test('is refused when a name hides the kind of a file, and when the files are too large together', async () => {
    const uploadId = await upload('text/plain', Buffer.alloc(3_000_000, 'a'));
    for (const fileName of ['run.exe', 'a\u202etxt.txt', undefined]) {
      expect((await call('/v1/emails', mailTo('x@example.com', [{ uploadId, fileName }]))).status).toBe(400);
    }
    const twice = [
      { uploadId, fileName: 'a.txt' },
      { uploadId, fileName: 'b.txt' },
    ];
    expect((await call('/v1/emails', mailTo('x@example.com', twice))).status).toBe(413);
  });

  test.each([
    ['text/html', 10, 400],
    ['image/tiff', 10, 400],
    ['application/pdf', 5_000_001, 413],
  ])('takes no upload of %s of %i bytes', async (contentType, sizeBytes, status) => {
    expect((await call('/v1/uploads', { use: 'attachment', contentType, sizeBytes })).status).toBe(status);
  });

  test('can name a file for two days; it is deleted after nine', async () => {
    const uploadId = await upload('text/plain', Buffer.from('hi'));
    const cleanUp = async (days: number): Promise<string[]> => {
      let done = false;
      const cleanup = startObjectCleanup({
        store: rig.store,
        jobs: jobLog(rig.bus),
        log: silentLogger as unknown as Logger,
        now: () => Date.now() + days * 24 * 3_600_000,
        resultTtlMs: 24 * 3_600_000,
        onCleaned: (prefix) => void (done ||= prefix === 'attachments/'),
      });
      await eventually(
        async () => done,
        (is) => is,
      );
      await cleanup.stop();
      return (await Array.fromAsync(rig.store.list('attachments/'))).map(({ key }) => key);
    };
    expect((await cleanUp(8.9)).some((key) => key.endsWith(uploadId))).toBe(true);
    expect(await cleanUp(9.1)).toEqual([]);
  });
});

test('the mail that says a PDF is ready carries it when asked to', async () => {
  const path = '/v1/images?notify=ready@example.com&notifyAttach=true';
  expect((await rig.call(path, { body: png(), headers: as('acme') })).status).toBe(202);
  await expect.poll(() => sent.get('ready@example.com')?.email?.variables?.['attach']).toBe(true);
  const without = await rig.call('/v1/images?notifyAttach=true', { body: png(), headers: as('acme') });
  expect(without.status).toBe(400);
});
