import { watchCancellations } from '@sluice/jobs';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { JobView } from '../src/jobs/job-view.ts';
import { png } from './pictures.ts';
import { eventually, startRig, type Rig } from './rig.ts';

let rig: Rig;
beforeAll(async () => {
  rig = await startRig({ settings: { pressure: { maxBacklog: 20, maxWaitMs: 300_000, isBehind: () => false } } });
});
afterAll(() => rig?.stop());

const stats = async () =>
  (
    await rig.call<{
      streams: { name: string; messages: number; stuck?: number; consumers: { name: string; pending: number }[] }[];
    }>('/v1/stats')
  ).body;
const mail = (priority: string) =>
  rig.call<JobView>('/v1/emails', {
    json: { to: 'ada@example.com', template: 'welcome', variables: { name: 'Ada' }, priority },
  });

describe('without workers', () => {
  test('not one job more than the limit is accepted, and express stays open', async () => {
    const accepted: Awaited<ReturnType<typeof mail>>[] = [];
    const refused: typeof accepted = [];
    const flood = async (): Promise<number> => {
      const answers = await Promise.all(Array.from({ length: 40 }, () => mail('normal')));
      for (const answer of answers) (answer.status === 202 ? accepted : refused).push(answer);
      return accepted.length;
    };
    // What was let in while the broker was being asked counts twice until it is asked again: never too many.
    await eventually(flood, (count) => count >= 20);
    await flood();
    expect(accepted).toHaveLength(20);
    expect(new Set(refused.map(({ status }) => status))).toEqual(new Set([503]));
    expect(refused[0]?.body).toMatchObject({ code: 'overloaded' });
    expect(Number(refused[0]?.headers.get('retry-after'))).toBeGreaterThan(0);
    await eventually(stats, ({ streams }) => streams.find(({ name }) => name === 'EMAILS')?.messages === 20);
    expect((await mail('express')).status).toBe(202);
    expect((await mail('normal')).status).toBe(503);

    // After the drain the lane opens again, and every accepted job has succeeded.
    await rig.workers();
    await eventually(
      () => mail('normal'),
      ({ status }) => status === 202,
    );
    for (const { body } of accepted) {
      const seen = await eventually(
        async () => (await rig.call<JobView>(`/v1/jobs/${body.id}`)).body,
        ({ state }) => state !== 'accepted' && state !== 'running' && state !== 'queued',
      );
      expect(seen.state).toBe('succeeded');
    }
  });

  test('the numbers say what waits where', async () => {
    const { streams } = await eventually(stats, (seen) => seen.streams.length > 0);
    expect(streams.map(({ name }) => name)).toEqual(expect.arrayContaining(['JOBS', 'IMAGES', 'EMAILS', 'DLQ']));
    const images = streams.find(({ name }) => name === 'IMAGES');
    expect(images).toMatchObject({ stuck: 0, consumers: [{ name: 'binary_to_pdf' }, { name: 'url_to_pdf' }] });
  });
});

describe('when the process itself is behind', () => {
  test('it takes nothing in until it has caught up, and reads go on', async () => {
    let behind = true;
    const gateway = await rig.replica({
      settings: { pressure: { maxBacklog: 50, maxWaitMs: 300_000, isBehind: () => behind } },
    });
    const post = () => rig.call(`${gateway.url}/v1/images`, { body: png() });
    expect(await post()).toMatchObject({ status: 503, body: { code: 'overloaded' } });
    expect((await rig.call(`${gateway.url}/v1/jobs/x`)).status).toBe(404);
    behind = false;
    expect((await post()).status).toBe(202);
  });
});

describe('cancelling a job', () => {
  test('reaches the worker that is at it', async () => {
    const reached = Promise.withResolvers<unknown>();
    const started = Promise.withResolvers<void>();
    const other = await startRig();
    const cancellations = watchCancellations(other.bus.port);
    try {
      await other.workers({
        convert: ({ jobId }, _attempt, signal) =>
          cancellations.during(jobId, signal, async (cancelled) => {
            started.resolve();
            await new Promise((resolve) => cancelled.addEventListener('abort', resolve, { once: true }));
            reached.resolve(cancelled.reason);
            return 'cancelled' as const;
          }),
      });
      const { body } = await other.call<JobView>('/v1/images', { body: png() });
      await started.promise;
      const seen = await eventually(
        async () => (await other.call<JobView>(`/v1/jobs/${body.id}`)).body,
        ({ state }) => state === 'running',
      );
      expect(seen.attempt).toBe(1);
      const cancelled = await other.call<JobView>(`/v1/jobs/${body.id}`, { method: 'DELETE' });
      expect(cancelled).toMatchObject({ status: 202, body: { state: 'running', cancelRequested: true } });
      expect(await reached.promise).toMatchObject({ code: 'job_cancelled' });
      await eventually(
        async () => (await other.call<JobView>(`/v1/jobs/${body.id}`)).body,
        ({ state }) => state === 'cancelled',
      );
    } finally {
      cancellations.close();
      await other.stop();
    }
  });
});
