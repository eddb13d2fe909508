import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { JobView } from '../src/jobs/job-view.ts';
import { png } from './pictures.ts';
import { eventually, startRig, type Call, type Rig } from './rig.ts';

let rig: Rig;
let id: string;
beforeAll(async () => {
  rig = await startRig();
  id = (
    await rig.call<JobView>('/v1/emails', {
      json: { to: 'ada@example.com', template: 'welcome', variables: { name: 'Ada' } },
    })
  ).body.id;
});
afterAll(() => rig?.stop());

describe('while the broker is away', () => {
  test('nothing is promised, nothing fails in any other way, and afterwards all goes on', async () => {
    await rig.nats.kill();
    await eventually(
      async () => (await rig.call('/readyz')).status,
      (status) => status === 503,
    );
    const calls: readonly [string, Call][] = [
      ['/v1/emails', { json: { to: 'ada@example.com', template: 'welcome', variables: { name: 'Ada' } } }],
      [
        '/v1/emails',
        {
          json: { to: 'ada@example.com', template: 'welcome', variables: { name: 'Ada' } },
          headers: { 'idempotency-key': 'outage' },
        },
      ],
      ['/v1/images', { body: png() }],
      [`/v1/jobs/${id}`, {}],
      [`/v1/jobs/${id}/events`, {}],
      [`/v1/jobs/${id}`, { method: 'DELETE' }],
      ['/v1/events', { json: { app_id: 'unheard', message_id: 'm', event: 'e' } }],
      ['/v1/flows/unheard', { method: 'PUT', json: { events: ['a'] } }],
      ['/v1/dead-letters', {}],
      ['/v1/pipelines/email_sent:pause', { method: 'POST' }],
    ];
    const answers = await Promise.all(calls.map(async ([path, call]) => ({ path, ...(await rig.call(path, call)) })));
    for (const { path, status, body, headers } of answers) {
      expect({ path, status, code: body['code'] }).toEqual({ path, status: 503, code: 'unavailable' });
      expect(Number(headers.get('retry-after'))).toBeGreaterThan(0);
    }
    expect((await rig.call('/v1/jobs')).status).toBe(200);

    await rig.nats.restart();
    const again = await eventually(
      () =>
        rig.call<JobView>('/v1/emails', {
          json: { to: 'ada@example.com', template: 'welcome', variables: { name: 'Ada' } },
          headers: { 'idempotency-key': 'outage' },
        }),
      ({ status }) => status !== 503,
    );
    expect(again.status).toBe(202);
    expect((await rig.call(`/v1/jobs/${id}`)).status).toBe(200);
    await eventually(
      async () => (await rig.call('/readyz')).status,
      (status) => status === 200,
    );
  });
});
