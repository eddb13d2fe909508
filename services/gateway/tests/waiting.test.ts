import { create } from '@bufbuild/protobuf';
import { JobKind, JobSchema, JobState } from '@sluice/contracts';
import { jobLog } from '@sluice/jobs';
import Fastify from 'fastify';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { answerAccepted } from '../src/http/answer.ts';
import type { JobView } from '../src/jobs/job-view.ts';
import { eventually, startRig, type Rig } from './rig.ts';

let rig: Rig;
beforeAll(async () => {
  rig = await startRig();
});
afterAll(() => rig?.stop());

describe('a client that waits for the end of its job', () => {
  test('is waited for no longer once it has gone', async () => {
    const waiting = Promise.withResolvers<void>();
    const left = Promise.withResolvers<void>();
    const job = create(JobSchema, {
      id: 'job_aaaaaaaaaaaaaaaaaaaaaaaaaa',
      kind: JobKind.EMAIL,
      state: JobState.ACCEPTED,
    });
    const live = {
      listen() {
        waiting.resolve();
        return { heard: Promise.resolve(), stop: () => left.resolve() };
      },
      close: () => Promise.resolve(),
    };
    const app = Fastify();
    const deps = { jobs: jobLog(rig.bus), live, closing: new AbortController().signal };
    app.post('/', (request, reply) => answerAccepted(deps, request, reply, { job, sequence: 1, repeated: false }));
    const url = await app.listen({ port: 0 });
    const leave = new AbortController();
    const answer = fetch(url, {
      method: 'POST',
      headers: { 'content-type': 'application/json', prefer: 'wait=60' },
      body: '{"a":1}',
      signal: leave.signal,
    });
    await waiting.promise;
    leave.abort();
    await expect(answer).rejects.toThrow();
    await left.promise;
    await app.close();
  });

  // 503 says that nothing was promised: a client that believed it sent the mail a second time.
  test('is told that the job is accepted, even if the broker goes away meanwhile', async () => {
    const asked = rig.call<JobView>('/v1/emails', {
      json: { to: 'ada@example.com', template: 'welcome', variables: { name: 'Ada' } },
      headers: { prefer: 'wait=3' },
    });
    await eventually(
      () => rig.bus.jsm.streams.info('JOBS'),
      ({ state }) => state.messages > 0,
    );
    await rig.nats.kill();
    const { status, body, headers } = await asked;
    await rig.nats.restart();
    expect({ status, state: body.state }).toEqual({ status: 202, state: 'accepted' });
    expect(headers.get('location')).toBe(`/v1/jobs/${body.id}`);
  });
});
