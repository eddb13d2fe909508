import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { JobView } from '../src/jobs/job-view.ts';
import { eventually, startRig, type Rig } from './rig.ts';

/** Fewer than the jobs of a test: when each job that ended held one, no slot would be left for a new job. */
const SLOTS = 70;
const JOBS = 2 * SLOTS;
/** Of what announces the ends: room for what is in hand when the breaker opens, and none for all jobs. */
const ANNOUNCER_SLOTS = JOBS;
const ROOM = 5;

let rig: Rig;
beforeAll(async () => {
  rig = await startRig();
  await rig.workers();
  for await (const { name } of rig.bus.jsm.consumers.list('JOBS')) {
    await rig.bus.jsm.consumers.update('JOBS', name, {
      max_ack_pending: name === 'orchestrator' ? SLOTS : ANNOUNCER_SLOTS,
    });
  }
});
afterAll(() => rig?.stop());

const limit = (stream: string, max_msgs: number) => rig.bus.jsm.streams.update(stream, { max_msgs });
const stored = async (stream: string): Promise<number> => (await rig.bus.jsm.streams.info(stream)).state.messages;
const send = async (priority: string, callbackUrl?: string): Promise<string> => {
  const json = { to: 'ada@example.com', template: 'welcome', variables: { name: 'Ada' }, priority, callbackUrl };
  return (await rig.call<JobView>('/v1/emails', { json })).body.id;
};
const succeeded = (id: string) =>
  eventually(
    async () => (await rig.call<JobView>(`/v1/jobs/${id}`)).body.state,
    (state) => state === 'succeeded',
  );
const ready = async () => (await rig.call<{ status: string; reasons: string[]; held: string[] }>('/readyz')).body;

describe.each([
  { stream: 'CLIENTS', pipeline: 'client_callbacks' },
  { stream: 'WEBHOOKS', pipeline: 'webhook_calls' },
])('while $stream is full', ({ stream, pipeline }) => {
  test('jobs of every kind are dispatched and end, and what waited is published once there is room', async () => {
    // No worker is to take webhooks away while they are counted.
    await rig.call('/v1/pipelines/webhooks:pause', { method: 'POST' });
    const before = await stored(stream);
    await limit(stream, before + ROOM);
    const ids = await Promise.all(Array.from({ length: JOBS }, () => send('normal', 'https://receiver.invalid/hook')));
    await Promise.all(ids.map(succeeded));
    await succeeded(await send('express'));

    const { reasons, held } = await eventually(ready, (answer) => answer.held.length > 0);
    expect(reasons).toEqual([]);
    expect(held.join()).toMatch(new RegExp(`^${pipeline}: .*${stream}.* full`));
    const { num_ack_pending } = await rig.bus.jsm.consumers.info('JOBS', 'orchestrator');
    expect(num_ack_pending).toBe(0);

    await limit(stream, 100_000);
    const wanted = before + JOBS + (stream === 'CLIENTS' ? 1 : 0);
    await eventually(
      () => stored(stream),
      (count) => count >= wanted,
    );
    await eventually(ready, (answer) => answer.held.length === 0);
    expect(await stored(stream)).toBe(wanted);
  });
});

describe('while DLQ is full', () => {
  test('jobs end, what cannot be handled waits unlost, and it is stored once there is room', async () => {
    const before = await stored('DLQ');
    await limit('DLQ', before + ROOM);
    const unreadable = 3 * ROOM;
    for (let n = 0; n < unreadable; n += 1) {
      await rig.bus.port.publish('user.create', 'no protobuf', { id: `unreadable-${n}` });
    }
    await eventually(
      () => stored('DLQ'),
      (count) => count === before + ROOM,
    );
    const ids = await Promise.all(Array.from({ length: JOBS }, () => send('normal')));
    await Promise.all(ids.map(succeeded));
    expect(await stored('DLQ')).toBe(before + ROOM);
    // Not one of them is acknowledged before its dead letter is stored.
    expect((await rig.bus.jsm.consumers.info('USERS', 'commands')).num_ack_pending).toBe(unreadable - ROOM);

    await limit('DLQ', -1);
    await eventually(
      () => stored('DLQ'),
      (count) => count === before + unreadable,
    );
    await eventually(
      async () => (await rig.bus.jsm.consumers.info('USERS', 'commands')).num_ack_pending,
      (count) => count === 0,
    );
    expect(await stored('DLQ')).toBe(before + unreadable);
  });
});
