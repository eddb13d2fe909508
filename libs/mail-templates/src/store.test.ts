import { startNats, type NatsProcess } from '@sluice/dev';
import { buckets, connectNats, createBucket, openBucket } from '@sluice/messaging';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { compileTemplate } from './compile.ts';
import { openTemplates, templateCounts, TooManyTemplatesError, type TemplateStore } from './store.ts';

const DAY_MS = 24 * 3_600_000;
let nats: NatsProcess;
let nc: Awaited<ReturnType<typeof connectNats>>;
let nowMs = Date.parse('2026-03-01T10:00:00Z');
let store: TemplateStore;
beforeAll(async () => {
  nats = await startNats();
  nc = await connectNats({ url: nats.url, name: 'templates-test' });
  await createBucket(nc, buckets.mailTemplates);
  store = await openTemplates(nc, () => nowMs);
});
afterAll(async () => {
  await nc?.close();
  await nats?.stop();
});

function template(name: string, subject: string) {
  const definition = { subject, html: '<p>x</p>', text: 'x', variables: {}, recurring: false };
  const result = compileTemplate(definition);
  if ('problems' in result) throw new Error(JSON.stringify(result.problems));
  return { name, definition, ...result };
}
const subjectOf = async (account: string, name: string, version?: number) =>
  (await store.version(account, name, version))?.definition.subject;

describe('the templates of an account', () => {
  test('have versions that never change, and mails get the latest', async () => {
    expect((await store.add('acme', template('receipt', 'one'))).version).toBe(1);
    expect((await store.add('acme', template('receipt', 'two'))).version).toBe(2);
    expect(await subjectOf('acme', 'receipt')).toBe('two');
    expect(await subjectOf('acme', 'receipt', 1)).toBe('one');
    expect(await store.list('acme')).toMatchObject([{ name: 'receipt', latest: 2, versions: [{}, {}] }]);
  });

  test('are no one else’s', async () => {
    expect(await store.version('other', 'receipt')).toBeUndefined();
    expect(await store.list('other')).toEqual([]);
    for (const [account, name] of [
      ['acme.receipt', 'x'],
      ['*', 'receipt'],
      ['acme', '>'],
      ['acme', 'receipt.1'],
    ] as const) {
      expect(await store.version(account, name)).toBeUndefined();
      expect(await store.remove(account, name)).toBe(false);
    }
  });

  test('written by several at once each get a number', async () => {
    const made = await Promise.all([1, 2, 3, 4].map((n) => store.add('busy', template('race', `${n}`))));
    expect(made.map(({ version }) => version).toSorted((a, b) => a - b)).toEqual([1, 2, 3, 4]);
    expect(await store.head('busy', 'race')).toMatchObject({ latest: 4 });
  });

  test('that were deleted come back under higher numbers: a mail of before gets none of after', async () => {
    const before = await store.add('acme', template('gone', 'before'));
    expect(await subjectOf('acme', 'gone', before.version)).toBe('before');
    expect(await store.remove('acme', 'gone')).toBe(true);
    expect(await store.remove('acme', 'gone')).toBe(false);
    const fresh = await openTemplates(nc);
    expect(await fresh.version('acme', 'gone', before.version)).toBeUndefined();
    const after = await store.add('acme', template('gone', 'after'));
    expect(after.version).toBeGreaterThan(before.version);
    expect(await fresh.version('acme', 'gone', before.version)).toBeUndefined();
  });

  test('keep twenty versions, and none goes that a mail may need', async () => {
    for (let n = 1; n <= templateCounts.versions; n++) await store.add('many', template('often', `${n}`));
    await expect(store.add('many', template('often', 'more'))).rejects.toThrow(TooManyTemplatesError);
    nowMs += 8 * DAY_MS;
    expect((await store.add('many', template('often', 'more'))).version).toBe(templateCounts.versions + 1);
    expect((await store.head('many', 'often'))?.versions).toHaveLength(templateCounts.versions);
    const bucket = await openBucket(nc, buckets.mailTemplates);
    expect(await bucket.get('many.often.1')).toBeNull();
  });

  test('leave nothing behind that grows, however often they are written and deleted', async () => {
    const bucket = await openBucket(nc, buckets.mailTemplates);
    const stored = async (): Promise<number> => (await bucket.status()).values;
    await store.add('churn', template('first', 'x'));
    await store.remove('churn', 'first');
    const before = await stored();
    const versions: number[] = [];
    for (let n = 0; n < 5; n++) {
      for (let version = 0; version < 3; version++) {
        versions.push((await store.add('churn', template(`t${n}`, `${version}`))).version);
      }
      expect(await store.remove('churn', `t${n}`)).toBe(true);
    }
    expect(await stored()).toBe(before);
    // Nor does a number come back, under any name.
    expect(versions).toEqual(Array.from({ length: versions.length }, (_, n) => n + 2));
    expect(await store.list('churn')).toEqual([]);
  });

  test('that are written while they are deleted are whole or gone', async () => {
    await store.add('both', template('raced', '0'));
    await Promise.all([store.remove('both', 'raced'), store.add('both', template('raced', '1'))]);
    const head = await store.head('both', 'raced');
    if (head !== undefined) expect(await subjectOf('both', 'raced')).toBe('1');
    await store.remove('both', 'raced');
    expect(await store.head('both', 'raced')).toBeUndefined();
  });

  test('are a hundred at most', async () => {
    const made = Array.from({ length: templateCounts.perAccount }, (_, n) => store.add('full', template(`t${n}`, 'x')));
    await Promise.all(made);
    await expect(store.add('full', template('one-more', 'x'))).rejects.toThrow(TooManyTemplatesError);
    expect((await store.add('full', template('t0', 'y'))).version).toBe(2);
  });
});
