import { afterAll, beforeAll, expect, test } from 'vitest';
import { createLifecycle } from '@sluice/messaging';
import { eventually, startRig, type Rig } from './rig.ts';

let rig: Rig;
beforeAll(async () => {
  rig = await startRig();
});
afterAll(() => rig?.stop());

interface MessagePage {
  events: { event: string }[];
  missing: { event: string }[];
  next?: number;
}

test('a message of many events is answered in pages, each of which knows what is missing', async () => {
  const declared = { events: ['step-0', 'step-2399', 'never'] };
  expect((await rig.call('/v1/flows/long', { method: 'PUT', json: declared })).status).toBe(200);
  for (let from = 0; from < 2_400; from += 800) {
    const events = Array.from({ length: 800 }, (_, i) => ({
      app_id: 'long',
      message_id: 'm',
      event: `step-${from + i}`,
    }));
    expect((await rig.call('/v1/events', { json: { events } })).status).toBe(202);
  }
  const page = async (query: string) => (await rig.call<MessagePage>(`/v1/messages/long/m${query}`)).body;
  const first = await eventually(
    () => page(''),
    ({ missing }) => missing.length === 1,
  );
  expect(first.events).toHaveLength(200);
  const seen = first.events.map(({ event }) => event);
  for (let { next } = first; next !== undefined;) {
    const more = await page(`?limit=1000&cursor=${next}`);
    expect(more.missing.map(({ event }) => event)).toEqual(['never']);
    seen.push(...more.events.map(({ event }) => event));
    ({ next } = more);
  }
  expect(seen).toEqual(Array.from({ length: 2_400 }, (_, i) => `step-${i}`));
});

test('events that were sent as one come on one page, also where they are more than it takes', async () => {
  const json = { to: 'ada@example.com', template: 'welcome', variables: { name: 'Ada' } };
  const job = await rig.call<{ id: string }>('/v1/emails', { json });
  const report = createLifecycle(rig.bus.port, { app: 'webhooks', instance: 'gateway-1' });
  for (const [event, mayWait] of [
    ['a', false],
    ['b', true],
    ['c', true],
    ['d', false],
    ['e', false],
  ] as const) {
    report(job.body.id, { event, mayWait });
  }
  await rig.bus.nc.flush();
  const pages: string[] = [];
  for (let cursor: number | undefined = 1; cursor !== undefined && pages.length < 10;) {
    const page: MessagePage = (
      await rig.call<MessagePage>(`/v1/messages/webhooks/${job.body.id}?limit=2&cursor=${cursor}`)
    ).body;
    pages.push(page.events.map(({ event }) => event).join(' '));
    cursor = page.next;
  }
  expect(pages).toEqual(['a', 'b c d', 'e']);
});

test('incomplete messages are listed in pages, each once', async () => {
  expect((await rig.call('/v1/flows/orders', { method: 'PUT', json: { events: ['paid', 'sent'] } })).status).toBe(200);
  const events = Array.from({ length: 25 }, (_, i) => ({ app_id: 'orders', message_id: `o${i}`, event: 'paid' }));
  expect((await rig.call('/v1/events', { json: { events } })).status).toBe(202);
  const list = async (query: string) =>
    (await rig.call<{ messages: { messageId: string }[]; next?: string }>(`/v1/messages/orders${query}`)).body;
  await eventually(
    () => list('?limit=100'),
    ({ messages }) => messages.length === 25,
  );
  const seen: string[] = [];
  let cursor: string | undefined;
  do {
    const page = await list(`?limit=10${cursor === undefined ? '' : `&cursor=${cursor}`}`);
    expect(page.messages.length).toBeLessThanOrEqual(10);
    seen.push(...page.messages.map(({ messageId }) => messageId));
    cursor = page.next;
  } while (cursor !== undefined);
  expect(seen.toSorted()).toEqual(events.map(({ message_id }) => message_id).toSorted());
  expect((await rig.call('/v1/messages/orders?cursor=bm9uc2Vuc2U')).status).toBe(400);
});
