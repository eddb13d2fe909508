import { create } from '@bufbuild/protobuf';
import { JobKind, JobRequestSchema, JobResultSchema, JobState, MailReportSchema, type Job } from '@sluice/contracts';
import { startNats, type NatsProcess } from '@sluice/dev';
import { connectNats, createBus, provision, topology, type Bus } from '@sluice/messaging';
import * as fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { jobIdFor, newJobId } from './id.ts';
import { jobLog, type JobLog } from './log.ts';
import { cancel, fail, isTerminal, mayMove, reopen, report, succeed, type Move } from './state.ts';

let server: NatsProcess;
const buses: Bus[] = [];
/** Logs of several replicas: one connection each. */
let logs: JobLog[];

beforeAll(async () => {
  server = await startNats();
  for (let replica = 0; replica < 3; replica += 1) {
    const nc = await connectNats({ url: server.url, name: `jobs-test/${replica}` });
    if (replica === 0) await provision(nc, topology);
    buses.push(await createBus(nc));
  }
  logs = buses.map((bus) => jobLog(bus));
});
afterAll(async () => {
  for (const bus of buses) await bus.close();
  await server?.stop();
});

const log = (replica = 0): JobLog => logs[replica % logs.length]!;
const result = create(JobResultSchema, { work: { case: 'email', value: { messageId: '<m@x>' } } });
const calledOff = (job: Job): Move | undefined => cancel(job, { attempt: 1, replays: job.replays });
const failure = { $typeName: 'sluice.v1.Failure' as const, code: 'refused', detail: 'mailbox unknown' };
const states = async (id: string): Promise<JobState[]> => {
  const seen: JobState[] = [];
  for await (const { data } of log().history(id)) seen.push(data.job!.state);
  return seen;
};

describe('accepting a job', () => {
  test('stores it before it returns, for every reader', async () => {
    const id = newJobId();
    const { accepted, sequence } = await log(0).accept({ id, kind: JobKind.EMAIL, account: 'acme' });
    expect(accepted).toBe(true);
    expect(await log(1).read(id)).toMatchObject({
      sequence,
      cause: 'accept',
      job: { id, account: 'acme', state: JobState.ACCEPTED },
    });
  });

  test('happens once: of concurrent requests with one key, one makes the job and all meet it', async () => {
    const id = jobIdFor('acme', 'order-17');
    const answers = await Promise.all(Array.from({ length: 12 }, (_, i) => log(i).accept({ id, requestHash: `${i}` })));
    expect(answers.filter((answer) => answer.accepted)).toHaveLength(1);
    expect(new Set(answers.map((answer) => answer.job.requestHash)).size).toBe(1);
    expect(await states(id)).toEqual([JobState.ACCEPTED]);
  });

  test('does not know what was never accepted', async () => {
    expect(await log().read(newJobId())).toBeUndefined();
    expect(await log().transition(newJobId(), calledOff)).toBeUndefined();
  });
});

describe('moving a job', () => {
  test('lets exactly one of several concurrent writers end it', async () => {
    const id = newJobId();
    await log().accept({ id, kind: JobKind.EMAIL });
    const writers = await Promise.all(
      Array.from({ length: 9 }, (_, i) =>
        log(i).transition(id, (job) => (i % 2 ? calledOff(job) : succeed(job, { result, attempt: 1, replays: 0 }))),
      ),
    );
    expect(writers.filter((writer) => writer?.moved)).toHaveLength(1);
    const history = await states(id);
    expect(history).toHaveLength(2);
    expect(isTerminal(history[1]!)).toBe(true);
  });

  test('repeats an append whose confirmation was lost without doing it twice', async () => {
    const id = newJobId();
    const bus = buses[0]!;
    let lost = 0;
    const deaf = jobLog({
      ...bus,
      publish: async (...args) => {
        const ack = await bus.publish(...args);
        if (lost++ > 0) return ack;
        const { PublishError } = await import('@sluice/pipeline');
        throw new PublishError('TIMEOUT', 'no answer in time');
      },
    });
    expect(await deaf.accept({ id, requestHash: 'mine' })).toMatchObject({ job: { id, requestHash: 'mine' } });
    expect(await states(id)).toEqual([JobState.ACCEPTED]);
  });

  test('survives any interleaving of accepts, results, cancels and replays from three replicas', async () => {
    type Step = readonly [action: 'succeed' | 'fail' | 'cancel' | 'reopen' | 'stale', replica: number];
    const step: fc.Arbitrary<Step> = fc.tuple(
      fc.constantFrom('succeed', 'fail', 'cancel', 'reopen', 'stale'),
      fc.nat(2),
    );
    const decisions: Record<Step[0], (job: Job) => Move | undefined> = {
      succeed: (job) => succeed(job, { result, attempt: job.attempt + 1, replays: job.replays }),
      fail: (job) => fail(job, { failure, attempt: job.attempt + 1, replays: job.replays }),
      stale: (job) => fail(job, { failure, attempt: 1, replays: job.replays + 1 }),
      cancel: calledOff,
      reopen,
    };
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 1, maxLength: 12 }), async (steps) => {
        const id = newJobId();
        await log().accept({ id });
        const moved = await Promise.all(
          steps.map(([action, replica]) => log(replica).transition(id, decisions[action])),
        );
        const history = await states(id);
        // One event per move that a caller was told of, and every one of them legal.
        expect(history.length - 1).toBe(moved.filter((move) => move?.moved).length);
        for (const [from, to] of history.slice(1).map((to, i) => [history[i]!, to] as const)) {
          expect(mayMove(from, to)).toBe(true);
        }
        // One end per run: a second end needs an operator's replay between.
        const ends = history.filter(isTerminal).length;
        const replays = history.filter((state) => state === JobState.QUEUED).length;
        expect(ends - replays === 0 || ends - replays === 1).toBe(true);
        if (steps.some(([action]) => action !== 'reopen' && action !== 'stale')) expect(ends).toBeGreaterThan(0);
        expect((await log().read(id))?.job.replays).toBe(replays);
      }),
      { numRuns: 60, seed: 20_261_121 },
    );
  });
});

describe('erasing a job', () => {
  const request = create(JobRequestSchema, { work: { case: 'email', value: { to: 'ada@example.com' } } });
  const bounce = create(MailReportSchema, { kind: 'bounce', status: '5.1.1' });
  const sent = async (): Promise<string> => {
    const id = newJobId();
    await log().accept({ id, kind: JobKind.EMAIL, request });
    await log().transition(id, (job) => succeed(job, { result, attempt: 1, replays: 0 }));
    return id;
  };

  test('waits for what came after the event that was looked at: a report may not have reached its readers', async () => {
    const id = await sent();
    const { sequence } = (await log().read(id, 'leader'))!;
    await log(1).transition(id, (job) => report(job, bounce));
    expect(await log().erase(id, () => true, sequence)).toBe(false);
    const { cause, sequence: last } = (await log().read(id, 'leader'))!;
    expect(cause).toBe('report');
    expect(await log().erase(id, () => true, last)).toBe(true);
    // A repeat after a crash erases what was left; which event it looked at does not matter then.
    expect(await log().erase(id, () => true, sequence)).toBe(true);
  });

  test('is final: a mail that comes back later changes nothing', async () => {
    const id = await sent();
    await log().erase(id, () => true);
    expect(await log(1).transition(id, (job) => report(job, bounce))).toMatchObject({ moved: false, cause: 'erase' });
    expect(await states(id)).toEqual([JobState.SUCCEEDED]);
  });

  test('and reports about it at once end with an erased job', async () => {
    for (let round = 0; round < 10; round += 1) {
      const id = await sent();
      await Promise.all([
        log(0).transition(id, (job) => report(job, bounce)),
        log(1).erase(id, () => true),
        log(2).transition(id, (job) => report(job, create(MailReportSchema, { kind: 'complaint' }))),
      ]);
      const found = (await log().read(id, 'leader'))!;
      expect(found.cause).toBe('erase');
      expect(found.job.request).toBeUndefined();
    }
  });
});
