import { create } from '@bufbuild/protobuf';
import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import { channels, LifecycleEventSchema } from '@sluice/contracts';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { JobView } from '../src/jobs/job-view.ts';
import { eventually, startRig, type Rig } from './rig.ts';

let rig: Rig;
beforeAll(async () => {
  rig = await startRig();
});
afterAll(() => rig?.stop());

const accept = async (): Promise<JobView> =>
  (
    await rig.call<JobView>('/v1/emails', {
      json: { to: 'ada@example.com', template: 'welcome', variables: { name: 'Ada' } },
    })
  ).body;
const read = async (id: string): Promise<JobView> => (await rig.call<JobView>(`/v1/jobs/${id}`)).body;
const listed = async (id: string): Promise<JobView | undefined> =>
  (await rig.call<{ jobs: JobView[] }>('/v1/jobs?limit=200')).body.jobs.find((job) => job.id === id);

/** An event of the mailer about a job, by a clock that may be wrong; resolves once lists know it too. */
async function says(id: string, event: string, attempt: number, clockMs = 0): Promise<JobView> {
  const message = create(LifecycleEventSchema, {
    appId: 'email',
    messageId: id,
    event,
    attempt,
    createdAt: timestampFromMs(Date.now() + clockMs),
  });
  await rig.bus.publish(channels.event, message, {
    values: { appId: 'email', messageId: id },
    id: `${id}${event}${attempt}`,
  });
  const now = await read(id);
  await eventually(
    () => listed(id),
    (job) => job?.state === now.state && job.attempt === now.attempt,
  );
  return now;
}

describe('the progress of a job', () => {
  test('does not go back to accepted while its mail is held', async () => {
    const job = await accept();
    const seen: JobView[] = [job];
    for (const [event, attempt] of [
      ['received', 1],
      ['attempt', 1],
      ['smtp_attempt', 1],
      ['held', 1],
      ['retry_scheduled', 1],
      ['received', 2],
      ['attempt', 2],
      ['held', 2],
    ] as const) {
      seen.push(await says(job.id, event, attempt));
    }
    expect(seen.map(({ state }) => state)).toEqual([
      'accepted',
      'queued',
      'running',
      'running',
      'running',
      'queued',
      'queued',
      'running',
      'running',
    ]);
    const times = seen.map(({ updatedAt }) => updatedAt);
    expect(times).toEqual([...times].sort());
  });

  test.each([
    ['5 s behind', -5_000],
    ['a day ahead', 86_400_000],
  ])('is shown under any clock of its worker: %s', async (_, clockMs) => {
    const job = await accept();
    const running = await says(job.id, 'attempt', 1, clockMs);
    expect(running).toMatchObject({ state: 'running', attempt: 1 });
    expect(Date.parse(running.updatedAt)).toBeGreaterThanOrEqual(Date.parse(job.updatedAt));
    expect(Date.parse(running.updatedAt)).toBeLessThanOrEqual(Date.now());
  });
});
