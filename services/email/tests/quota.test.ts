import { startNats, type NatsProcess } from '@sluice/dev';
import { buckets, connectNats, createBucket } from '@sluice/messaging';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Bucket } from '../src/bucket.ts';
import { createQuota, type Quota } from '../src/quota/quota.ts';

let nats: NatsProcess;
let nc: Awaited<ReturnType<typeof connectNats>>;
let bucket: Bucket;
beforeAll(async () => {
  nats = await startNats();
  nc = await connectNats({ url: nats.url, name: 'quota-test' });
  bucket = await createBucket(nc, buckets.emailQuotas);
});
afterAll(async () => {
  await nc?.close();
  await nats?.stop();
});

let now = new Date('2026-03-01T10:00:00Z');
const quotaOf = (perAccountPerDay: number, perRecipientPerHour: number): Quota =>
  createQuota({ bucket, perAccountPerDay, perRecipientPerHour, now: () => now });
const chargeMany = (quota: Quota, count: number, account: string, recipient: (n: number) => string) =>
  Promise.all(Array.from({ length: count }, (_, n) => quota.charge(account, recipient(n))));

describe('the quota of an account', () => {
  test('is exact at small limits, over replicas that send at once', async () => {
    const replicas = [quotaOf(20, 0), quotaOf(20, 0), quotaOf(20, 0)];
    const answers = (
      await Promise.all(replicas.map((quota) => chargeMany(quota, 15, 'small', (n) => `${n}@e.com`)))
    ).flat();
    expect(answers.filter((over) => over === undefined)).toHaveLength(20);
    expect(answers.filter((over) => over === 'account')).toHaveLength(25);
  });

  test('is drawn in blocks at large limits, and never exceeded', async () => {
    const replicas = [quotaOf(500, 0), quotaOf(500, 0)];
    const answers = (
      await Promise.all(replicas.map((quota) => chargeMany(quota, 400, 'large', (n) => `${n}@e.com`)))
    ).flat();
    const allowed = answers.filter((over) => over === undefined).length;
    expect(allowed).toBeLessThanOrEqual(500);
    expect(allowed).toBeGreaterThanOrEqual(490);
  });

  test('begins anew with the day', async () => {
    const quota = quotaOf(1, 0);
    expect(await quota.charge('daily', 'a@e.com')).toBeUndefined();
    expect(await quota.charge('daily', 'b@e.com')).toBe('account');
    now = new Date('2026-03-02T00:00:00Z');
    expect(await quota.charge('daily', 'c@e.com')).toBeUndefined();
  });

  test('is one account’s own', async () => {
    const quota = quotaOf(1, 0);
    expect(await quota.charge('mine', 'a@e.com')).toBeUndefined();
    expect(await quota.charge('yours', 'a@e.com')).toBeUndefined();
  });
});

describe('the quota of a recipient', () => {
  test('holds for every sender, however the address is spelled', async () => {
    const quota = quotaOf(0, 2);
    const answers = await Promise.all([
      quota.charge('one', 'Ada@example.com'),
      quota.charge('two', 'ada@example.com'),
      quota.charge('three', 'ADA@example.com'),
    ]);
    expect(answers.filter((over) => over === 'recipient')).toHaveLength(1);
  });

  test('0 is no limit', async () => {
    const answers = await chargeMany(quotaOf(0, 0), 50, 'any', () => 'same@example.com');
    expect(new Set(answers)).toEqual(new Set([undefined]));
  });
});
