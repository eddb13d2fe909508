import { channels } from '@sluice/contracts';
import { jobLog } from '@sluice/jobs';
import { provision, topology } from '@sluice/messaging';
import { silentLogger } from '@sluice/pipeline';
import type { Logger, Telemetry } from '@sluice/telemetry';
import { Registry } from 'prom-client';
import { afterEach, expect, test } from 'vitest';
import { grant } from '../src/credits/ledger.ts';
import { creditsOff, defaultCredits } from '../src/credits/credits.ts';
import type { JobView } from '../src/jobs/job-view.ts';
import type { ReconcileAction } from '../src/jobs/reconciler/reconciler.ts';
import { resultsAreApplied } from '../src/jobs/reconciler/settled.ts';
import { createGatewayMetrics } from '../src/metrics.ts';
import { png } from './pictures.ts';
import { eventually, startRig, type Rig } from './rig.ts';

const JOBS = 30;
/** Shortest time for which a server remembers message ids, in nanoseconds. */
const SHORTEST_WINDOW = 100_000_000;
const reconciling = { graceMs: 300, everyMs: 50, pageMs: 10 };

let rig: Rig;
let actions: Map<string, number>;
let progress: number;
afterEach(() => rig?.stop());

/** A gateway that looks at its open jobs all the time, on streams that forget message ids at once. */
async function start(settings: Parameters<typeof startRig>[0] = {}): Promise<void> {
  actions = new Map();
  progress = 0;
  const registry = new Registry() as Telemetry['registry'];
  registry.setContentType(Registry.OPENMETRICS_CONTENT_TYPE);
  const metrics = {
    ...createGatewayMetrics(registry),
    reconcilerProgressed: () => void (progress += 1),
    reconciled: (action: ReconcileAction) => void actions.set(action, (actions.get(action) ?? 0) + 1),
  };
  rig = await startRig({ metrics, ...settings, settings: { reconciling, ...settings.settings } });
  for (const stream of ['EMAILS', 'IMAGES', 'RESULTS']) await update(stream, { duplicate_window: SHORTEST_WINDOW });
}

const update = (stream: string, settings: Record<string, unknown>) => rig.bus.jsm.streams.update(stream, settings);
const stored = async (stream: string): Promise<number> => (await rig.bus.jsm.streams.info(stream)).state.messages;
const holds = (stream: string, count: number) =>
  eventually(
    () => stored(stream),
    (found) => found === count,
  );
const send = async (): Promise<string> => {
  const json = { to: 'ada@example.com', template: 'welcome', variables: { name: 'Ada' } };
  return (await rig.call<JobView>('/v1/emails', { json })).body.id;
};
const sendMany = (count: number): Promise<string[]> => Promise.all(Array.from({ length: count }, send));
const job = async (id: string): Promise<JobView> => (await rig.call<JobView>(`/v1/jobs/${id}`)).body;
const ended = (id: string) =>
  eventually(
    () => job(id),
    ({ state }) => ['succeeded', 'failed', 'cancelled'].includes(state),
  );
const causes = async (id: string): Promise<string[]> => {
  const found: string[] = [];
  for await (const { data } of jobLog(rig.bus).history(id)) found.push(data.cause);
  return found;
};
const succeed = async (ids: readonly string[]): Promise<void> => {
  for (const id of ids) expect((await ended(id)).state).toBe('succeeded');
};

test('work that was purged is published again, and work that still waits is left alone', async () => {
  await start();
  const lost = await sendMany(5);
  await holds('EMAILS', 5);
  const kept = await sendMany(JOBS);
  await holds('EMAILS', 5 + JOBS);
  await rig.bus.jsm.streams.purge('EMAILS', { seq: 6 });
  await eventually(
    async () => Object.fromEntries(actions),
    ({ republished }) => republished === 5,
  );
  expect(await stored('EMAILS')).toBe(5 + JOBS);
  for (const id of lost) expect(await causes(id)).toEqual(['accept', 'reconcile']);
  for (const id of kept) expect(await causes(id)).toEqual(['accept']);

  await rig.bus.jsm.streams.purge('EMAILS');
  await rig.workers();
  await succeed([...lost, ...kept]);
});

test('two gateways publish lost work once', async () => {
  await start();
  // Longer than one of them takes from its publish to its record of it.
  await update('EMAILS', { duplicate_window: 20 * SHORTEST_WINDOW });
  await rig.replica({ settings: { reconciling } });
  const ids = await sendMany(JOBS);
  await holds('EMAILS', JOBS);
  await rig.bus.jsm.streams.purge('EMAILS');
  for (const id of ids) {
    await eventually(
      () => causes(id),
      (found) => found.length > 1,
    );
  }
  expect(await stored('EMAILS')).toBe(JOBS);
  for (const id of ids) expect(await causes(id)).toEqual(['accept', 'reconcile']);
  await rig.workers();
  await succeed(ids);
});

test('work of a stream that was deleted and made again is published again', async () => {
  await start();
  const before = await sendMany(JOBS);
  await holds('EMAILS', JOBS);
  await rig.bus.jsm.streams.delete('EMAILS');
  // Dispatched while there is no such stream.
  const meanwhile = await sendMany(3);
  await provision(rig.bus.nc, topology);
  await update('EMAILS', { duplicate_window: SHORTEST_WINDOW });
  const after = await sendMany(3);
  // Sequences count from 1 again: other work lies where the lost work was.
  await holds('EMAILS', JOBS + 6);
  await rig.workers();
  await succeed([...before, ...meanwhile, ...after]);
});

test('work whose stream does not answer waits as long as an election takes before the reconciler has it', async () => {
  await start();
  await rig.bus.jsm.streams.delete('EMAILS');
  const id = await send();
  interface Told {
    readonly event: string;
    readonly detail?: string;
    readonly durationMs?: number;
  }
  const told = await eventually(
    async () => (await rig.call<{ events: readonly Told[] }>(`/v1/jobs/${id}/events`)).body.events,
    (events) => events.some(({ event }) => event === 'postponed'),
  );
  const waits = told.filter(({ event }) => event === 'retry_scheduled').map(({ durationMs = 0 }) => durationMs);
  // An election under load took 5.5 s, and by chance the waits of a growing delay were 1.7 s together.
  expect(waits.reduce((sum, wait) => sum + wait, 0)).toBeGreaterThanOrEqual(9_000);
  expect(told.find(({ event }) => event === 'postponed')?.detail).toMatch(/EMAILS has no leader or does not exist/);
});

test('a job that is to be cancelled and whose work was lost is cancelled by its worker', async () => {
  await start();
  const id = await send();
  await holds('EMAILS', 1);
  await rig.call(`/v1/jobs/${id}`, { method: 'DELETE' });
  await rig.bus.jsm.streams.purge('EMAILS');
  await rig.workers();
  expect((await ended(id)).state).toBe('cancelled');
});

test('a job whose work is lost again and again fails and is paid back', async () => {
  await start({ settings: { credits: { ...defaultCredits, prices: { ...creditsOff.prices, email: 5 } } } });
  await grant(rig.bus, 'local', 100, 'to begin with', Date.now());
  const id = await send();
  const { error } = await eventually(
    async () => {
      await rig.bus.jsm.streams.purge('EMAILS');
      return job(id);
    },
    ({ state }) => state === 'failed',
  );
  expect(error).toEqual({ code: 'work_lost', detail: 'The work was lost 4 times.' });
  await expect
    .poll(() => actions)
    .toEqual(
      new Map([
        ['republished', 3],
        ['failed', 1],
      ]),
    );
  await eventually(
    async () => (await rig.call<{ credits: { balance: number } }>('/v1/accounts/me')).body.credits.balance,
    (balance) => balance === 100,
  );
});

test('a full lane holds no slot of the orchestrator, and its jobs end once there is room', async () => {
  await start();
  await update('EMAILS', { max_msgs: 5 });
  const ids = await sendMany(JOBS);
  const express = { to: 'ada@example.com', template: 'welcome', variables: { name: 'Ada' }, priority: 'express' };
  const other = (await rig.call<JobView>('/v1/emails', { json: express })).body.id;
  await holds('EMAILS_EXPRESS', 1);
  await eventually(
    () => rig.bus.jsm.consumers.info('JOBS', 'orchestrator'),
    ({ num_pending, num_ack_pending }) => num_pending + num_ack_pending === 0,
  );
  expect(await stored('EMAILS')).toBe(5);
  expect(await stored('DLQ')).toBe(0);
  await update('EMAILS', { max_msgs: 100_000 });
  await rig.workers();
  await succeed([...ids, other]);
  await expect.poll(() => actions).toEqual(new Map([['published', JOBS - 5]]));
});

test('an open job outlives what JOBS keeps, with the bytes that it came with', async () => {
  await start();
  await update('JOBS', { max_age: 4_000_000_000, duplicate_window: SHORTEST_WINDOW });
  const { id } = (await rig.call<JobView>('/v1/images', { body: png() })).body;
  const first = (await rig.bus.last(channels.job, { jobId: id }))!.sequence;
  await eventually(
    () => rig.bus.find('JOBS', { at: first }),
    (found) => found === undefined,
  );
  expect((await job(id)).state).toBe('accepted');
  await rig.bus.jsm.streams.purge('IMAGES');
  const bytes: number[] = [];
  await rig.workers({
    convert: async ({ sources }) => {
      for (const { from } of sources) bytes.push(from.case === 'content' ? from.value.length : 0);
    },
  });
  await succeed([id]);
  expect(bytes).toEqual([png().length]);
  await expect.poll(() => actions.get('refreshed')).toBeGreaterThan(0);
  expect(actions.has('expired')).toBe(false);
});

test('a job whose result waits to be applied is not taken for lost', async () => {
  await start();
  await rig.call('/v1/pipelines/email_sent:pause', { method: 'POST' });
  await eventually(
    async () => rig.gateway.pipelines().find(({ name }) => name === 'email_sent')?.state,
    (state) => state === 'paused',
  );
  await rig.workers();
  const id = await send();
  await holds('RESULTS', 1);
  await holds('EMAILS', 0);
  const applied = resultsAreApplied(rig.bus, new AbortController().signal);
  const stateThen = applied.then(async () => (await job(id)).state);
  await rig.call('/v1/pipelines/email_sent:resume', { method: 'POST' });
  expect(await applied).toBe(true);
  expect(await stateThen).toBe('succeeded');
  expect(await causes(id)).toEqual(['accept', 'result']);
});

test('a reconciler that gets nowhere is seen by its metric, and goes on by itself', async () => {
  let failures = 0;
  const log = {
    ...silentLogger,
    warn: (_: unknown, text: string) => void (failures += Number(/could not/.test(text))),
  };
  await start({ log: log as unknown as Logger });
  const id = await send();
  await holds('EMAILS', 1);
  await eventually(
    async () => progress,
    (found) => found > 2,
  );
  // Without the stream of the results it is not known whether the work is lost or done.
  await rig.bus.jsm.streams.delete('RESULTS');
  await rig.bus.jsm.streams.purge('EMAILS');
  await eventually(
    async () => failures,
    (found) => found > 0,
  );
  const [before, failed] = [progress, failures];
  await eventually(
    async () => failures,
    (found) => found > failed + 2,
  );
  expect(progress).toBe(before);
  expect(await stored('EMAILS')).toBe(0);
  await provision(rig.bus.nc, topology);
  await holds('EMAILS', 1);
  await eventually(
    async () => progress,
    (found) => found > before,
  );
  expect((await job(id)).state).toBe('queued');
});
