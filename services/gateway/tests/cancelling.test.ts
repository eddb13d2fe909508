import { jobKindNames, type JobKindName } from '@sluice/contracts';
import { grant } from '../src/credits/ledger.ts';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { JobView } from '../src/jobs/job-view.ts';
import { eventually, startRig, type Rig } from './rig.ts';

const PRICE = 2;
const prices = Object.fromEntries(jobKindNames.map((kind) => [kind, PRICE])) as Record<JobKindName, number>;
const GIVEN = 1_000;
const JOBS = 60;

let rig: Rig;
beforeEach(async () => {
  rig = await startRig({ settings: { credits: { prices, graceMs: 60_000 } } });
  await grant(rig.bus, 'local', GIVEN, '', Date.now());
});
afterEach(() => rig?.stop());

const send = async (): Promise<string> =>
  (
    await rig.call<JobView>('/v1/emails', {
      json: { to: 'ada@example.com', template: 'welcome', variables: { name: 'Ada' } },
    })
  ).body.id;
const cancel = (id: string) => rig.call<JobView>(`/v1/jobs/${id}`, { method: 'DELETE' });
const ended = (id: string) =>
  eventually(
    async () => (await rig.call<JobView>(`/v1/jobs/${id}`)).body,
    ({ state }) => ['succeeded', 'failed', 'cancelled'].includes(state),
  );
const balance = async () => (await rig.call<{ credits: { balance: number } }>('/v1/accounts/me')).body.credits.balance;

describe('asking to cancel a job', () => {
  test('is recorded, and recorded once: the job is cancelled when its worker says that nothing was done', async () => {
    const id = await send();
    expect(await cancel(id)).toMatchObject({ status: 202, body: { state: 'accepted', cancelRequested: true } });
    expect(await cancel(id)).toMatchObject({ status: 202, body: { state: 'accepted', cancelRequested: true } });
    await rig.workers();
    expect(await ended(id)).toMatchObject({ state: 'cancelled', cancelRequested: true });
    await eventually(balance, (left) => left === GIVEN);
    // The answer to the request was lost, and the client asks again.
    expect(await cancel(id)).toMatchObject({ status: 202, body: { state: 'cancelled' } });
    const { body } = await rig.call<{ events: { event: string; app: string }[] }>(`/v1/jobs/${id}/events`);
    const own = body.events.filter(({ app, event }) => app === 'gateway' && event !== 'published');
    expect(own.map(({ event }) => event)).toEqual(['accepted', 'cancel_requested', 'cancelled']);
  });

  test('changes nothing about a mail that was sent: the job succeeds and is paid for', async () => {
    let mails = 0;
    await rig.workers({ ignoresCancelling: true, send: async () => void (mails += 1) });
    const ids = await Promise.all(
      Array.from({ length: JOBS }, async () => {
        const id = await send();
        await cancel(id);
        return id;
      }),
    );
    const ends = await Promise.all(ids.map(ended));
    const sent = ends.filter(({ state }) => state === 'succeeded').length;
    expect({ sent, cancelled: ends.filter(({ state }) => state === 'cancelled').length }).toEqual({
      sent: mails,
      cancelled: JOBS - mails,
    });
    expect(mails).toBe(JOBS);
    await eventually(balance, (left) => left === GIVEN - PRICE * sent);
    expect(await cancel(ids[0]!)).toMatchObject({ status: 409, body: { code: 'job_finished' } });
  });
});
