import { execFile } from 'node:child_process';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { jetstreamManager, type StoredMsg } from '@nats-io/jetstream';
import { buckets, openBucket } from '@sluice/messaging';
import { openSuppressions } from '@sluice/suppression';
import { afterEach, expect, test } from 'vitest';
import type { ErasureRecord } from '../src/erasure/erasures.ts';
import type { JobView } from '../src/jobs/job-view.ts';
import { defaultWebhooks } from '../src/webhooks/webhooks.ts';
import { png } from './pictures.ts';
import { eventually, startRig, type Rig } from './rig.ts';

const PERSON = 'Ada.Lovelace@example.com';
const OTHER = 'bo.ada.lovelace@example.com';
const SHORT = 'lovelace@example.com';

let rig: Rig;
afterEach(() => rig?.stop());

async function post({
  variables,
  ...json
}: {
  to: string;
  variables?: object;
  [name: string]: unknown;
}): Promise<string> {
  const mail = { template: 'welcome', variables: { name: 'A', ...variables }, ...json };
  const answer = await rig.call<JobView>('/v1/emails', { json: mail });
  expect(answer.status).toBe(202);
  return answer.body.id;
}
const state = async (id: string): Promise<string> => (await rig.call<JobView>(`/v1/jobs/${id}`)).body.state;
const ends = (id: string) =>
  eventually(
    () => state(id),
    (found) => ['succeeded', 'failed', 'cancelled'].includes(found),
  );
const announced = () =>
  eventually(
    () =>
      Promise.all(
        ['orchestrator', 'client_callbacks', 'webhook_calls'].map((name) => rig.bus.jsm.consumers.info('JOBS', name)),
      ),
    (infos) => infos.every(({ num_pending, num_ack_pending }) => num_pending + num_ack_pending === 0),
  );

async function erase(json: Record<string, unknown> = {}): Promise<ErasureRecord> {
  const begun = await rig.call<ErasureRecord>('/v1/erasures', { json: { recipient: PERSON.toLowerCase(), ...json } });
  expect(begun.status).toBe(202);
  const { body } = await eventually(
    () => rig.call<ErasureRecord>(begun.headers.get('location')!),
    (answer) => answer.body.state !== 'running',
  );
  return body;
}

/** Files of the broker that hold a text in any case, by path and how often. */
async function filesWith(text: string): Promise<Record<string, number>> {
  const found: Record<string, number> = {};
  for (const entry of await readdir(rig.nats.storeDir, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile()) continue;
    const path = join(entry.parentPath, entry.name);
    const content = (await readFile(path)).toString('latin1').toLowerCase();
    const count = content.split(text.toLowerCase()).length - 1;
    if (count > 0) found[path.slice(rig.nats.storeDir.length)] = count;
  }
  return found;
}

const valuesOf = (headers: StoredMsg['header']): string =>
  headers
    .keys()
    .flatMap((name) => headers.values(name))
    .join('\n');

/** Messages of every stream, buckets included, that hold a text in any case. */
async function messagesWith(text: string): Promise<string[]> {
  const found: string[] = [];
  const jsm = await jetstreamManager(rig.bus.nc);
  for await (const { config, state: held } of jsm.streams.list()) {
    for (let seq = Math.max(1, held.first_seq); seq <= held.last_seq; seq += 1) {
      const message = await jsm.streams.getMessage(config.name, { seq });
      const bytes =
        message === null ? '' : `${Buffer.from(message.data).toString('latin1')}${valuesOf(message.header)}`;
      if (bytes.toLowerCase().includes(text.toLowerCase())) found.push(`${config.name} ${seq}`);
    }
  }
  return found;
}

/** Jobs of a person and of another one, in every place that holds an address. */
async function populate(): Promise<{ readonly theirs: string[]; readonly others: string[] }> {
  const theirs: string[] = [];
  const others: string[] = [];
  // Nothing consumes the callbacks, and nothing answers the webhooks: both wait.
  const callbackUrl = 'http://127.0.0.1:9/hook';
  for (const [to, ids] of [
    [PERSON, theirs],
    [OTHER, others],
  ] as const) {
    ids.push(await post({ to, callbackUrl }));
    ids.push(await post({ to, variables: { name: 'fail' }, priority: 'express' }));
    ids.push(await post({ to: 'carl@example.com', replyTo: to, metadata: { customer: to } }));
    ids.push(await post({ to: 'carl@example.com', variables: { text: [`ask ${to}`] } }));
    for (const body of [png(), png(8, 6, 300_000)]) {
      ids.push((await rig.call<JobView>(`/v1/images?notify=${encodeURIComponent(to)}`, { body })).body.id);
    }
    const events = [{ app_id: 'shop', message_id: `order_${ids.length}`, event: 'paid', detail: `by ${to}` }];
    expect((await rig.call('/v1/events', { json: { events } })).status).toBe(202);
  }
  for (const id of [...theirs, ...others]) await ends(id);
  return { theirs, others };
}

const failing = {
  send: async ({ email }: { email?: { variables?: Record<string, unknown>; to: string } }) =>
    email?.variables?.['name'] === 'fail'
      ? ({ kind: 'deadLetter', reason: `550 no mailbox ${email.to}` } as const)
      : undefined,
};

test('a person who is erased is in no stream and on no disk, and the jobs of others are as they were', async () => {
  rig = await startRig({ settings: { webhooks: { ...defaultWebhooks, targets: 'any' } } });
  // Shortest that a server remembers message ids: what is told twice is stored twice.
  for (const stream of ['CLIENTS', 'WEBHOOKS']) await rig.bus.jsm.streams.update(stream, { duplicate_window: 1e8 });
  await rig.workers(failing as never);
  const { theirs, others } = await populate();
  await eventually(
    async () => (await rig.bus.jsm.streams.info('EMAILS')).state.messages,
    (left) => left === 0,
  );
  await announced();
  const before = new Map<string, unknown>();
  for (const id of [...theirs, ...others]) before.set(id, (await rig.call(`/v1/jobs/${id}`)).body);
  const streamsBefore = new Set((await messagesWith(PERSON)).map((found) => found.split(' ')[0]));
  expect(streamsBefore).toEqual(new Set(['CLIENTS', 'DLQ', 'EVENTS', 'JOBS', 'WEBHOOKS']));
  expect(Object.keys(await filesWith(PERSON)).length).toBeGreaterThan(3);
  const othersBefore = (await messagesWith(OTHER)).length;

  const found = await erase();
  // The image jobs, and the mails that say that their PDFs are ready.
  expect(found).toMatchObject({ state: 'finished', open: 0, jobs: theirs.length + 2, objects: 2 });
  expect(await messagesWith(SHORT)).toHaveLength(othersBefore);
  expect((await messagesWith(OTHER)).length).toBe(othersBefore);
  const onDisk = await filesWith(SHORT);
  expect(onDisk).toEqual(await filesWith(OTHER));

  for (const id of [...theirs, ...others]) {
    const job = (await rig.call<JobView>(`/v1/jobs/${id}`)).body;
    // The webhook of a job goes on being tried meanwhile.
    const erased = { webhook: undefined, ...(theirs.includes(id) ? { metadata: undefined } : {}) };
    expect({ ...job, ...erased }).toEqual({ ...(before.get(id) as object), ...erased });
    expect(job.metadata === undefined).toBe(theirs.includes(id) || id !== others[2]);
  }
  for (const id of theirs) {
    expect((await rig.call<{ events: { event: string }[] }>(`/v1/jobs/${id}/events`)).body.events).toContainEqual(
      expect.objectContaining({ event: 'erased', app: 'gateway' }),
    );
  }
  const keys: string[] = [];
  for await (const { key } of rig.store.list('pdf/')) keys.push(key);
  expect(keys.sort()).toEqual(
    others
      .slice(-2)
      .map((id) => `pdf/${id}.pdf`)
      .sort(),
  );

  // What tells of the ends is still there, once, and what was erased is found no more.
  expect((await rig.bus.jsm.streams.info('WEBHOOKS')).state.messages).toBe(2);
  const callbacks = (await rig.bus.jsm.streams.info('CLIENTS')).state.messages;
  expect(callbacks).toBe(theirs.length + others.length + 4);
  await announced();
  expect((await rig.bus.jsm.streams.info('CLIENTS')).state.messages).toBe(callbacks);
  const script = join(import.meta.dirname, '../src/cli/erase.ts');
  const { stdout } = await promisify(execFile)(process.execPath, [script, PERSON], {
    env: { ...process.env, SLUICE_URL: rig.gateway.url },
  });
  expect(stdout).toContain('finished: 0 jobs, 0 messages, 0 objects');
});

test('a job that has not ended is left to a later run, and the address can be suppressed until then', async () => {
  rig = await startRig();
  const id = await post({ to: PERSON });
  await eventually(
    async () => (await rig.bus.jsm.streams.info('EMAILS')).state.messages,
    (waiting) => waiting === 1,
  );
  expect(await erase({ suppress: true })).toMatchObject({ state: 'finished', jobs: 0, messages: 0, open: 1 });
  expect(await state(id)).toBe('accepted');
  const suppressions = await openSuppressions(rig.bus.nc);
  expect(await suppressions.reasonFor(PERSON, false)).toBe('manual');

  await rig.workers();
  expect(await ends(id)).toBe('succeeded');
  await announced();
  expect(await erase()).toMatchObject({ state: 'finished', jobs: 1, open: 0 });
  expect(await messagesWith(PERSON)).toEqual([]);
  expect(await filesWith(PERSON)).toEqual({});
});

test('a job whose end was not told yet is left to a later run', async () => {
  rig = await startRig();
  await rig.call('/v1/pipelines/client_callbacks:pause', { method: 'POST' });
  await eventually(
    async () => rig.gateway.pipelines().find(({ name }) => name === 'client_callbacks')?.state,
    (found) => found === 'paused',
  );
  await rig.workers();
  await ends(await post({ to: PERSON }));
  expect(await erase()).toMatchObject({ jobs: 0, open: 1 });
  await rig.call('/v1/pipelines/client_callbacks:resume', { method: 'POST' });
  await announced();
  expect(await erase()).toMatchObject({ jobs: 1, open: 0 });
  expect((await rig.bus.jsm.streams.info('CLIENTS')).state.messages).toBe(1);
});

test('one person is erased at a time, and a process that died does not keep the others from it', async () => {
  rig = await startRig();
  const kv = await openBucket(rig.bus.nc, buckets.erasures);
  await kv.put('current', JSON.stringify({ token: 'of another process', id: 'x' }));
  const refused = await rig.call('/v1/erasures', { json: { recipient: PERSON } });
  expect([refused.status, refused.body]).toEqual([409, expect.objectContaining({ code: 'erasure_running' })]);
  const later = await rig.replica({ now: () => Date.now() + 120_000 });
  expect((await rig.call(`${later.url}/v1/erasures`, { json: { recipient: PERSON } })).status).toBe(202);
});

test('a run that was interrupted goes on where it stood, and stores no address to do so', async () => {
  rig = await startRig();
  const events = Array.from({ length: 1_000 }, (_, i) => ({ app_id: 'shop', message_id: `m${i}`, event: 'e' }));
  for (let i = 0; i < 5; i += 1) await rig.call('/v1/events', { json: { events } });
  const last = { app_id: 'shop', message_id: 'last', event: 'e', detail: `for ${PERSON}` };
  await rig.call('/v1/events', { json: last });
  const stopping = await rig.replica();
  const begun = await rig.call<ErasureRecord>(`${stopping.url}/v1/erasures`, { json: { recipient: PERSON } });
  await stopping.stop();
  const path = begun.headers.get('location')!;
  expect((await rig.call<ErasureRecord>(path)).body.state).toBe('interrupted');
  expect((await messagesWith(PERSON)).map((found) => found.split(' ')[0])).toEqual(['EVENTS']);
  const found = await erase();
  expect(found).toMatchObject({ state: 'finished', messages: 1, startedAt: begun.body.startedAt });
  expect(await messagesWith(PERSON)).toEqual([]);

  // The record of it names the account of the operator alone.
  const entries: unknown[] = [];
  const { last_seq } = (await rig.bus.jsm.streams.info('AUDIT')).state;
  for (let seq = 1; seq <= last_seq; seq += 1) {
    const entry = await rig.bus.jsm.streams.getMessage('AUDIT', { seq });
    entries.push(JSON.parse(Buffer.from(entry!.data).toString()));
  }
  expect(entries).toHaveLength(4);
  expect(entries.at(-1)).toMatchObject({ action: 'erasure', by: 'local', target: 'a person', detail: { messages: 1 } });
});

test('an erased job that had failed cannot be replayed', async () => {
  rig = await startRig();
  await rig.workers(failing as never);
  const id = await post({ to: PERSON, variables: { name: 'fail' } });
  const [letter] = await eventually(
    async () => (await rig.call<{ deadLetters: { id: string }[] }>('/v1/dead-letters')).body.deadLetters,
    (letters) => letters.length === 1,
  );
  await ends(id);
  await announced();
  const replay = () => rig.call(`/v1/dead-letters/${letter!.id}:replay`, { method: 'POST' });
  expect(await erase()).toMatchObject({ jobs: 1, messages: 2 });
  expect((await replay()).status).toBe(404);
  expect((await rig.call<JobView>(`/v1/jobs/${id}`)).body).toMatchObject({ state: 'failed' });
});
