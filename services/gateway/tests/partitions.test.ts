// JOBS_PARTITIONS: jobs divided over streams from the beginning, and raised on a store that holds jobs.
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { buckets, lifetimes, openBucket, readJobLayouts } from '@sluice/messaging';
import { afterEach, expect, test } from 'vitest';
import { makeBackup } from '../src/backup/make-backup.ts';
import { restoreBackup } from '../src/backup/restore-backup.ts';
import type { ErasureRecord } from '../src/erasure/erasures.ts';
import type { JobView } from '../src/jobs/job-view.ts';
import type { TimelineEntry } from '../src/jobs/timeline/entry.ts';
import { provisionSystem } from '../src/provision-system.ts';
import { png } from './pictures.ts';
import { eventually, startRig, type Rig } from './rig.ts';

let rig: Rig;
afterEach(() => rig?.stop());

const PARTITIONS = ['JOBS', 'JOBS_1', 'JOBS_2', 'JOBS_3'];
/** How many jobs each stream holds. */
const divided = async (): Promise<number[]> =>
  Promise.all(
    PARTITIONS.map(async (stream) => {
      const { state } = await rig.bus.jsm.streams.info(stream, { subjects_filter: 'jobs.>' });
      return Object.keys(state.subjects ?? {}).length;
    }),
  );
const sum = (counts: readonly number[]): number => counts.reduce((total, count) => total + count, 0);

async function mail(to: string, key?: string, url = ''): Promise<JobView> {
  const json = { to, template: 'welcome', variables: { name: 'Ada' } };
  const answer = await rig.call<JobView>(`${url}/v1/emails`, {
    json,
    ...(key === undefined ? {} : { headers: { 'idempotency-key': key } }),
  });
  expect(answer.status).toBe(202);
  return answer.body;
}
const listed = async (url = ''): Promise<JobView[]> =>
  (await rig.call<{ jobs: JobView[] }>(`${url}/v1/jobs?limit=200`)).body.jobs;
const allEnd = (count: number, url = ''): Promise<JobView[]> =>
  eventually(
    () => listed(url),
    (jobs) => jobs.length === count && jobs.every(({ state }) => state === 'succeeded'),
  );

test('a new system with four partitions: every job is in one of them, and everything finds it', async () => {
  rig = await startRig({ partitions: 4 });
  await rig.workers();
  const made = await Promise.all(Array.from({ length: 32 }, (_, n) => mail(`person-${n}@example.com`, `key-${n}`)));
  const { body: image } = await rig.call<JobView>('/v1/images?notify=ada@example.com', { body: png() });
  // Each mail, the image, and the mail that says that its PDF is ready.
  await allEnd(34);
  const counts = await divided();
  expect(sum(counts)).toBe(34);
  expect(Math.min(...counts)).toBeGreaterThan(0);

  const repeated = await Promise.all(Array.from({ length: 32 }, (_, n) => mail(`person-${n}@example.com`, `key-${n}`)));
  expect(repeated.map(({ id }) => id)).toEqual(made.map(({ id }) => id));
  expect(sum(await divided())).toBe(34);

  for (const { id } of [...made.slice(0, 8), image]) {
    const { body } = await rig.call<{ events: TimelineEntry[] }>(`/v1/jobs/${id}/events`);
    expect(body.events.map(({ event }) => event)).toEqual(expect.arrayContaining(['accepted', 'succeeded']));
    const stream = await rig.call(`/v1/jobs/${id}/stream`);
    expect(stream.text).toContain('"event":"succeeded"');
  }
  for (const stream of PARTITIONS) {
    for (const consumer of ['orchestrator', 'client_callbacks', 'webhook_calls']) {
      await eventually(
        () => rig.bus.jsm.consumers.info(stream, consumer),
        ({ num_pending, num_ack_pending }) => num_pending + num_ack_pending === 0,
      );
    }
  }
  // The client side is told of every end.
  expect((await rig.bus.jsm.streams.info('CLIENTS')).state.messages).toBe(34);

  const begun = await rig.call<ErasureRecord>('/v1/erasures', { json: { recipient: 'person-3@example.com' } });
  const { body: erasure } = await eventually(
    () => rig.call<ErasureRecord>(begun.headers.get('location')!),
    ({ body }) => body.state !== 'running',
  );
  expect(erasure).toMatchObject({ state: 'finished', jobs: 1 });

  const folder = await mkdtemp(join(tmpdir(), 'sluice-partitions-'));
  try {
    await rig.gateway.stop();
    const backup = { bus: rig.bus, store: undefined, history: undefined, folder, onProgress: () => undefined };
    await makeBackup(backup);
    for await (const { config } of rig.bus.jsm.streams.list()) await rig.bus.jsm.streams.delete(config.name);
    await restoreBackup(backup);
    const restored = await rig.replica();
    expect((await allEnd(34, restored.url)).map(({ id }) => id)).toContain(image.id);
    expect((await mail('person-5@example.com', 'key-5', restored.url)).id).toBe(made[5]!.id);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
});

test('raised from one to four on a store that holds jobs: they stay where they are, end once, and keep their keys', async () => {
  const noon = (Math.floor(Date.now() / lifetimes.day) + 0.5) * lifetimes.day;
  rig = await startRig({ now: () => noon });
  const open = await Promise.all(Array.from({ length: 8 }, (_, n) => mail(`open-${n}@example.com`, `key-${n}`)));
  await rig.gateway.stop();
  const layout = await provisionSystem(rig.bus, { partitions: 4 }, noon);
  const { fromMs } = layout.layouts.at(-1)!;
  expect(layout.layouts).toEqual([
    { fromMs: 0, partitions: 1 },
    { fromMs, partitions: 4 },
  ]);
  expect(fromMs % lifetimes.day).toBe(0);
  expect(fromMs).toBeGreaterThan(noon);
  // Another start, and one with a smaller number, change nothing.
  for (const partitions of [4, 1])
    expect((await provisionSystem(rig.bus, { partitions }, noon)).layouts).toEqual(layout.layouts);

  // Until that midnight new jobs go where they went.
  const before = await rig.replica({ now: () => fromMs - 60_000 });
  await mail('before@example.com', 'at-midnight', before.url);
  expect(await divided()).toEqual([9, 0, 0, 0]);
  const after = await rig.replica({ now: () => fromMs + 60_000 });
  expect((await mail('before@example.com', 'at-midnight', after.url)).id).toBe(
    (await mail('before@example.com', 'at-midnight', before.url)).id,
  );
  // Two requests with one key on both sides of it make one job.
  for (let n = 0; n < 12; n += 1) {
    const [one, two] = await Promise.all([before, after].map(({ url }) => mail('both@example.com', `both-${n}`, url)));
    expect(one!.id).toBe(two!.id);
  }
  expect(sum(await divided())).toBe(21);
  await Promise.all(Array.from({ length: 24 }, (_, n) => mail(`new-${n}@example.com`, `new-${n}`, after.url)));
  expect(sum(await divided())).toBe(45);
  expect(Math.min(...(await divided()))).toBeGreaterThan(0);

  // The old ones end, once, and a repeat of their requests meets them.
  await rig.workers();
  await allEnd(45, after.url);
  for (const [n, { id }] of open.entries()) {
    expect((await mail(`open-${n}@example.com`, `key-${n}`, after.url)).id).toBe(id);
    const { body } = await rig.call<{ events: TimelineEntry[] }>(`${after.url}/v1/jobs/${id}/events`);
    const states = body.events.filter(({ app }) => app === 'gateway').map(({ event }) => event);
    expect(states.filter((state) => state === 'accepted' || state === 'succeeded')).toEqual(['accepted', 'succeeded']);
    expect(await rig.bus.jsm.streams.getMessage('JOBS', { last_by_subj: `jobs.${id}` })).not.toBeNull();
  }
  expect(sum(await divided())).toBe(45);

  // Who cannot read the entry would look for jobs in the wrong streams.
  await (await openBucket(rig.bus.nc, buckets.jobLayouts)).put('layouts', '{"layouts":[{"fromMs":0,"partitions":99}]}');
  await expect(readJobLayouts(rig.bus.jsm)).rejects.toThrow(/layouts of job_layouts cannot be read/);
  await expect(provisionSystem(rig.bus, { partitions: 4 }, noon)).rejects.toThrow(/cannot be read/);
});
