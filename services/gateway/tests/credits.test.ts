import { timestampMs } from '@bufbuild/protobuf/wkt';
import { JobState, type Job } from '@sluice/contracts';
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { buckets, openBucket } from '@sluice/messaging';
import { isTerminal, jobIdFor, jobLog, newJobId, stateName } from '@sluice/jobs';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { acceptJob, type AcceptDeps } from '../src/jobs/accept/accept-job.ts';
import { keyGeneration } from '../src/jobs/accept/idempotency.ts';
import { newEmailJob } from '../src/jobs/accept/email-request.ts';
import { createKey } from '../src/accounts/api-keys.ts';
import { openCredits, type Credits, type CreditSettings } from '../src/credits/credits.ts';
import { pricesFrom } from '../src/jobs/kinds/index.ts';
import { grant, statement } from '../src/credits/ledger.ts';
import type { JobView } from '../src/jobs/job-view.ts';
import { eventually, startRig, type Rig } from './rig.ts';

const prices = { ...pricesFrom(() => 0), image: 5, email: 2 };
const settings: CreditSettings = { prices, graceMs: 60_000 };
/** What the workers of a test do with a mail, by its recipient. */
const fails = 'fails@example.test';
let rig: Rig;
beforeAll(async () => {
  rig = await startRig({ settings: { auth: 'keys', credits: settings } });
  await rig.workers({
    send: async ({ email }) => (email?.to === fails ? { kind: 'deadLetter', reason: 'as asked' } : undefined),
  });
});
afterAll(() => rig?.stop());

/** An account with a key of its own, and so many credits. */
async function account(name: string, credits: number) {
  const { key } = await createKey(await openBucket(rig.bus.nc, buckets.apiKeys), name, [
    'jobs:write',
    'jobs:read',
    'account:read',
  ]);
  if (credits > 0) await grant(rig.bus, name, credits, 'to begin with', Date.now());
  const headers = { authorization: `Bearer ${key}` };
  // The key is known to the gateway once its watch has told it.
  await eventually(
    () => rig.call('/v1/accounts/me', { headers }),
    ({ status }) => status === 200,
  );
  const balance = async () =>
    (await rig.call<{ credits: { balance: number } }>('/v1/accounts/me', { headers })).body.credits.balance;
  return {
    name,
    balance,
    mail: (to = 'ada@example.test', extra: Record<string, string> = {}) =>
      rig.call<JobView>('/v1/emails', {
        json: { to, template: 'welcome', variables: { name: 'Ada' } },
        headers: { ...headers, ...extra },
      }),
    get: <Body = Record<string, unknown>>(path: string) => rig.call<Body>(path, { headers }),
    cancel: (id: string) => rig.call(`/v1/jobs/${id}`, { method: 'DELETE', headers }),
    becomes: (wanted: number) => eventually(balance, (seen) => seen === wanted),
  };
}

/** The entries of an account as `kind amount jobId`, oldest first. */
async function ledgerOf(name: string) {
  const entries = [];
  for await (const { entry } of statement(rig.bus, name)) entries.unshift(entry);
  return entries;
}

describe('a job', () => {
  test('is charged for when it is accepted, and stays so when it succeeds', async () => {
    const ada = await account('ada', 10);
    const { body: job } = await ada.mail('ada@example.test', { prefer: 'wait=10' });
    expect([job.state, await ada.balance()]).toEqual(['succeeded', 8]);
  });

  test('is paid back once when it fails for good', async () => {
    const bob = await account('bob', 10);
    const { body: job } = await bob.mail(fails, { prefer: 'wait=10' });
    expect(job.state).toBe('failed');
    await bob.becomes(10);
    expect((await ledgerOf('bob')).map(({ amount, jobId, note }) => [Number(amount), jobId, note])).toEqual([
      [10, '', 'to begin with'],
      [-2, job.id, ''],
      [2, job.id, 'failed'],
    ]);
  });

  test('is paid back when it is cancelled', async () => {
    const eve = await account('eve', 4);
    // Cancelled before its work is done or after: either way what is left says what became of it.
    const { body: job } = await eve.mail();
    await eve.cancel(job.id);
    const { job: ended } = await eventually(
      async () => (await jobLog(rig.bus).read(job.id, 'leader'))!,
      (record) => isTerminal(record.job.state),
    );
    await eve.becomes(stateName(ended.state) === 'cancelled' ? 4 : 2);
  });

  test('that cannot be paid for is refused, and nothing is accepted', async () => {
    const poor = await account('poor', 3);
    expect((await poor.mail()).status).toBe(202);
    const refused = await poor.mail('poor@example.test', { 'idempotency-key': 'k1' });
    expect(refused).toMatchObject({ status: 402, body: { code: 'insufficient_credits' } });
    expect(await jobLog(rig.bus).read(jobIdFor('poor', 'k1', keyGeneration(Date.now())))).toBeUndefined();
    expect(await poor.balance()).toBe(1);
  });

  test('is charged once however often its request is repeated', async () => {
    const kim = await account('kim', 10);
    const answers = await Promise.all(
      Array.from({ length: 8 }, () => kim.mail('kim@example.test', { 'idempotency-key': 'same' })),
    );
    expect(new Set(answers.flatMap(({ status, body }) => (status === 202 ? [body.id] : []))).size).toBe(1);
    expect((await kim.mail('kim@example.test', { 'idempotency-key': 'same' })).status).toBe(202);
    expect(await kim.balance()).toBe(8);
  });
});

describe('an account', () => {
  test('reads its statement newest first, page by page', async () => {
    const lea = await account('lea', 100);
    for (let i = 0; i < 5; i += 1) await lea.mail();
    interface Page {
      transactions: { id: string; kind: string; amount: number; balance: number; jobId?: string }[];
      nextCursor?: string;
    }
    const seen: Page['transactions'] = [];
    for (let cursor: string | undefined = ''; cursor !== undefined;) {
      const query: string = `limit=2${cursor === '' ? '' : `&cursor=${cursor}`}`;
      const { body }: { body: Page } = await lea.get<Page>(`/v1/accounts/me/transactions?${query}`);
      seen.push(...body.transactions);
      cursor = body.nextCursor;
    }
    expect(seen.map(({ kind, amount, balance }) => [kind, amount, balance])).toEqual([
      ['charge', -2, 90],
      ['charge', -2, 92],
      ['charge', -2, 94],
      ['charge', -2, 96],
      ['charge', -2, 98],
      ['grant', 100, 100],
    ]);
  });

  test('sees nothing of another one, with any made-up cursor', async () => {
    const mia = await account('mia', 0);
    for (const cursor of ['1', '2', '999999']) {
      const { body } = await mia.get(`/v1/accounts/me/transactions?cursor=${cursor}`);
      expect(body).toEqual({ transactions: [] });
    }
    expect((await mia.get('/v1/accounts/me/transactions?cursor=abc')).status).toBe(400);
  });

  test('is given credits from the command line, which is written down', async () => {
    const run = promisify(execFile);
    const cli = new URL('../src/cli/credits.ts', import.meta.url).pathname;
    const env = { ...process.env, NATS_URL: rig.nats.url };
    const grantTwo = await run(process.execPath, [cli, 'grant', 'cli', '20', 'a', 'gift'], { env });
    expect(grantTwo.stdout).toBe('cli has 20 credits\n');
    expect((await run(process.execPath, [cli, 'list', 'cli'], { env })).stdout).toMatch(
      /^\d+ {2}20 {2}20 {4}a gift\n$/,
    );
    const told = await rig.bus.jsm.streams.getMessage('AUDIT', { last_by_subj: 'audit.credits_grant' });
    expect(told?.json()).toMatchObject({ target: 'cli', detail: { amount: 20 } });
  });
});

describe('without credits', () => {
  test('an account is who it is, and has no statement', async () => {
    const free = await rig.replica({ settings: { auth: 'off' } });
    const { body } = await rig.call<{ credits?: unknown }>(`${free.url}/v1/accounts/me`);
    expect(body).toMatchObject({ id: 'local', scopes: ['*'] });
    expect(body.credits).toBeUndefined();
    expect((await rig.call(`${free.url}/v1/accounts/me/transactions`)).status).toBe(404);
  });
});

describe('the ledger', () => {
  const open = (now: () => number = Date.now): Credits =>
    openCredits({ bus: rig.bus, jobs: jobLog(rig.bus), now, jobStreams: ['JOBS'] }, settings);
  const newJob = (to: string, name: string) =>
    newEmailJob(
      { to, template: 'welcome', variables: { name: 'Ada' } },
      {
        account: name,
        trace: { traceId: 'a'.repeat(32), traceparent: `00-${'a'.repeat(32)}-${newJobId().slice(-16)}-01` },
      },
    );
  /** What a look at every charge of an account finds, when the clock is `aheadMs` ahead. */
  async function check(name: string, aheadMs: number): Promise<Record<string, number>> {
    const credits = open(() => Date.now() + aheadMs);
    const found: Record<string, number> = {};
    for await (const posted of statement(rig.bus, name)) {
      const finding = await credits.checkCharge(posted, timestampMs(posted.entry.at!));
      if (finding !== 'not-a-charge') found[finding] = (found[finding] ?? 0) + 1;
    }
    return found;
  }
  const HOUR_MS = 3_600_000;

  test('cannot be deleted from', async () => {
    await grant(rig.bus, 'fixed', 1, '', Date.now());
    await expect(rig.bus.jsm.streams.purge('CREDITS')).rejects.toThrow();
    await expect(rig.bus.jsm.streams.deleteMessage('CREDITS', 1)).rejects.toThrow();
  });

  test('is not read at a start, however long it is', async () => {
    const entries = 5_000;
    for (let i = 0; i < entries; i += 500) {
      await Promise.all(Array.from({ length: 500 }, (_, j) => grant(rig.bus, `long-${i + j}`, 1, '', Date.now())));
    }
    const before = rig.bus.nc.stats().inMsgs;
    const credits = open();
    expect(await credits.balance('long-17')).toBe(1);
    await credits.charge('long-18', newJobId(), 1);
    // The gateway of this connection may do other things meanwhile, but it is not reading these.
    expect(rig.bus.nc.stats().inMsgs - before).toBeLessThan(entries / 10);
  });

  test('keeps what succeeded jobs cost, also once JOBS has forgotten them', async () => {
    const old = await account('old', 10);
    const ids: string[] = [];
    for (let i = 0; i < 3; i += 1) ids.push((await old.mail('old@example.test', { prefer: 'wait=10' })).body.id);
    expect(await check('old', HOUR_MS)).toEqual({ claimed: 3 });
    for (const id of ids) await rig.bus.jsm.streams.purge('JOBS', { filter: `jobs.${id}` });
    expect(await check('old', 7.5 * 24 * HOUR_MS)).toEqual({ unverifiable: 3 });
    expect(await old.balance()).toBe(4);
  });

  test('asks the broker little more than once for a charge too old to be compared', async () => {
    const charges = 60;
    const later = open(() => Date.now() + 7.5 * 24 * HOUR_MS);
    await grant(rig.bus, 'aged', charges, '', Date.now());
    for (let i = 0; i < charges; i += 1) await open().charge('aged', newJobId(), 1);
    const posted = [];
    for await (const each of statement(rig.bus, 'aged')) posted.push(each);
    const before = rig.bus.nc.stats().outMsgs;
    const looks = await Promise.all(posted.map((each) => later.checkCharge(each, timestampMs(each.entry.at!))));
    expect(looks.filter((finding) => finding === 'unverifiable')).toHaveLength(charges);
    expect(rig.bus.nc.stats().outMsgs - before).toBeLessThan(1.5 * charges);
  });

  test('takes back the charge of a job that was never made, once, in concurrent checks', async () => {
    await grant(rig.bus, 'lost', 10, '', Date.now());
    // The process that charged died before it could accept.
    await open().charge('lost', newJobId(), 2);
    expect(await check('lost', 0)).toEqual({ young: 1 });
    expect(await open().balance('lost')).toBe(8);
    const looks = await Promise.all([check('lost', HOUR_MS), check('lost', HOUR_MS), check('lost', HOUR_MS)]);
    expect(looks).toEqual([{ reversed: 1 }, { reversed: 1 }, { reversed: 1 }]);
    expect(await open().balance('lost')).toBe(10);
    expect((await ledgerOf('lost')).map(({ amount }) => Number(amount))).toEqual([10, -2, 2]);
  });

  test('takes it back by itself', async () => {
    const other = await startRig({ settings: { auth: 'off', credits: { prices, graceMs: 50 } } });
    await grant(other.bus, 'itself', 10, '', Date.now());
    const credits = openCredits(
      { bus: other.bus, jobs: jobLog(other.bus), now: Date.now, jobStreams: ['JOBS'] },
      settings,
    );
    await credits.charge('itself', newJobId(), 2);
    await eventually(
      () => credits.balance('itself'),
      (balance) => balance === 10,
    );
    await other.stop();
  });

  test('charges a request that is repeated after such a crash once', async () => {
    await grant(rig.bus, 'again', 10, '', Date.now());
    const deps: AcceptDeps = { log: jobLog(rig.bus), now: Date.now, credits: open() };
    await deps.credits!.charge('again', jobIdFor('again', 'crashed', keyGeneration(Date.now())), 2);
    const { repeated, job } = await acceptJob(deps, newJob('again@example.test', 'again'), 'crashed');
    expect([repeated, job.charge > 0n]).toEqual([false, true]);
    expect(await check('again', HOUR_MS)).toEqual({ reversed: 1, claimed: 1 });
    expect(await open().balance('again')).toBe(8);
  });

  test('charges a job that was made after its charge had been taken back', async () => {
    await grant(rig.bus, 'late', 10, '', Date.now());
    const credits = open();
    const job = (state: JobState, id: string, charge: bigint) =>
      ({ id, account: 'late', state, replays: 0, credits: 2, charge }) as Job;
    for (const state of [JobState.SUCCEEDED, JobState.FAILED]) {
      const id = newJobId();
      const before = await credits.balance('late');
      const charge = await credits.charge('late', id, 2);
      await check('late', HOUR_MS);
      for (let i = 0; i < 2; i += 1) await credits.complete(job(state, id, charge));
      expect(await credits.balance('late')).toBe(state === JobState.SUCCEEDED ? before - 2 : before);
    }
  });

  test('charges a run that an operator started again when it succeeds, in any order of events', async () => {
    await grant(rig.bus, 'replayed', 10, '', Date.now());
    const credits = open();
    for (const turned of [false, true]) {
      const id = newJobId();
      const before = await credits.balance('replayed');
      const charge = await credits.charge('replayed', id, 2);
      const job = (state: JobState, replays: number) =>
        ({ id, account: 'replayed', state, replays, credits: 2, charge }) as Job;
      const ends = [job(JobState.FAILED, 0), job(JobState.FAILED, 1), job(JobState.SUCCEEDED, 2)];
      for (const end of turned ? ends.reverse() : ends) {
        await Promise.all([open().complete(end), credits.complete(end)]);
        await credits.complete(end);
      }
      expect(await credits.balance('replayed')).toBe(before - 2);
    }
  });

  test('refunds more jobs at once than the broker takes batches', async () => {
    const credits = open();
    const jobs = Array.from({ length: 200 }, (_, i) => ({
      id: newJobId(),
      account: `batch-${i}`,
      state: JobState.FAILED,
      replays: 0,
      credits: 2,
      charge: 0n,
    }));
    await Promise.all(jobs.map((job) => credits.complete(job as Job)));
    const balances = await Promise.all(jobs.map(({ account: name }) => credits.balance(name)));
    expect(new Set(balances)).toEqual(new Set([2]));
  });

  test('adds up with many writers, of which some die between the charge and the job', async () => {
    const name = 'crowd';
    const start = 200;
    await grant(rig.bus, name, start, '', Date.now());
    const replicas = [open(), open(), open()];
    const log = jobLog(rig.bus);
    let refused = 0;
    const requests = 150;
    await Promise.all(
      Array.from({ length: requests }, async (_, i) => {
        const to = i % 5 === 0 ? fails : 'crowd@example.test';
        // Every seventh process dies after the charge; every third request is repeated elsewhere.
        const key = `crowd-${i}`;
        const asked =
          i % 7 === 0
            ? [replicas[i % 3]!.charge(name, jobIdFor(name, key, keyGeneration(Date.now())), 2)]
            : [replicas[i % 3]!, ...(i % 3 === 0 ? [replicas[(i + 1) % 3]!] : [])].map((credits) =>
                acceptJob({ log, now: Date.now, credits }, newJob(to, name), key),
              );
        for (const answer of await Promise.allSettled(asked)) {
          if (answer.status === 'fulfilled') continue;
          expect(answer.reason).toMatchObject({ code: 'insufficient_credits' });
          refused += 1;
        }
      }),
    );
    expect(refused).toBeGreaterThan(0);
    const stateOf = async (_: unknown, i: number) =>
      (await log.read(jobIdFor(name, `crowd-${i}`, keyGeneration(Date.now())), 'leader'))?.job.state;
    const ended = await eventually(
      () => Promise.all(Array.from({ length: requests }, stateOf)),
      (states) => states.every((state) => state === undefined || isTerminal(state)),
    );
    await check(name, HOUR_MS);
    const succeeded = ended.filter((state) => state === JobState.SUCCEEDED).length;
    await eventually(
      () => replicas[0]!.balance(name),
      (balance) => balance === start - 2 * succeeded,
    );
    // The statement says the same as the sum of its entries, without a gap and never below zero.
    let balance = 0n;
    for (const entry of await ledgerOf(name)) {
      balance += entry.amount;
      expect(entry.balance).toBe(balance);
      expect(balance).toBeGreaterThanOrEqual(0n);
    }
  });
});
