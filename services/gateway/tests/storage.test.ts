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
