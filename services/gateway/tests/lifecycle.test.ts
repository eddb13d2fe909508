import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { startRig, type Rig } from './rig.ts';

let rig: Rig;
beforeAll(async () => {
  rig = await startRig();
});
afterAll(() => rig?.stop());

interface MessageView {
  events: { event: string; at: string; app: string }[];
  expected: string[];
  missing: { event: string; overdue: boolean }[];
}
const message = (path: string) => rig.call<MessageView>(`/v1/messages/${path}`);
const at = (second: number) => new Date(Date.UTC(2026, 0, 1, 0, 0, second)).toISOString();

describe('events of another system', () => {
  test('are kept once they are answered, one at a time', async () => {
    const json = { app_id: 'shop', message_id: 'order-1', event: 'published', created_at: at(1) };
    expect(await rig.call('/v1/events', { json })).toMatchObject({ status: 202, body: { accepted: 1 } });
    expect((await message('shop/order-1')).body.events).toEqual([{ at: at(1), event: 'published', app: 'shop' }]);
  });

  test('are kept many at a time, in the order they were sent, under either spelling', async () => {
    const events = Array.from({ length: 1_000 }, (_, i) =>
      i % 2
        ? { app_id: 'shop', message_id: `bulk-${i % 10}`, event: `step-${i}`, created_at: at(i % 60) }
        : { appId: 'shop', messageId: `bulk-${i % 10}`, event: `step-${i}` },
    );
    expect((await rig.call('/v1/events', { json: { events } })).body).toEqual({ accepted: 1_000 });
    const { body } = await message('shop/bulk-3');
    expect(body.events.map(({ event }) => event)).toEqual(Array.from({ length: 100 }, (_, i) => `step-${i * 10 + 3}`));
  });

  test('show which of the declared ones are missing', async () => {
    const json = { events: ['published', 'received', 'shipped'], within_ms: 60_000 };
    expect((await rig.call('/v1/flows/store', { method: 'PUT', json })).status).toBe(200);
    await rig.call('/v1/events', { json: { app_id: 'store', message_id: 'm1', event: 'published' } });
    await rig.call('/v1/events', { json: { app_id: 'store', message_id: 'm1', event: 'shipped' } });
    const { body } = await message('store/m1');
    expect(body.expected).toEqual(['published', 'received', 'shipped']);
    expect(body.missing).toEqual([{ event: 'received', overdue: false }]);
  });

  test.each([
    [{ message_id: 'm', event: 'e' }, '/app_id'],
    [{ app_id: 'a.b', message_id: 'm', event: 'e' }, '/app_id'],
    [{ app_id: 'image', message_id: 'm', event: 'e' }, '/app_id'],
    [{ app_id: 'a', message_id: '*', event: 'e' }, '/message_id'],
    [{ app_id: 'a', message_id: 'm' }, '/event'],
    [{ app_id: 'a', message_id: 'm', event: 'e', created_at: 'yesterday' }, '/created_at'],
    [{ app_id: 'a', message_id: 'm', event: 'e', created_at: '2026-12-31T23:59:60Z' }, '/created_at'],
    [{ app_id: 'a', message_id: 'm', event: 'e', colour: 'red' }, '/colour'],
    [{ events: [] }, '/events'],
    [{ events: [{ app_id: 'a', message_id: 'm', event: 'e' }, { app_id: 'a' }] }, '/events/1/message_id'],
  ])('%j is refused as a whole', async (json, pointer) => {
    expect(await rig.call('/v1/events', { json })).toMatchObject({ status: 400, body: { errors: [{ pointer }] } });
  });

  test('of which nothing was ever heard are not found', async () => {
    for (const path of ['shop/unheard', 'nobody/order-1', 'image/job_aaaaaaaaaaaaaaaaaaaaaaaaaa', 'a%2fb/c']) {
      expect((await message(path)).status).toBe(404);
    }
  });
});
