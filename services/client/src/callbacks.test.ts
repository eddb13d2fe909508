import { createHarness } from '@sluice/pipeline/testing';
import { create } from '@bufbuild/protobuf';
import { JobFinishedSchema, JobKind, JobState } from '@sluice/contracts';
import { describe, expect, test } from 'vitest';
import { loadConfig, pipelineTuning } from '@sluice/service';
import { callbacksPipeline, createCallbackLog } from './callbacks.ts';
import { clientFields } from './config.ts';

const tuning = pipelineTuning('', loadConfig(clientFields, { SLUICE_ENV: 'dev' }));

const finished = (id: string, state = JobState.SUCCEEDED) =>
  create(JobFinishedSchema, { job: { id, kind: JobKind.IMAGE, state } });

describe('the callbacks of finished jobs', () => {
  test('are acked and listed newest first, a repeated one once', async () => {
    const callbacks = createCallbackLog();
    const harness = createHarness(callbacksPipeline(tuning), { callbacks, now: () => new Date(0) });
    for (const id of ['a', 'b', 'a']) expect((await harness.deliver(finished(id))).outcome).toBe('ack');
    expect(callbacks.list().map(({ jobId, state }) => [jobId, state])).toEqual([
      ['a', 'succeeded'],
      ['b', 'succeeded'],
    ]);
  });

  test('without a job are dead letters, not crashes', async () => {
    const harness = createHarness(callbacksPipeline(tuning), {
      callbacks: createCallbackLog(),
      now: () => new Date(0),
    });
    expect((await harness.deliver(create(JobFinishedSchema, {}))).outcome).toBe('deadLetter');
  });

  test('beyond the limit push out the oldest', () => {
    const log = createCallbackLog(2);
    for (const jobId of ['a', 'b', 'c']) {
      const rest = { state: 'failed', errorCode: 'x', receivedAt: new Date(0), subject: 's' };
      log.add({ jobId, ...rest });
    }
    expect(log.list().map((c) => c.jobId)).toEqual(['c', 'b']);
  });
});
