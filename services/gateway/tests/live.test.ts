import { create } from '@bufbuild/protobuf';
import { FailureSchema, JobKind } from '@sluice/contracts';
import { fail, jobLog, newJobId } from '@sluice/jobs';
import { createLifecycle } from '@sluice/messaging';
import { silentLogger } from '@sluice/pipeline';
import type { Logger } from '@sluice/telemetry';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { cursorOf, jobEventStream } from '../src/jobs/timeline/event-stream.ts';
import { liveJobs, type LiveJobs } from '../src/jobs/timeline/live.ts';
import { inOrderTold, type StoredEntry } from '../src/jobs/timeline/timeline.ts';
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

/** The server-sent events of a job, from a place on: what is written until the stream ends. */
async function streamOf(live: LiveJobs, jobId: string, from: string, until: () => Promise<unknown>): Promise<string[]> {
  const places = { bus: rig.bus, jobs: jobLog(rig.bus), live, closing: new AbortController().signal };
  const stream = jobEventStream(places, jobId, cursorOf(from));
  const text = (async () => {
    let all = '';
    for await (const chunk of stream) all += String(chunk);
    return all;
  })();
  await until();
  const found = (await text).matchAll(/^id: (.*)\nevent: .*\ndata: (.*)$/gm);
  const said = [...found].map(([, id, data]) => `${id} ${(JSON.parse(data!) as { event: string }).event}`);
  // The orchestrator's own words: it gives such a job up, which was asked for nothing.
  return said.filter((each) => !each.endsWith(' dead_lettered'));
}

test('what a worker said as one message stands before the end, and is gone on with by who comes back', async () => {
  const live = liveJobs(rig.bus, silentLogger as unknown as Logger, { jobStreams: ['JOBS'], idleMs: 20 });
  const report = createLifecycle(rig.bus.port, { app: 'email', instance: 'email-1' });
  const log = jobLog(rig.bus);
  const jobId = newJobId();
  await log.accept({ id: jobId, kind: JobKind.EMAIL, account: 'acme' });
  const said = await streamOf(live, jobId, '', async () => {
    for (const event of ['received', 'attempt']) report(jobId, { event, mayWait: true });
    report(jobId, { event: 'acked' });
    await rig.bus.nc.flush();
    const failure = create(FailureSchema, { code: 'refused', detail: 'of its own accord' });
    await log.transition(jobId, (job) => fail(job, { failure, attempt: 1, replays: 0 }));
  });
  expect(said.map((each) => each.split(' ')[1])).toEqual(['accepted', 'received', 'attempt', 'acked', 'failed']);
  const ids = said.map((each) => each.split(' ')[0]!);
  // Who is cut off in the middle of what was sent as one goes on there.
  expect(new Set(ids).size).toBe(ids.length);
  for (const [index, id] of ids.entries()) {
    const again = await streamOf(live, jobId, id, () => Promise.resolve());
    expect(again.map((each) => each.split(' ')[1])).toEqual(
      ['accepted', 'received', 'attempt', 'acked', 'failed'].slice(index + 1),
    );
  }
  await live.close();
});

const word = (sequence: number, event: string, storedMs: number, more = false): StoredEntry => ({
  entry: { at: new Date(storedMs).toISOString(), event, app: 'email' },
  stream: 'EVENTS',
  sequence,
  storedMs,
  final: false,
  index: 0,
  more,
});

test('what was held back stands behind what its service said before, also when both were stored late', () => {
  const words = [word(1, 'received', 1_000), word(2, 'attempt', 970, true), word(2, 'acked', 1_000)];
  const told = inOrderTold(words).toSorted((a, b) => a.storedMs - b.storedMs);
  expect(told.map(({ entry }) => entry.event)).toEqual(['received', 'attempt', 'acked']);
});

test('what is heard of a job while its end is read loses nothing of the end', async () => {
  const listeners: ((stored: StoredEntry) => void)[] = [];
  const live: LiveJobs = {
    listen(_, listener) {
      listeners.push(listener);
      return { heard: Promise.resolve(), stop: () => undefined };
    },
    close: async () => undefined,
  };
  const move = (sequence: number, event: string): StoredEntry => ({
    ...word(sequence, event, sequence),
    stream: 'JOBS',
    final: event === 'failed',
  });
  const jobId = newJobId();
  const said = await streamOf(live, jobId, '', async () => {
    // An operator sends the job on at once.
    await eventually(
      async () => listeners.length,
      (count) => count === 1,
    );
    for (const stored of [move(10, 'failed'), move(12, 'queued')]) listeners[0]!(stored);
  });
  expect(said.map((each) => each.split(' ')[1])).toEqual(['failed', 'queued']);
});
