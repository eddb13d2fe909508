import { createClient, Code, ConnectError } from '@connectrpc/connect';
import { createConnectTransport } from '@connectrpc/connect-node';
import { EventService } from '@sluice/contracts';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { MAX_APPS } from '../src/lifecycle/flows.ts';
import type { Gateway } from '../src/gateway.ts';
import { startRig, type Rig } from './rig.ts';

let rig: Rig;
beforeAll(async () => {
  rig = await startRig();
});
afterAll(() => rig?.stop());

const bulk = (app: string, count: number, name = 'step') => ({
  events: Array.from({ length: count }, (_, i) => ({ app_id: app, message_id: `m${i % 3}`, event: `${name}-${i}` })),
});
const stored = async (app: string): Promise<number> => {
  const { state } = await rig.bus.jsm.streams.info('EVENTS', { subjects_filter: `events.${app}.*` });
  return Object.values(state.subjects ?? {}).reduce((sum, count) => sum + count, 0);
};

describe('a request with an Idempotency-Key', () => {
  const post = (json: object, key: string, gateway: Gateway = rig.gateway) =>
    rig.call(`${gateway.url}/v1/events`, { json, headers: { 'idempotency-key': key } });

  test.each([1, 2, 999])('of %i events is stored once, however often it is sent', async (count) => {
    const app = `once${count}`;
    const other = await rig.replica();
    const answers = await Promise.all(
      [rig.gateway, other, rig.gateway].map((gateway) => post(bulk(app, count), `key-${count}`, gateway)),
    );
    answers.push(await post(bulk(app, count), `key-${count}`));
    expect(answers.map(({ status, body }) => [status, body['accepted']])).toEqual(answers.map(() => [202, count]));
    expect(answers.filter(({ headers }) => headers.get('idempotent-replayed') === 'true')).toHaveLength(3);
    expect(await stored(app)).toBe(count);
  });

  test('that belongs to other events is refused', async () => {
    expect((await post(bulk('mine', 2), 'reused')).status).toBe(202);
    expect(await post(bulk('mine', 3), 'reused')).toMatchObject({
      status: 422,
      body: { code: 'idempotency_key_reused' },
    });
    expect(await stored('mine')).toBe(2);
  });

  test('stands for less than a thousand events', async () => {
    expect((await post(bulk('many', 1_000), 'many')).status).toBe(400);
  });
});

test('many bulks at once are all stored, whole', async () => {
  const answers = await Promise.all(
    Array.from({ length: 120 }, () => rig.call('/v1/events', { json: bulk('crowd', 20) })),
  );
  expect(new Set(answers.map(({ status }) => status))).toEqual(new Set([202]));
  expect(await stored('crowd')).toBe(2_400);
});

describe('a rate limit', () => {
  // The clock stands still, in a window of its own for each test.
  let minute = 0;
  const limited = (accountPerSecond: number, at = Date.UTC(2026, 0, 1, 12, (minute += 1), 0, 500)) =>
    rig.replica({
      now: () => at,
      settings: { rates: { globalPerSecond: 0, accountPerSecond, recipientPerHour: 0 } },
    });

  test('counts every event of a bulk', async () => {
    const gateway = await limited(100);
    const post = async (count: number) =>
      (await rig.call(`${gateway.url}/v1/events`, { json: bulk('paced', count) })).status;
    expect([await post(60), await post(60), await post(30), await post(1)]).toEqual([202, 429, 202, 202]);
    expect(await stored('paced')).toBe(91);
  });

  test('of one lets no bulk in, and says how many may come at once', async () => {
    const gateway = await limited(1);
    const { status, body } = await rig.call(`${gateway.url}/v1/events`, { json: bulk('flood', 1_000) });
    expect([status, body['detail']]).toEqual([413, expect.stringContaining('at most 1 at once')]);
  });

  test('of less than a bulk refuses it before its events are looked at', async () => {
    const gateway = await limited(10);
    const events = Array.from({ length: 11 }, () => ({ app_id: '/', message_id: '', event: 1 }));
    expect((await rig.call(`${gateway.url}/v1/events`, { json: { events } })).status).toBe(413);
    const call = createClient(
      EventService,
      createConnectTransport({ baseUrl: gateway.url, httpVersion: '1.1' }),
    ).recordEvents({ events: events.map(() => ({ appId: '/' })) });
    expect((await call.catch((error: unknown) => ConnectError.from(error).message)) as string).toContain('at most 10');
    const recipients = Array.from({ length: 11 }, () => ({ to: 1 }));
    expect((await rig.call(`${gateway.url}/v1/emails:batch`, { json: { recipients } })).status).toBe(413);
  });

  test('counts the events of a call', async () => {
    const gateway = await limited(20);
    const client = createClient(EventService, createConnectTransport({ baseUrl: gateway.url, httpVersion: '1.1' }));
    const record = (count: number) =>
      client.recordEvents({
        events: Array.from({ length: count }, () => ({ appId: 'calls', messageId: 'm', event: 'e' })),
      });
    await record(15);
    expect(ConnectError.from(await record(15).catch((error: unknown) => error)).code).toBe(Code.ResourceExhausted);
    expect(await stored('calls')).toBe(15);
  });
});

test('an account speaks for so many apps and no more; those it uses no more make room', async () => {
  let nowMs = Date.now();
  const other = await startRig({ now: () => nowMs });
  try {
    const post = async (from: number, count: number) =>
      (
        await other.call('/v1/events', {
          json: {
            events: Array.from({ length: count }, (_, i) => ({
              app_id: `app${from + i}`,
              message_id: 'm',
              event: 'e',
            })),
          },
        })
      ).status;
    expect(await post(0, MAX_APPS - 10)).toBe(202);
    expect(await post(MAX_APPS, 11)).toBe(403);
    expect(await post(MAX_APPS, 10)).toBe(202);
    expect(await post(0, 500)).toBe(202);
    nowMs += 7 * 86_400_000;
    expect(await post(0, 10)).toBe(202);
    nowMs += 2 * 86_400_000;
    expect(await post(5_000, 900)).toBe(202);
    const { state } = await other.bus.jsm.streams.info('KV_flows', { subjects_filter: '$KV.flows.*' });
    expect(Object.keys(state.subjects ?? {}).length).toBeLessThan(MAX_APPS * 2 + 1);
    expect(await post(6_000, 200)).toBe(403);
  } finally {
    await other.stop();
  }
});
