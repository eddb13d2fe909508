import { create } from '@bufbuild/protobuf';
import { channels, JobEventSchema, JobKind, JobSchema, JobState } from '@sluice/contracts';
import { derivedJobId, jobIdFor, jobLog, newJobId } from '@sluice/jobs';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { keyGeneration } from '../src/jobs/accept/idempotency.ts';
import type { JobView } from '../src/jobs/job-view.ts';
import { png } from './pictures.ts';
import { eventually, startRig, type Rig } from './rig.ts';

let rig: Rig;
beforeAll(async () => {
  rig = await startRig();
  // Mails to this address are never done: their jobs stay open.
  await rig.workers({
    send: async ({ email }) => (email?.to === 'hold@example.com' ? { kind: 'skip', reason: 'as asked' } : undefined),
  });
});
afterAll(() => rig?.stop());

const state = async (id: string): Promise<string> => (await rig.call<JobView>(`/v1/jobs/${id}`)).body.state;
const succeeded = (id: string) =>
  eventually(
    () => state(id),
    (seen) => seen === 'succeeded',
  );
const pending = async (consumer: string): Promise<number> => {
  const { num_ack_pending, num_pending } = await rig.bus.jsm.consumers.info('JOBS', consumer);
  return num_ack_pending + num_pending;
};
const deadLettersOf = async (jobId: string): Promise<string[]> => {
  const { body } = await rig.call<{ deadLetters: { jobId?: string; consumer: string; reason: string }[] }>(
    '/v1/dead-letters',
  );
  return body.deadLetters.filter((letter) => letter.jobId === jobId).map(({ consumer, reason }) => consumer + reason);
};

describe('the mail that says a PDF is ready', () => {
  test('is a job whose id no Idempotency-Key leads to', async () => {
    const imageId = jobIdFor('local', 'picture', keyGeneration(Date.now()));
    // What a client can try: a key that spells how the system might name that mail, and the id of the picture itself.
    const guesses = [`notify:${imageId}`, `derived:notify:${imageId}`, `${imageId}.notify`, imageId];
    for (const key of guesses) {
      const json = { to: 'eve@example.com', template: 'welcome', variables: { name: 'Ada' } };
      await rig.call('/v1/emails', { json, headers: { 'idempotency-key': key } });
    }
    const { body } = await rig.call<JobView>('/v1/images?notify=ada@example.com', {
      body: png(),
      headers: { 'idempotency-key': 'picture' },
    });
    expect(body.id).toBe(imageId);
    await succeeded(imageId);
    await eventually(
      async () => (await jobLog(rig.bus).read(derivedJobId('notify', imageId)))?.job.request?.work,
      (work) => work?.case === 'email' && work.value.to === 'ada@example.com',
    );
    await eventually(
      () => pending('orchestrator'),
      (count) => count === 0,
    );
  });
});

describe('a step that can never succeed', () => {
  test('ends at once, as a dead letter that names the job, and holds no slot', async () => {
    const id = newJobId();
    const job = create(JobSchema, {
      id,
      account: 'local',
      kind: JobKind.IMAGE,
      state: JobState.SUCCEEDED,
      // No request can bring in such an address; an event of an older version could.
      notify: 'nobody at all',
      result: { work: { case: 'image', value: { key: `pdf/${id}.pdf`, pages: 1 } } },
    });
    const event = create(JobEventSchema, { job, cause: 'result' });
    await rig.bus.publish(channels.job, event, { values: { jobId: id }, id: `${id}.0` });
    await eventually(
      () => deadLettersOf(id),
      (letters) => letters.length === 1,
    );
    expect(await deadLettersOf(id)).toEqual(['orchestratorpermanent']);
    await eventually(
      () => pending('orchestrator'),
      (count) => count === 0,
    );
  });
});

describe('a dead letter of a command', () => {
  test('ends no job, whichever job its message id names', async () => {
    const stopped = newJobId();
    await jobLog(rig.bus).accept({
      id: stopped,
      account: 'local',
      kind: JobKind.EMAIL,
      request: {
        work: { case: 'email', value: { to: 'hold@example.com', template: 'welcome', variables: { name: 'Ada' } } },
      },
    });
    await rig.bus.port.publish('user.create', 'not a command', { id: `${stopped}.work` });
    await eventually(
      () => rig.call<{ deadLetters: { messageId: string }[] }>('/v1/dead-letters?consumer=commands'),
      ({ body }) => body.deadLetters.length === 1,
    );
    // The pipeline that ends jobs has seen the letter once nothing of DLQ waits for it.
    await eventually(
      async () => {
        const { num_pending, num_ack_pending } = await rig.bus.jsm.consumers.info('DLQ', 'dead_letters');
        return num_pending + num_ack_pending;
      },
      (left) => left === 0,
    );
    expect((await jobLog(rig.bus).read(stopped, 'leader'))?.job.state).toBe(JobState.ACCEPTED);
  });
});
