import { afterEach, describe, expect, test } from 'vitest';
import { startRig, type Rig } from './rig.ts';

interface Batch {
  readonly accepted: number;
  readonly refused: number;
  readonly emails: readonly { readonly jobId?: string; readonly problem?: { readonly code: string } }[];
}

let rig: Rig;
afterEach(() => rig?.stop());

const mail = { template: 'notification', variables: { message: 'Hello', title: 'News' } };
const batchOf = (count: number) => ({
  ...mail,
  recipients: Array.from({ length: count }, (_, n) => ({ to: `reader${n}@example.com` })),
});
const send = (json: unknown, key?: string) =>
  rig.call<Batch>('/v1/emails:batch', { json, headers: key === undefined ? {} : { 'idempotency-key': key } });
const mailsInQueue = async (): Promise<number> => (await rig.bus.jsm.streams.info('EMAILS')).state.messages;

describe('a mail to many', () => {
  test('of 1,000 makes a job for each, and a repeat with its key meets them', async () => {
    rig = await startRig();
    const first = await send(batchOf(1_000), 'campaign-7');
    expect(first.status).toBe(202);
    expect(first.body).toMatchObject({ accepted: 1_000, refused: 0 });
    const ids = first.body.emails.map(({ jobId }) => jobId);
    expect(new Set(ids).size).toBe(1_000);
    const again = await send(batchOf(1_000), 'campaign-7');
    expect(again.body.emails.map(({ jobId }) => jobId)).toEqual(ids);
    await expect.poll(mailsInQueue).toBe(1_000);
  });

  test('fills each with its own variables over those of all', async () => {
    rig = await startRig();
    const seen = new Map<string, unknown>();
    await rig.workers({
      send: (work) => {
        seen.set(work.email?.to ?? '', work.email?.variables);
        return Promise.resolve();
      },
    });
    await send({
      ...mail,
      recipients: [{ to: 'ada@example.com', variables: { name: 'Ada', title: 'For you' } }, { to: 'bob@example.com' }],
    });
    await expect.poll(() => seen.size).toBe(2);
    expect(seen.get('ada@example.com')).toEqual({ message: 'Hello', title: 'For you', name: 'Ada' });
    expect(seen.get('bob@example.com')).toEqual({ message: 'Hello', title: 'News' });
  });

  test('says for each recipient that is refused why, and sends to the others', async () => {
    rig = await startRig({
      settings: { rates: { globalPerSecond: 0, accountPerSecond: 0, recipientPerHour: 1 } },
    });
    const recipients = ['ada@example.com', 'a@example.com, b@example.com', 'bob@example.com', 'ada@example.com'];
    const request = { ...mail, recipients: recipients.map((to) => ({ to })) };
    const { status, body } = await send(request, 'partly');
    expect(status).toBe(202);
    expect(body).toMatchObject({ accepted: 2, refused: 2 });
    expect(body.emails.map(({ problem }) => problem?.code)).toEqual([
      undefined,
      'invalid_request',
      undefined,
      'rate_limited',
    ]);
    const again = await send(request, 'partly');
    expect(again.body.emails[0]).toEqual(body.emails[0]);
    expect(again.body.emails[2]).toEqual(body.emails[2]);
  });

  test('that is refused for all is answered with the problem of the first', async () => {
    rig = await startRig();
    const { status, body } = await rig.call('/v1/emails:batch', { json: { ...mail, recipients: [{ to: 'ada' }] } });
    expect(status).toBe(400);
    expect(body).toMatchObject({ code: 'invalid_request', errors: [{ pointer: '/to' }] });
  });

  test('with the key of another one makes no job, whichever recipient differs', async () => {
    rig = await startRig();
    await send(batchOf(3), 'same');
    for (const count of [2, 4]) expect((await send(batchOf(count), 'same')).status).toBe(422);
    expect((await send({ ...batchOf(3), variables: { message: 'Other' } }, 'same')).status).toBe(422);
    await expect.poll(mailsInQueue).toBe(3);
  });

  test.each([
    ['no recipient', 0],
    ['more than 1,000', 1_001],
  ])('with %s is refused', async (_, count) => {
    rig = await startRig();
    expect((await send(batchOf(count))).status).toBe(400);
  });

  test('counts each recipient against the rate of its account', async () => {
    const nowMs = Date.now();
    const rates = { globalPerSecond: 0, accountPerSecond: 100, recipientPerHour: 0 };
    // The clock stands still: one window for all that follows.
    rig = await startRig({ now: () => nowMs, settings: { rates } });
    expect((await send(batchOf(101))).status).toBe(413);
    expect((await send(batchOf(99))).status).toBe(202);
    expect((await send(batchOf(1))).status).toBe(429);
  });
});
