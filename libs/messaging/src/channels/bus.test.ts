import { create } from '@bufbuild/protobuf';
import type { NatsConnection } from '@nats-io/transport-node';
import { channels, JobEventSchema, JobSchema, JobState, LifecycleEventSchema, type JobEvent } from '@sluice/contracts';
import { startNats, type NatsProcess } from '@sluice/dev';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createBus, type Bus } from './bus.ts';
import { connectNats } from '../nats/connection.ts';
import { provision } from '../provision/provision.ts';
import { tail } from './tail.ts';
import { topology } from '../topology/topology.ts';

let server: NatsProcess;
let nc: NatsConnection;
let bus: Bus;

beforeAll(async () => {
  server = await startNats();
  nc = await connectNats({ url: server.url, name: 'bus-test' });
  await provision(nc, topology);
  bus = await createBus(nc);
});
afterAll(async () => {
  await bus?.close();
  await server?.stop();
});

const event = (id: string, state: JobState) => create(JobEventSchema, { job: create(JobSchema, { id, state }) });
const put = (id: string, state: JobState, expect: number) =>
  bus.publish(channels.job, event(id, state), {
    values: { jobId: id },
    id: `${id}.${state}.${expect}`,
    expectLastSubjectSequence: expect,
  });

describe('publishing into a stream', () => {
  test('answers with the sequence the stream gave it', async () => {
    const ack = await put('pub_1', JobState.ACCEPTED, 0);
    expect(ack).toMatchObject({ stream: 'JOBS', duplicate: false });
    expect(ack.sequence).toBeGreaterThan(0);
  });

  test('refuses a write whose expected last sequence is not the last', async () => {
    await put('cas_1', JobState.ACCEPTED, 0);
    await expect(put('cas_1', JobState.QUEUED, 0)).rejects.toMatchObject({ code: 'REJECTED', apiCode: 10071 });
  });

  test('recognises a repeat by its id', async () => {
    const once = () =>
      bus.publish(channels.createUser, create(channels.createUser.schema, { name: 'Ada' }), { id: 'user_1.create' });
    expect((await once()).duplicate).toBe(false);
    expect((await once()).duplicate).toBe(true);
  });

  test('stores a batch whole or not at all', async () => {
    const entry = create(channels.credits.schema, { account: 'batch' });
    const step = { channel: channels.creditStep, message: entry, values: { account: 'batch', jobId: 'j', step: 's' } };
    const store = (after: number) =>
      bus.publishBatch([
        { ...step, expectLastSubjectSequence: 0, ttlMs: 60_000 },
        { channel: channels.credits, message: entry, values: { account: 'batch' }, expectLastSubjectSequence: after },
      ]);
    await expect(store(7)).rejects.toMatchObject({ code: 'REJECTED', apiCode: 10071 });
    expect(await bus.last(channels.creditStep, step.values, 'leader')).toBeUndefined();
    const sequence = await store(0);
    expect((await bus.last(channels.credits, { account: 'batch' }, 'leader'))?.sequence).toBe(sequence);
    // The step is there now: its entry is not stored a second time.
    await expect(store(sequence)).rejects.toMatchObject({ apiCode: 10071 });
    expect((await bus.last(channels.credits, { account: 'batch' }, 'leader'))?.sequence).toBe(sequence);
  });

  test('carries the headers that tracing gives it', async () => {
    const traced = await createBus(nc, {
      tracePublish: (info, send) =>
        send({ traceparent: `00-${'a'.repeat(32)}-${'b'.repeat(16)}-01`, 'x-to': info.template }),
    });
    await traced.publish(channels.job, event('tr_1', JobState.ACCEPTED), { values: { jobId: 'tr_1' }, id: 'tr_1.a' });
    const stored = await bus.last(channels.job, { jobId: 'tr_1' });
    expect(stored?.headers.get('traceparent')?.[0]).toContain('a'.repeat(32));
    expect(stored?.headers.get('x-to')).toEqual(['jobs.{jobId}']);
  });
});

describe('reading a stream back', () => {
  test.each(['any', 'leader'] as const)('gives the last message of a subject, from %s', async (from) => {
    const id = `last_${from}`;
    const first = await put(id, JobState.ACCEPTED, 0);
    await put(id, JobState.QUEUED, first.sequence);
    expect((await bus.last(channels.job, { jobId: id }, from))?.data.job?.state).toBe(JobState.QUEUED);
  });

  test.each(['any', 'leader'] as const)('gives undefined for a subject without a message, from %s', async (from) => {
    expect(await bus.last(channels.job, { jobId: 'nobody' }, from)).toBeUndefined();
  });

  test('gives the history of a subject oldest first, and of all subjects with a wildcard', async () => {
    const first = await put('hist_1', JobState.ACCEPTED, 0);
    await put('hist_2', JobState.ACCEPTED, 0);
    await put('hist_1', JobState.SUCCEEDED, first.sequence);
    const states: (JobState | undefined)[] = [];
    for await (const { data } of bus.history(channels.job, { jobId: 'hist_1' })) states.push(data.job?.state);
    expect(states).toEqual([JobState.ACCEPTED, JobState.SUCCEEDED]);
    const ids: (string | undefined)[] = [];
    for await (const { data } of bus.history(channels.job, {}, first.sequence)) ids.push(data.job?.id);
    expect(ids).toEqual(['hist_1', 'hist_2', 'hist_1']);
  });

  test.each([11, 12, 13, 267, 268, 269, 600])(
    'gives every one of a history of %i, once and in order',
    async (count) => {
      const values = { appId: 'batches', messageId: `of_${count}` };
      const sent = Array.from({ length: count }, (_, n) => `event_${n}`);
      for (const event of sent) {
        const message = create(LifecycleEventSchema, { ...values, event });
        await bus.publish(channels.event, message, { id: `${values.messageId}-${event}`, values });
      }
      const events: string[] = [];
      for await (const { data } of bus.history(channels.event, values)) events.push(data.event);
      expect(events).toEqual(sent);
    },
  );
});

describe('tailing a channel', () => {
  test('sees what comes in order, from a sequence on', async () => {
    const first = await put('tail_1', JobState.ACCEPTED, 0);
    const seen: string[] = [];
    const caughtUp = Promise.withResolvers<void>();
    const stop = await tail(nc, channels.job, {
      from: first.sequence,
      onMessage: ({ data, sequence }) => {
        seen.push(`${sequence}:${data.job?.state}`);
        if (seen.length === 2) caughtUp.resolve();
      },
    });
    const second = await put('tail_1', JobState.FAILED, first.sequence);
    await caughtUp.promise;
    await stop();
    expect(seen).toEqual([`${first.sequence}:${JobState.ACCEPTED}`, `${second.sequence}:${JobState.FAILED}`]);
  });

  // The ordered consumer alone asks the new stream for the sequence after the last one of the old.
  test('sees what comes in a stream that was deleted and made again, whose sequences start over', async () => {
    for (let n = 0; n < 5; n += 1) await put(`old_${n}`, JobState.ACCEPTED, 0);
    const { state } = await bus.jsm.streams.info('JOBS');
    const seen: (string | undefined)[] = [];
    let restarts = 0;
    const options = {
      onMessage: ({ data }: { data: JobEvent }) => void seen.push(data.job?.id),
      onRestart: () => void restarts++,
      checkEveryMs: 200,
    };
    const stop = await tail(nc, channels.job, { ...options, from: state.last_seq });
    await expect.poll(() => seen).toEqual(['old_4']);
    await bus.jsm.streams.delete('JOBS');
    await provision(nc, topology);
    await put('new_1', JobState.ACCEPTED, 0);
    await expect.poll(() => seen).toEqual(['old_4', 'new_1']);
    expect(restarts).toBe(1);
    await stop();
    // The same for one that begins with a position of the old stream.
    const stopLate = await tail(nc, channels.job, { ...options, from: state.last_seq + 1 });
    await expect.poll(() => seen).toEqual(['old_4', 'new_1', 'new_1']);
    expect(restarts).toBe(2);
    await stopLate();
  });
});
