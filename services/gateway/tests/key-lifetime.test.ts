import { startNats, type NatsProcess } from '@sluice/dev';
import { jobLog } from '@sluice/jobs';
import { channels, CreditEntryKind } from '@sluice/contracts';
import { buckets, connectNats, createBus, openBucket, provision, topology, type Bus } from '@sluice/messaging';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { acceptJob } from '../src/jobs/accept/accept-job.ts';
import { newEmailJob } from '../src/jobs/accept/email-request.ts';
import { openLedger } from '../src/credits/ledger.ts';
import { KEY_LIFE_MS } from '../src/jobs/accept/idempotency.ts';
import { keyDays } from '../src/jobs/accept/key-days.ts';
import { DEFAULT_RESULT_TTL_MS } from '../src/jobs/result-expiry.ts';
import { checkLifetimes } from '../src/lifetimes-kept.ts';

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;

let server: NatsProcess;
let bus: Bus;
beforeAll(async () => {
  server = await startNats();
  const nc = await connectNats({ url: server.url, name: 'key-lifetime-test' });
  await provision(nc, topology);
  bus = await createBus(nc);
});
afterAll(async () => {
  await bus?.close();
  await server?.stop();
});

const trace = { traceId: 'a'.repeat(32), traceparent: `00-${'a'.repeat(32)}-${'b'.repeat(16)}-01` };
const newJob = (account: string) =>
  newEmailJob({ to: 'ada@example.com', template: 'welcome', variables: { name: 'Ada' } }, { account, trace });

/** Uses one key at each of the times, in hours, dropping from `JOBS` what it would have dropped by then. */
async function use(account: string, hours: readonly number[], startMs: number): Promise<string[]> {
  const made: { id: string; atMs: number }[] = [];
  for (const hour of hours) {
    const atMs = startMs + hour * HOUR_MS;
    for (const { id } of made.filter((job) => atMs - job.atMs > 7 * DAY_MS)) {
      await bus.jsm.streams.purge('JOBS', { filter: `jobs.${id}` });
    }
    const now = (): number => atMs;
    const { job } = await acceptJob({ log: jobLog(bus, { now }), now }, newJob(account), 'key');
    made.push({ id: job.id, atMs });
  }
  return made.map(({ id }) => id);
}

describe('an Idempotency-Key', () => {
  // At any time of day it is used first.
  const startMs = Date.parse('2026-11-28T09:30:00Z');

  test('meets the same rule on day 0, 6.9 and 7.1: it is honoured for 24 hours and then as new', async () => {
    const [first, again, second, repeated, third] = await use('eve', [0, 23.9, 6.9 * 24, 7.1 * 24, 8 * 24], startMs);
    expect(again).toBe(first);
    expect(second).not.toBe(first);
    expect(repeated).toBe(second);
    expect(new Set([first, second, third]).size).toBe(3);
  });

  test('never leads to the id of a job that was forgotten, whose mail or charge may still be known', async () => {
    const ids = await use('ada', [0, 9 * 24, 18 * 24, 40 * 24], startMs);
    expect(new Set(ids).size).toBe(ids.length);
  });

  test('is honoured over midnight', async () => {
    const ids = await use('bob', [0, 1, 23.9], Date.parse('2026-11-28T23:30:00Z'));
    expect(new Set(ids).size).toBe(1);
  });

  test.each(['before', 'after'])(
    'makes one job of two requests at two replicas around midnight, the one %s midnight first',
    async (first) => {
      const midnight = Date.parse('2026-11-29T00:00:00Z');
      const days = keyDays(await openBucket(bus.nc, buckets.keyDays));
      const at = (atMs: number, account: string) => {
        const now = (): number => atMs;
        return acceptJob({ log: jobLog(bus, { now }), now, keyDays: days }, newJob(account), 'key');
      };
      const times = first === 'before' ? [midnight - 50, midnight + 50] : [midnight + 50, midnight - 50];
      for (let n = 0; n < 20; n += 1) {
        // Each looks for the job of the other before either has one.
        const made = await Promise.all(times.map((atMs) => at(atMs, `${first}${n}`)));
        expect(made[0]!.job.id).toBe(made[1]!.job.id);
        expect(made.filter(({ repeated }) => repeated)).toHaveLength(1);
        // And a repeat later that day meets it too.
        expect((await at(midnight + 2 * HOUR_MS, `${first}${n}`)).job.id).toBe(made[0]!.job.id);
      }
    },
  );
});

describe('lifetimes that an operator set', () => {
  const age = (stream: string, ms: number) => bus.jsm.streams.update(stream, { max_age: ms * 1e6 });
  const check = (resultTtlMs = DEFAULT_RESULT_TTL_MS) => checkLifetimes(bus.jsm, resultTtlMs, ['JOBS']);

  test.each([
    ['JOBS', KEY_LIFE_MS - HOUR_MS, /JOBS keeps .* Idempotency-Key .*nats stream edit JOBS --max-age 86400s/],
    ['EVENTS', HOUR_MS, /EVENTS keeps .* store its events twice/],
    ['KV_email_inbox', DAY_MS, /KV_email_inbox keeps .* sent twice/],
    ['CREDITS', 400 * DAY_MS, /CREDITS keeps .* needs no max_age: .*--max-age 0`/],
  ])('keep a gateway from starting when %s keeps less than depends on it', async (stream, ms, error) => {
    const { max_age } = (await bus.jsm.streams.info(stream)).config;
    await expect(check()).resolves.toEqual({ jobsKeptMs: 7 * DAY_MS });
    await age(stream, ms);
    await expect(check()).rejects.toThrow(error);
    await age(stream, max_age / 1e6);
    await check();
  });

  test('and RESULT_TTL_MS are compared on the server, where JOBS may be kept longer', async () => {
    await expect(check(8 * DAY_MS)).rejects.toThrow(/a PDF is found through its job.* or lower RESULT_TTL_MS/);
    await age('JOBS', 30 * DAY_MS);
    expect(await check(8 * DAY_MS)).toEqual({ jobsKeptMs: 30 * DAY_MS });
    await age('JOBS', 0);
    expect(await check(8 * DAY_MS)).toEqual({ jobsKeptMs: Infinity });
    await age('JOBS', 7 * DAY_MS);
  });

  // A refund that is delivered again after its marker has expired is paid twice.
  test.each([
    [30 * DAY_MS, `${31 * 86_400}s`],
    [Infinity, undefined],
  ])('of JOBS carry over to the markers of the ledger: %d', async (jobsKeptMs, ttl) => {
    const jobId = `job_${jobsKeptMs}`;
    const ledger = openLedger(bus, Date.now, jobsKeptMs);
    await ledger.appendStep('kept', { kind: CreditEntryKind.REFUND, amount: 1, jobId, step: 'refund' });
    const marker = await bus.last(channels.creditStep, { account: 'kept', jobId, step: 'refund' }, 'leader');
    expect(marker?.headers.get('Nats-TTL')?.[0]).toBe(ttl);
  });
});
