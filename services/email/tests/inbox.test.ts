import { startNats, type NatsProcess } from '@sluice/dev';
import { buckets, connectNats, createBucket } from '@sluice/messaging';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Bucket } from '../src/bucket.ts';
import {
  createInbox,
  type Claimed,
  type Inbox,
  type MailClaim,
  type MailOutcome,
  type Progress,
} from '../src/delivery/inbox.ts';

const LEASE_MS = 40_000;
const progress = (done: Partial<Progress>): Progress => ({
  since: '2026-03-01T10:00:00.000Z',
  attempts: 0,
  failures: 0,
  unanswered: 0,
  ...done,
});
const sent: MailOutcome = { kind: 'sent', messageId: '<x@y>', provider: 'a', attempts: 1, ambiguous: false };

let nats: NatsProcess;
let nc: Awaited<ReturnType<typeof connectNats>>;
let bucket: Bucket;
beforeAll(async () => {
  nats = await startNats();
  nc = await connectNats({ url: nats.url, name: 'inbox-test' });
  bucket = await createBucket(nc, buckets.emailInbox);
});
afterAll(async () => {
  await nc?.close();
  await nats?.stop();
});

/** An inbox of one process, whose clock runs `lateMs` ahead. */
const inboxOf = (instance: string, lateMs = 0): Inbox =>
  createInbox({ bucket, instance, leaseMs: LEASE_MS, now: () => Date.now() + lateMs });
const claimOf = (claimed: Claimed): MailClaim => {
  if (claimed.kind !== 'claimed') throw new Error(`expected a claim, got ${claimed.kind}`);
  return claimed.claim;
};

describe('the inbox', () => {
  test('gives a mail to the first who asks', async () => {
    const claim = claimOf(await inboxOf('one').claim('first.0'));
    expect(claim).toMatchObject({ fresh: true, progress: { attempts: 0, unanswered: 0 }, abandoned: false });
  });

  test('gives a mail to exactly one of a hundred who ask at once', async () => {
    const all = await Promise.all(Array.from({ length: 100 }, (_, n) => inboxOf(`p${n}`).claim('race.0')));
    expect(all.filter(({ kind }) => kind === 'claimed')).toHaveLength(1);
    expect(all.filter(({ kind }) => kind === 'busy')).toHaveLength(99);
  });

  test('answers with the outcome once there is one, to every process', async () => {
    await claimOf(await inboxOf('one').claim('done.0')).complete(sent);
    expect(await inboxOf('two').claim('done.0')).toEqual({ kind: 'done', outcome: sent });
  });

  test('takes a replay for a new mail', async () => {
    await claimOf(await inboxOf('one').claim('replayed.0')).complete({
      kind: 'failed',
      code: 'mail_rejected',
      detail: 'x',
    });
    expect(claimOf(await inboxOf('one').claim('replayed.1')).fresh).toBe(true);
  });

  test('goes on where a failed attempt left off', async () => {
    await claimOf(await inboxOf('one').claim('again.0')).release(progress({ attempts: 3, failures: 2 }));
    const claim = claimOf(await inboxOf('two').claim('again.0'));
    expect(claim).toMatchObject({ fresh: false, abandoned: false });
    expect(claim.progress).toEqual(progress({ attempts: 3, failures: 2 }));
  });

  test('remembers that an attempt had no answer, through later ones that had', async () => {
    await claimOf(await inboxOf('one').claim('doubt.0')).release(progress({ attempts: 1, unanswered: 1 }));
    const second = claimOf(await inboxOf('one').claim('doubt.0'));
    expect(second).toMatchObject({ progress: { unanswered: 1 }, abandoned: false });
    await second.release({ ...second.progress, attempts: 2 });
    expect(claimOf(await inboxOf('one').claim('doubt.0')).progress.unanswered).toBe(1);
  });

  test('reads entries of older versions, where the field had another name', async () => {
    await bucket.create('older.0', JSON.stringify({ state: 'unknown', attempts: 1, doubtful: true }));
    expect(claimOf(await inboxOf('one').claim('older.0')).progress).toMatchObject({ attempts: 1, unanswered: 1 });
  });

  test('keeps others away while one worker is sending, for as long as sending can take', async () => {
    await inboxOf('one').claim('busy.0');
    const busy = await inboxOf('two').claim('busy.0');
    expect(busy.kind).toBe('busy');
    expect(busy).toSatisfy(({ forMs }: { forMs: number }) => forMs > 0 && forMs <= LEASE_MS);
  });

  test('keeps a second message for the same mail away within one process', async () => {
    const inbox = inboxOf('one', LEASE_MS + 1);
    await inbox.claim('twice.0');
    expect((await inbox.claim('twice.0')).kind).toBe('busy');
  });

  test('gives away what a dead process was sending, and says that it may have gone out', async () => {
    await inboxOf('killed').claim('crash.0');
    const claim = claimOf(await inboxOf('two', LEASE_MS + 1).claim('crash.0'));
    expect(claim).toMatchObject({ fresh: false, progress: { unanswered: 1 }, abandoned: true });
  });

  test('lets a process that was only suspended change nothing', async () => {
    const suspended = claimOf(await inboxOf('suspended').claim('suspended.0'));
    const successor = claimOf(await inboxOf('successor', LEASE_MS + 1).claim('suspended.0'));
    await successor.complete(sent);
    await suspended.complete({ kind: 'failed', code: 'late', detail: '' });
    await suspended.release(progress({ attempts: 1 }));
    expect(await inboxOf('third').claim('suspended.0')).toEqual({ kind: 'done', outcome: sent });
  });

  test('still knows the end of a mail when the broker was away as it came', async () => {
    const inbox = inboxOf('one');
    const claim = claimOf(await inbox.claim('outage.0'));
    const { update } = bucket;
    Object.assign(bucket, { update: () => Promise.reject(new Error('no broker')) });
    await expect(claim.complete(sent)).rejects.toThrow('no broker');
    Object.assign(bucket, { update });
    expect(await inbox.claim('outage.0')).toEqual({ kind: 'done', outcome: sent });
  });

  test('decides nothing when it cannot write', async () => {
    const { create } = bucket;
    Object.assign(bucket, { create: () => Promise.reject(new Error('bucket full')) });
    await expect(inboxOf('one').claim('full.0')).rejects.toThrow('bucket full');
    Object.assign(bucket, { create });
  });
});
