import { startNats, type NatsProcess } from '@sluice/dev';
import { buckets, connectNats, createBucket, openBucket } from '@sluice/messaging';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { openSuppressions, type Suppression, type Suppressions } from './suppressions.ts';

let nats: NatsProcess;
let nc: Awaited<ReturnType<typeof connectNats>>;
let list: Suppressions;
beforeAll(async () => {
  nats = await startNats();
  nc = await connectNats({ url: nats.url, name: 'suppression-test' });
  await Promise.all([createBucket(nc, buckets.emailSuppressions), createBucket(nc, buckets.emailUnsubscribes)]);
  list = await openSuppressions(nc, () => new Date('2026-03-01T10:00:00Z'));
});
afterAll(async () => {
  await nc?.close();
  await nats?.stop();
});

const entries = async (): Promise<Suppression[]> => {
  const all: Suppression[] = [];
  for await (const { cursor: _, ...entry } of list.list()) all.push(entry);
  return all;
};

describe('a bounce', () => {
  test('that is certain suppresses an address in every spelling, and keeps no address', async () => {
    expect(await list.reasonFor('dead@example.com', false)).toBeUndefined();
    expect(await list.bounced('Dead@example.com', 'certain')).toBe(true);
    expect(await list.bounced('dead@example.com', 'certain')).toBe(false);
    expect(await list.reasonFor('DEAD@example.com', false)).toBe('bounce');
    for await (const key of await (await openBucket(nc, buckets.emailSuppressions)).keys()) {
      expect(key).not.toContain('dead');
    }
  });

  test('in words alone suppresses the second time', async () => {
    expect(await list.bounced('words@example.com', 'likely')).toBe(false);
    expect(await list.reasonFor('words@example.com', false)).toBeUndefined();
    expect(await list.find('words@example.com')).toEqual([]);
    expect(await list.bounced('words@example.com', 'likely')).toBe(true);
    expect(await list.reasonFor('words@example.com', false)).toBe('bounce');
  });

  test('in words alone is forgotten when a mail is taken in between', async () => {
    await list.bounced('healthy@example.com', 'likely');
    await list.reasonFor('healthy@example.com', false);
    await list.delivered('healthy@example.com');
    expect(await list.bounced('healthy@example.com', 'likely')).toBe(false);
    expect(await list.reasonFor('healthy@example.com', false)).toBeUndefined();
  });

  test('of an older version, which has no reason, still counts', async () => {
    const bucket = await openBucket(nc, buckets.emailSuppressions);
    await list.bounced('old@example.com', 'certain');
    const hash = (await list.find('old@example.com'))[0]?.hash ?? '';
    await bucket.put(hash, JSON.stringify({ since: '2026-01-01T00:00:00.000Z' }));
    expect(await list.reasonFor('old@example.com', false)).toBe('bounce');
  });
});

describe('an unsubscribed address', () => {
  test('gets no recurring mail, and every other', async () => {
    expect(await list.add('reader@example.com', 'unsubscribe')).toBe(true);
    expect(await list.add('reader@example.com', 'unsubscribe')).toBe(false);
    expect(await list.reasonFor('reader@example.com', true)).toBe('unsubscribe');
    expect(await list.reasonFor('reader@example.com', false)).toBeUndefined();
  });
});

describe('the list', () => {
  test('is read and shortened by address or hash', async () => {
    await list.add('both@example.com', 'unsubscribe');
    await list.add('both@example.com', 'complaint');
    const found = await list.find('both@example.com');
    expect(found.map(({ reason }) => reason).toSorted()).toEqual(['complaint', 'unsubscribe']);
    expect(await entries()).toEqual(expect.arrayContaining(found));
    expect(await list.remove(found[0]?.hash ?? '')).toBe(2);
    expect(await list.remove('both@example.com')).toBe(0);
    expect(await list.reasonFor('both@example.com', true)).toBeUndefined();
  });
});
