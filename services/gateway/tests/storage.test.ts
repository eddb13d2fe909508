import { afterAll, beforeAll, expect, test } from 'vitest';
import { eventually, startRig, type Rig } from './rig.ts';

const STORAGE_BYTES = 2 * 2 ** 20;
let rig: Rig;
beforeAll(async () => {
  rig = await startRig({
    settings: {
      pressure: { maxBacklog: 50_000, maxWaitMs: 300_000, isBehind: () => false, storageBytes: STORAGE_BYTES },
    },
  });
});
afterAll(() => rig?.stop());

const mail = () =>
  rig.call('/v1/emails', { json: { to: 'ada@example.com', template: 'welcome', variables: { name: 'Ada' } } });
const event = () => rig.call('/v1/events', { json: { app_id: 'shop', message_id: 'm', event: 'e' } });

test('jobs and events are refused before the storage is full, readiness says so, and room opens again', async () => {
  expect([(await mail()).status, (await event()).status]).toEqual([202, 202]);
  for (let i = 0; i < 40; i += 1) {
    await rig.bus.port.publish('events.filler.m', Buffer.alloc(50_000, i), { id: `filler-${i}` });
  }
  const refused = await eventually(mail, ({ status }) => status !== 202);
  expect(refused).toMatchObject({
    status: 503,
    body: {
      code: 'overloaded',
      detail: expect.stringMatching(/storage of the broker is (9\d|1\d\d) % full/) as string,
    },
  });
  expect(Number(refused.headers.get('retry-after'))).toBeGreaterThan(0);
  expect((await event()).status).toBe(503);
  const ready = await rig.call<{ reasons: string[] }>('/readyz');
  expect([ready.status, ready.body.reasons.join()]).toEqual([503, expect.stringContaining('storage of the broker')]);
  await rig.bus.jsm.streams.purge('EVENTS', { filter: 'events.filler.m' });
  await eventually(mail, ({ status }) => status === 202);
  expect((await rig.call('/readyz')).status).toBe(200);
});

/** Lets a stream take `limitBytes` more, and fills that to 93 % by messages of another kind than the one that is refused. */
async function fill(stream: string, subject: string, limitBytes: number): Promise<void> {
  const { bytes } = (await rig.bus.jsm.streams.info(stream)).state;
  await rig.bus.jsm.streams.update(stream, { max_bytes: bytes + limitBytes });
  const piece = Buffer.alloc(limitBytes / 100, 'x');
  for (let part = 0; ; part += 1) {
    const { state, config } = await rig.bus.jsm.streams.info(stream);
    if (state.bytes > 0.93 * config.max_bytes) return;
    await rig.bus.port.publish(subject, piece, { id: `${subject}-${part}` });
  }
}
const LIMIT = 400_000;
const ready = () => rig.call<{ status: string; reasons: string[]; held: string[] }>('/readyz');
const refusedFor = (stream: string) => ({
  status: 503,
  body: { code: 'overloaded', detail: expect.stringMatching(`stream ${stream} is 9\\d % full`) as string },
});
test('events are refused before EVENTS is full, jobs go on, and it takes events again by itself', async () => {
  await fill('EVENTS', 'events.filler.m', LIMIT);
  const refused = await eventually(event, ({ status }) => status !== 202);
  expect(refused).toMatchObject(refusedFor('EVENTS'));
  expect(Number(refused.headers.get('retry-after'))).toBeGreaterThan(0);
  expect((await mail()).status).toBe(202);
  expect((await ready()).body).toMatchObject({ status: 'ready', held: [expect.stringContaining('stream EVENTS is')] });
  // As the lifetime of what it holds does.
  await rig.bus.jsm.streams.purge('EVENTS', { filter: 'events.filler.m' });
  await eventually(event, ({ status }) => status === 202);
  expect((await ready()).body.held).toEqual([]);
});

test('jobs of a lane are refused before the lane is full, the others go on', async () => {
  const express = () =>
    rig.call('/v1/emails', {
      json: { to: 'ada@example.com', template: 'welcome', variables: { name: 'Ada' }, priority: 'express' },
    });
  await fill('EMAILS', 'email.send.notification', LIMIT);
  expect(await eventually(mail, ({ status }) => status !== 202)).toMatchObject(refusedFor('EMAILS'));
  expect((await express()).status).toBe(202);
  expect((await ready()).body).toMatchObject({ status: 'ready', held: [expect.stringContaining('stream EMAILS is')] });
  await rig.bus.jsm.streams.purge('EMAILS', { filter: 'email.send.notification' });
  await eventually(mail, ({ status }) => status === 202);
});

test('no job is taken before JOBS is full, so that those that were taken can end', async () => {
  await rig.workers();
  const taken = await rig.call<{ id: string }>('/v1/emails', {
    json: { to: 'ada@example.com', template: 'welcome', variables: { name: 'Ada' } },
  });
  await fill('JOBS', 'jobs.filler', LIMIT);
  expect(await eventually(mail, ({ status }) => status !== 202)).toMatchObject(refusedFor('JOBS'));
  expect(await ready()).toMatchObject({
    status: 503,
    body: { reasons: [expect.stringContaining('stream JOBS is')] },
  });
  await eventually(
    async () => (await rig.call<{ state: string }>(`/v1/jobs/${taken.body.id}`)).body.state,
    (state) => state === 'succeeded',
  );
  await rig.bus.jsm.streams.purge('JOBS', { filter: 'jobs.filler' });
  await eventually(mail, ({ status }) => status === 202);
});

test('a publish that a full stream refuses is answered 503 with the name of the stream', async () => {
  const { config, state } = await rig.bus.jsm.streams.info('JOBS');
  await rig.bus.jsm.streams.update('JOBS', { max_msgs: state.messages });
  const answer = await mail();
  expect(answer).toMatchObject({
    status: 503,
    body: { code: 'overloaded', detail: 'Stream JOBS is full. Nothing was accepted; repeat the request later.' },
  });
  expect(Number(answer.headers.get('retry-after'))).toBeGreaterThan(0);
  await rig.bus.jsm.streams.update('JOBS', { max_msgs: config.max_msgs });
  expect((await mail()).status).toBe(202);
});

test('a stream that is missing hides none of the others', async () => {
  await rig.bus.jsm.streams.delete('CLIENTS');
  const streams = async () => (await rig.gateway.watch.look()).streams.map(({ name }) => name);
  // A look that began before is shared.
  await expect.poll(streams).not.toContain('CLIENTS');
  expect(await streams()).toContain('JOBS');
});
