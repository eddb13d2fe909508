import { JobKind } from '@sluice/contracts';
import { jobLog, newJobId } from '@sluice/jobs';
import { silentLogger } from '@sluice/pipeline';
import type { Logger } from '@sluice/telemetry';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { liveJobs } from '../src/jobs/timeline/live.ts';
import type { StoredEntry } from '../src/jobs/timeline/timeline.ts';
import { eventually, startRig, type Rig } from './rig.ts';

let rig: Rig;
beforeAll(async () => {
  rig = await startRig();
});
afterAll(() => rig.stop());

/** Consumers that keep nothing on the server: the tails, and the read model's. */
const followers = async (): Promise<number> => {
  const found = await rig.bus.jsm.consumers.list('JOBS').next();
  return found.filter(({ config }) => config.durable_name === undefined).length;
};

test('the streams are followed while a client listens, and heard without a gap', async () => {
  const before = await followers();
  const live = liveJobs(rig.bus, silentLogger as unknown as Logger, { jobStreams: ['JOBS'], idleMs: 20 });
  const jobId = newJobId();
  const heard: StoredEntry[] = [];
  const first = live.listen(jobId, (stored) => heard.push(stored));
  const second = live.listen(newJobId(), () => expect.unreachable('that job does not exist'));
  await Promise.all([first.heard, second.heard]);
  expect(await followers()).toBe(before + 1);

  const { accepted } = await jobLog(rig.bus).accept({ id: jobId, kind: JobKind.EMAIL, account: 'acme' });
  expect(accepted).toBe(true);
  // What follows is the orchestrator's, which finds nothing to do in this job.
  const states = (): string[] => heard.filter(({ stream }) => stream === 'JOBS').map(({ entry }) => entry.event);
  await eventually(
    async () => states(),
    ([first]) => first === 'accepted',
  );

  first.stop();
  second.stop();
  await eventually(followers, (now) => now === before);
  // And again for the next one.
  const third = live.listen(jobId, () => undefined);
  await third.heard;
  expect(await followers()).toBe(before + 1);
  third.stop();
  await live.close();
  await eventually(followers, (now) => now === before);
});
