// `pnpm backup` and `pnpm restore`: everything is lost, and is then as it was.
import { execFile } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { appendFile, mkdtemp, rm, stat, truncate } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { buckets, openBucket } from '@sluice/messaging';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createKey } from '../src/accounts/api-keys.ts';
import { makeBackup, type BackupSettings } from '../src/backup/make-backup.ts';
import { restoreBackup } from '../src/backup/restore-backup.ts';
import { cleanedPrefixes } from '../src/uploads/cleanup.ts';
import { grant } from '../src/credits/ledger.ts';
import { pricesFrom } from '../src/jobs/kinds/index.ts';
import type { JobView } from '../src/jobs/job-view.ts';
import { png } from './pictures.ts';
import { eventually, startRig, type Rig } from './rig.ts';

const credits = { prices: { ...pricesFrom(() => 0), image: 5, email: 2 }, graceMs: 60_000 };
const CREDITS_GIVEN = 10_000;
let directory: string;
let rig: Rig;
let headers: Record<string, string>;
let historyFile: string;

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'sluice-backup-'));
  historyFile = join(directory, 'history.sqlite');
  rig = await startRig({ settings: { auth: 'keys', credits, readModelUrl: `sqlite:${historyFile}` } });
  const { key } = await createKey(await openBucket(rig.bus.nc, buckets.apiKeys), 'acme', [
    'jobs:write',
    'jobs:read',
    'account:read',
  ]);
  await grant(rig.bus, 'acme', CREDITS_GIVEN, 'to begin with', Date.now());
  headers = { authorization: `Bearer ${key}` };
  await eventually(
    () => rig.call('/v1/accounts/me', { headers }),
    ({ status }) => status === 200,
  );
});
afterAll(async () => {
  await rig?.stop();
  await rm(directory, { recursive: true, force: true });
});

interface Ended {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}
function command(name: 'backup' | 'restore', ...args: string[]): Promise<Ended> {
  const env = {
    ...process.env,
    SLUICE_ENV: 'dev',
    NATS_URL: rig.nats.url,
    S3_ENDPOINT: rig.s3.url,
    S3_REGION: rig.s3.region,
    S3_ACCESS_KEY_ID: rig.s3.accessKeyId,
    S3_SECRET_ACCESS_KEY: rig.s3.secretAccessKey,
    READ_MODEL_URL: `sqlite:${historyFile}`,
  };
  return new Promise((resolve) => {
    execFile(
      process.execPath,
      [join(import.meta.dirname, '../src/cli', `${name}.ts`), ...args],
      { env },
      (error, stdout, stderr) => resolve({ code: Number(error?.code ?? 0), stdout, stderr }),
    );
  });
}

const mail = (n: number) =>
  rig.call<JobView>('/v1/emails', {
    json: { to: `person-${n}@example.com`, template: 'welcome', variables: { name: 'Ada' } },
    headers,
  });
const image = () => rig.call<JobView>('/v1/images', { body: png(), headers });
const jobs = async (url = '') =>
  (await rig.call<{ jobs: JobView[] }>(`${url}/v1/jobs?limit=200`, { headers })).body.jobs;
const balance = async (url = '') =>
  (await rig.call<{ credits: { balance: number } }>(`${url}/v1/accounts/me`, { headers })).body.credits.balance;

/** What every stream holds, and how far its consumers are. */
async function broker(): Promise<Record<string, unknown>> {
  const found: Record<string, unknown> = {};
  for await (const { config, state } of rig.bus.jsm.streams.list()) {
    const consumers: unknown[] = [];
    for await (const { name, ack_floor, num_pending, num_ack_pending } of rig.bus.jsm.consumers.list(config.name)) {
      // Followers of this test's gateway are made at its start and gone with it.
      if (!name.includes('oc_') && config.name !== 'KV_pipelines')
        consumers.push({
          name,
          num_pending,
          num_ack_pending,
          // Of a work queue the messages that are left say it.
          ...(config.retention === 'limits' ? { acked: ack_floor.stream_seq } : {}),
        });
    }
    const { messages, first_seq, last_seq, bytes, last_ts } = state;
    // An empty stream has lost the times of its messages when it is restored.
    found[config.name] = { messages, last_seq, bytes, consumers, ...(messages > 0 ? { first_seq, last_ts } : {}) };
  }
  return found;
}

async function objects(): Promise<Record<string, string>> {
  const found: Record<string, string> = {};
  for (const prefix of cleanedPrefixes) {
    for await (const { key } of rig.store.list(prefix)) {
      const { body, contentType } = await rig.store.get(key);
      const hash = createHash('sha256');
      for await (const part of body) hash.update(part as Buffer);
      found[key] = `${contentType} ${hash.digest('hex')}`;
    }
  }
  return found;
}

/** Every volume is empty, as on a new machine. */
async function loseEverything(): Promise<void> {
  await rig.nats.kill();
  await rm(join(rig.nats.storeDir, 'jetstream'), { recursive: true });
  await rig.nats.restart();
  await eventually(
    () =>
      rig.bus.jsm.getAccountInfo().then(
        () => true,
        () => false,
      ),
    (connected) => connected,
  );
  for (const key of Object.keys(await objects())) await rig.store.delete(key);
  for (const suffix of ['', '-wal', '-shm']) await rm(historyFile + suffix, { force: true });
}

/** Every lane, and the results. */
async function queuesAreEmpty(): Promise<void> {
  for (const name of ['IMAGES', 'EMAILS', 'USERS']) {
    await eventually(
      () => rig.bus.jsm.streams.info(name),
      ({ state }) => state.messages === 0,
    );
  }
}

const accepted: string[] = [];
let before: { broker: unknown; objects: unknown; jobs: JobView[] };

const lines: string[] = [];
const settings = (folder: string, parts: Partial<BackupSettings> = {}): BackupSettings => ({
  bus: rig.bus,
  store: rig.store,
  history: undefined,
  folder: join(directory, folder),
  onProgress: (line) => void lines.push(line),
  ...parts,
});

describe('a backup', () => {
  test('is refused where it could not be whole, and says what to do', async () => {
    const none = await command('backup', join(directory, 'x'), '--without', 'streams');
    expect(none).toMatchObject({ code: 2, stderr: expect.stringContaining('objects or history') as string });
    const history = { kind: 'sqlite', path: historyFile } as const;
    await expect(makeBackup(settings('locked', { history }))).rejects.toThrow(/stop its gateway/);
    await expect(makeBackup(settings('.'))).rejects.toThrow(/is not empty/);
    await expect(makeBackup(settings('y', { history: { ...history, path: '/nowhere' } }))).rejects.toThrow(
      /no history at \/nowhere/,
    );
  });

  test('is made while the system works', async () => {
    await rig.store.put('attachments/acme/large', randomBytes(9 * 2 ** 20), { contentType: 'text/csv' });
    const workers = await rig.workers();
    for (let n = 0; n < 6; n += 1) accepted.push((await mail(n)).body.id, (await image()).body.id);
    const stopping = new AbortController();
    const load = (async () => {
      for (let n = 100; !stopping.signal.aborted; n += 1) await mail(n);
    })();
    await makeBackup(settings('busy'));
    stopping.abort();
    await load;
    await workers.stop();
    expect(lines.slice(0, 3)).toEqual([
      expect.stringMatching(/^stream {3}USERS/) as string,
      expect.stringMatching(/^stream {3}RESULTS/) as string,
      expect.stringMatching(/^stream {3}JOBS, \d{2,} messages$/) as string,
    ]);
  });

  test('holds everything, down to each object', async () => {
    // Three jobs wait: no worker is there.
    for (let n = 0; n < 2; n += 1) accepted.push((await mail(n)).body.id);
    accepted.push((await image()).body.id);
    await eventually(jobs, (all) => accepted.every((id) => all.some((job) => job.id === id)));
    const waiting = async () => (await rig.bus.jsm.streams.info('IMAGES')).state.messages;
    await eventually(waiting, (count) => count >= 1);
    const listed = await jobs();
    await rig.gateway.stop();
    before = { broker: await broker(), objects: await objects(), jobs: listed };
    expect(Object.keys(before.objects as object).length).toBeGreaterThan(6);
    const made = await command('backup', join(directory, 'whole'));
    expect(made).toMatchObject({ code: 0, stderr: '' });
    expect(made.stdout).toMatch(/^history {2}\d+ bytes\n[^]*\nobjects {2}\d+\n\d+ streams/);
  });
});

describe('a restore', () => {
  test('is refused into a broker that has streams, and changes none', async () => {
    await expect(restoreBackup(settings('busy'))).rejects.toThrow(/the stream \w+ is there already/);
    await expect(restoreBackup(settings('nowhere'))).rejects.toThrow(/holds no finished backup/);
    const history = { kind: 'sqlite', path: historyFile } as const;
    await expect(restoreBackup(settings('busy', { history }))).rejects.toThrow(/made without history/);
    await expect(restoreBackup(settings('whole', { history }))).rejects.toThrow(/there is a history already/);
    expect(await broker()).toEqual(before.broker);
  });

  test('after the loss of everything, refuses a damaged file, and brings back every message, object and job', async () => {
    await loseEverything();
    await appendFile(join(directory, 'busy/streams/DLQ'), 'x');
    await expect(restoreBackup(settings('busy'))).rejects.toThrow(/streams\/DLQ is damaged/);
    expect(await broker()).toEqual({});
    await truncate(join(directory, 'busy/streams/DLQ'), (await stat(join(directory, 'busy/streams/DLQ'))).size - 1);

    await restoreBackup(settings('whole'));
    // As if it had broken off here: what is there as a whole is left alone.
    const rest = await command('restore', join(directory, 'whole'));
    expect(rest).toMatchObject({ code: 0, stderr: '' });
    expect(rest.stdout).toMatch(/^objects {2}\d+\nhistory {2}\d+ bytes\nThe state of /);
    expect(await broker()).toEqual(before.broker);
    expect(await objects()).toEqual(before.objects);

    const gateway = await rig.replica({ settings: { auth: 'keys', credits, readModelUrl: `sqlite:${historyFile}` } });
    const url = gateway.url ?? '';
    await eventually(
      () => rig.call(`${url}/v1/accounts/me`, { headers }),
      ({ status }) => status === 200,
    );
    expect(await jobs(url)).toEqual(before.jobs);
    const left = before.jobs.reduce((sum, { kind }) => sum - credits.prices[kind as 'image' | 'email'], CREDITS_GIVEN);
    expect(await balance(url)).toBe(left);

    // What waited is worked on, and nothing that was done is done again.
    const sent: string[] = [];
    const workers = await rig.workers({ send: async ({ jobId }) => void sent.push(jobId) });
    await queuesAreEmpty();
    await eventually(
      () => jobs(url),
      (all) => all.length === before.jobs.length && all.every(({ state }) => state === 'succeeded'),
    );
    await workers.stop();
    const open = before.jobs.filter(({ kind, state }) => kind === 'email' && state !== 'succeeded').map(({ id }) => id);
    expect(sent.toSorted()).toEqual(open.toSorted());
    expect(await balance(url)).toBe(left);
    await gateway.stop();
  });

  test('of a backup that was made under load has every job that was accepted before it', async () => {
    await loseEverything();
    await restoreBackup(settings('busy'));
    const gateway = await rig.replica({
      // Work that was done between two snapshots is done again once the reconciler misses it.
      settings: { auth: 'keys', credits, reconciling: { graceMs: 500, everyMs: 100, pageMs: 1 } },
    });
    const url = gateway.url ?? '';
    await eventually(
      () => rig.call(`${url}/v1/accounts/me`, { headers }),
      ({ status }) => status === 200,
    );
    const workers = await rig.workers();
    const early = accepted.slice(0, 12);
    await eventually(
      () => jobs(url),
      (all) => early.every((id) => all.some((job) => job.id === id)) && all.every(({ state }) => state === 'succeeded'),
    );
    await workers.stop();
    await gateway.stop();
  });
});
