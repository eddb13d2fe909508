import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { JobView } from '../src/jobs/job-view.ts';
import { startProjection } from '../src/history/projection.ts';
import { openReadModel } from '../src/history/open-read-model.ts';
import { republish } from '../src/history/republish.ts';
import { png } from './pictures.ts';
import { eventually, startRig, type Rig } from './rig.ts';

interface Page {
  jobs: JobView[];
  next?: string;
}
let rig: Rig;
let directory: string;
beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'sluice-read-model-'));
  rig = await startRig({ settings: { readModelUrl: `sqlite:${join(directory, 'one.sqlite')}` } });
  await rig.workers({ convert: async ({ options }) => (options?.maxWidth === 13 ? 'corrupt_image' : undefined) });
  for (let i = 0; i < 6; i += 1) {
    await rig.call('/v1/emails', {
      json: { to: `person-${i % 2}@example.com`, template: 'welcome', variables: { name: 'Ada' } },
    });
  }
  for (let i = 0; i < 4; i += 1)
    await rig.call(`/v1/images?${i === 0 ? 'maxWidth=13&' : ''}notify=ada@example.com`, { body: png() });
  // Three images that succeed send three mails more.
  await eventually(
    list,
    ({ jobs }) => jobs.length === 13 && jobs.every(({ state }) => state === 'succeeded' || state === 'failed'),
  );
});
afterAll(async () => {
  await rig?.stop();
  await rm(directory, { recursive: true, force: true });
});

const list = async (query = ''): Promise<Page> => (await rig.call<Page>(`/v1/jobs?limit=200&${query}`)).body;

describe('the history of jobs', () => {
  test('lists them newest first, a page at a time, each once', async () => {
    const all = await list();
    const seen: string[] = [];
    let cursor = '';
    for (;;) {
      const { body } = await rig.call<Page>(`/v1/jobs?limit=4${cursor}`);
      seen.push(...body.jobs.map(({ id }) => id));
      if (body.next === undefined) break;
      cursor = `&cursor=${body.next}`;
    }
    expect(seen).toEqual(all.jobs.map(({ id }) => id));
    expect(all.jobs.map(({ createdAt }) => createdAt)).toEqual(
      all.jobs
        .map(({ createdAt }) => createdAt)
        .sort()
        .reverse(),
    );
  });

  test('filters by kind, state, recipient and time', async () => {
    expect((await list('kind=image')).jobs).toHaveLength(4);
    expect((await list('kind=email')).jobs).toHaveLength(9);
    expect((await list('state=failed')).jobs).toMatchObject([{ kind: 'image', error: { code: 'corrupt_image' } }]);
    expect((await list('recipient=PERSON-0@example.com')).jobs).toHaveLength(3);
    expect((await list('recipient=ada@example.com&kind=image')).jobs).toHaveLength(4);
    expect((await list('since=2100-01-01T00:00:00Z')).jobs).toEqual([]);
    expect((await list('until=2100-01-01T00:00:00Z&state=running')).jobs).toEqual([]);
  });

  test('says the same of a job as the job itself', async () => {
    for (const job of (await list()).jobs) expect((await rig.call(`/v1/jobs/${job.id}`)).body).toEqual(job);
  });

  test.each(['limit=0', 'limit=201', 'state=odd', 'cursor=%00', 'cursor=bm9uc2Vuc2U', 'since=noon', 'colour=red'])(
    'refuses %s',
    async (query) => {
      expect((await rig.call(`/v1/jobs?${query}`)).status).toBe(400);
    },
  );
});

describe('the read model', () => {
  test('made anew from the streams answers byte for byte as before', async () => {
    await rig.call('/v1/flows/shop', { method: 'PUT', json: { events: ['a', 'b', 'c'] } });
    const events = Array.from({ length: 30 }, (_, i) => ({
      app_id: 'shop',
      message_id: `m${i % 7}`,
      event: 'abc'[(i * 5) % 3],
    }));
    await rig.call('/v1/events', { json: { events: events.slice(0, 12) } });
    const incomplete = () => rig.call<{ messages: { missing: string[] }[] }>('/v1/messages/shop');
    await eventually(incomplete, ({ body }) => body.messages.length > 0);

    const path = join(directory, 'two.sqlite');
    const model = await openReadModel(`sqlite:${path}`, console as never);
    const steps: number[] = [];
    const projection = startProjection({
      jobStreams: ['JOBS'],
      bus: rig.bus,
      model,
      log: console as never,
      onProgress: (done) => steps.push(done),
    });
    await projection.caughtUp;
    await projection.close();
    await model.close();
    expect(steps.at(-1)).toBeGreaterThan(25);

    const other = await rig.replica({ settings: { readModelUrl: `sqlite:${path}` } });
    await other.caughtUp;
    for (const question of [
      '/v1/jobs?limit=200',
      '/v1/jobs?kind=image',
      '/v1/messages/shop',
      '/v1/jobs?recipient=ada@example.com',
    ]) {
      // The first of them follows the streams, and may have yet to hear the last of them.
      const { text } = await rig.call(`${other.url}${question}`);
      await expect.poll(async () => (await rig.call(question)).text).toBe(text);
    }
  });
});

describe('replaying a stretch of a stream', () => {
  const settings = { stream: 'EVENTS', name: 'again', perSecond: 1e6, dryRun: false, onProgress: () => undefined };
  const count = async (id: string) =>
    (await rig.call<{ events: object[] }>(`/v1/messages/again/${id}`)).body.events.length;

  test('publishes each message once more, however often it is repeated', async () => {
    for (let i = 0; i < 5; i += 1) {
      await rig.call('/v1/events', { json: { app_id: 'again', message_id: `r${i % 2}`, event: `e${i}` } });
    }
    const { state } = await rig.bus.jsm.streams.info('EVENTS');
    const stretch = { ...settings, bus: rig.bus, filter: 'events.again.r0', to: state.last_seq };
    expect(await republish({ ...stretch, from: 1, dryRun: true })).toBe(3);
    expect(await count('r0')).toBe(3);
    expect(await republish({ ...stretch, from: 1 })).toBe(3);
    expect(await republish({ ...stretch, from: 1 })).toBe(3);
    expect([await count('r0'), await count('r1')]).toEqual([6, 2]);
  });

  test('begins at a time as well as at a sequence, and ends where it is told', async () => {
    const { state } = await rig.bus.jsm.streams.info('EVENTS');
    const all = { ...settings, bus: rig.bus, dryRun: true };
    const whole = await republish({ ...all, from: 1 });
    expect(await republish({ ...all, from: new Date(0) })).toBe(whole);
    expect(await republish({ ...all, from: new Date(Date.now() + 3_600_000) })).toBe(0);
    expect(await republish({ ...all, from: state.last_seq - 1, to: state.last_seq - 1 })).toBe(1);
  });
});

describe('a job that JOBS has forgotten', () => {
  const forget = (id: string) => rig.bus.jsm.streams.purge('JOBS', { filter: `jobs.${id}` });

  test('is answered as it ended, to its own account, with what is known of its events', async () => {
    const [failed, succeeded] = await Promise.all(
      ['failed', 'succeeded'].map(async (state) => (await list(`kind=image&state=${state}`)).jobs[0]!),
    );
    for (const job of [failed!, succeeded!]) {
      const at = `/v1/jobs/${job.id}`;
      const events = (await rig.call<{ events: { event: string }[] }>(`${at}/events`)).body.events;
      await forget(job.id);
      const { body, headers } = await rig.call(at);
      expect(body).toEqual(job);
      expect((await rig.call(at, { headers: { 'if-none-match': headers.get('etag')! } })).status).toBe(304);
      const left = (await rig.call<{ events: typeof events }>(`${at}/events`)).body;
      // Of the states, the first and the last; what services said is kept as long as EVENTS keeps it.
      expect(left.events.map(({ event }) => event).sort()).toEqual(events.map(({ event }) => event).sort());
      expect(left.events[0]).toMatchObject({ event: 'accepted', state: 'accepted', at: job.createdAt });
      expect(left.events.find(({ event }) => event === job.state)).toMatchObject({ at: job.updatedAt, attempt: 1 });
      expect((await rig.call(`${at}/stream`)).status).toBe(204);
      expect((await rig.call(at, { method: 'DELETE' })).body).toMatchObject({ code: 'job_finished' });
      for (const part of ['request', 'sources/0']) {
        const { status, body: problem } = await rig.call(`${at}/${part}`);
        expect([status, problem['detail']]).toEqual([404, expect.stringContaining('not kept any more')]);
      }
    }
    expect((await rig.call(`/v1/jobs/${failed!.id}/pdf`)).body).toMatchObject({ code: 'corrupt_image' });
    expect((await rig.call(`/v1/jobs/${succeeded!.id}/pdf`)).status).toBe(302);
    expect((await rig.call('/v1/jobs/job_aaaaaaaaaaaaaaaaaaaaaaaaaa')).status).toBe(404);
  });
});
