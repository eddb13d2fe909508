import { startNats, type NatsProcess } from '@sluice/dev';
import { jobLog } from '@sluice/jobs';
import { connectNats, createBus, provision, topology, type Bus } from '@sluice/messaging';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { acceptJob } from '../src/jobs/accept/accept-job.ts';
import { newEmailJob } from '../src/jobs/accept/email-request.ts';
import { checkKeysAreKept, KEY_LIFE_MS } from '../src/jobs/accept/idempotency.ts';

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

  test('keeps a gateway from starting on a stream that forgets jobs sooner', async () => {
    await checkKeysAreKept(bus);
    await bus.jsm.streams.update('JOBS', { max_age: (KEY_LIFE_MS - HOUR_MS) * 1e6 });
    await expect(checkKeysAreKept(bus)).rejects.toThrow(/raise its max_age/);
  });
});
