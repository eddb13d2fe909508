import { JobState } from '@sluice/contracts';
import { newJobId } from '@sluice/jobs';
import { silentLogger } from '@sluice/pipeline';
import type { Logger } from '@sluice/telemetry';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { openReadModel } from '../../src/history/open-read-model.ts';
import type { ReadModel } from '../../src/history/read-model.ts';
import { startRetention, type Retention } from '../../src/history/retention.ts';
import { jobEvent, takeIn } from './conformance.ts';

const log = silentLogger as unknown as Logger;
const DAY_MS = 24 * 3_600_000;
const NOW_MS = Date.UTC(2026, 10, 28);

let model: ReadModel;
let retention: Retention | undefined;
beforeEach(async () => {
  model = await openReadModel('sqlite::memory:', log);
  retention = undefined;
});
afterEach(async () => {
  await retention?.close();
  await model.close();
});

/** One job that ended on each of the last ten days, and an open one older than all. */
const fill = (): Promise<unknown> =>
  takeIn(model, 'JOBS', [
    jobEvent(1, { id: newJobId() }, NOW_MS - 30 * DAY_MS),
    ...Array.from({ length: 10 }, (_, day) =>
      jobEvent(2 + day, { id: newJobId(), state: JobState.SUCCEEDED }, NOW_MS - (10 - day) * DAY_MS + 1),
    ),
  ]);
const keep = (settings: { ttlMs?: number; maxBytes?: number }, clocks: { now: number; broker: number }): Retention =>
  (retention = startRetention(
    model,
    { ttlMs: 5 * DAY_MS, maxBytes: 1e9, ...settings },
    { log, now: () => clocks.now, brokerNow: () => clocks.broker },
  ));

test('ended jobs go when their time is over', async () => {
  await fill();
  await keep({}, { now: NOW_MS, broker: NOW_MS }).run();
  expect(await model.counts('acme')).toEqual({ accepted: 1, succeeded: 5 });
  expect(retention?.usage()).toMatchObject({ jobs: 6 });
  expect(retention?.problem()).toBeUndefined();
});

test.each([
  { name: 'of this machine', now: NOW_MS + 400 * DAY_MS, broker: NOW_MS },
  { name: 'of the broker', now: NOW_MS, broker: NOW_MS + 400 * DAY_MS },
  { name: 'of a broker that was not asked yet', now: NOW_MS, broker: -Infinity },
])('a clock $name that is wrong deletes nothing before its time', async ({ now, broker }) => {
  await fill();
  await keep({ ttlMs: 11 * DAY_MS }, { now, broker }).run();
  expect(await model.counts('acme')).toEqual({ accepted: 1, succeeded: 10 });
});

test('over its bytes the oldest ended jobs go early, which is told', async () => {
  await fill();
  await keep({ ttlMs: 365 * DAY_MS, maxBytes: 1 }, { now: NOW_MS, broker: NOW_MS }).run();
  expect(await model.counts('acme')).toEqual({ accepted: 1 });
  expect(retention?.problem()).toContain('HISTORY_MAX_BYTES');
});
