import { buckets, openBucket } from '@sluice/messaging';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { createKey } from '../src/accounts/api-keys.ts';
import { eventually, startRig, type Rig } from './rig.ts';

let rig: Rig;
beforeAll(async () => {
  rig = await startRig({ settings: { auth: 'keys', openStreams: { perAccount: 2, total: 3 } } });
});
afterAll(() => rig?.stop());

test('an account has so many event streams open and no more, and leaves room to the others', async () => {
  const keys = await openBucket(rig.bus.nc, buckets.apiKeys);
  const account = async (name: string) => {
    const headers = { authorization: `Bearer ${(await createKey(keys, name, ['jobs:read', 'jobs:write'])).key}` };
    const json = { to: 'ada@example.com', template: 'welcome', variables: { name: 'Ada' } };
    const made = await eventually(
      () => rig.call<{ id: string }>('/v1/emails', { json, headers }),
      ({ status }) => status === 202,
    );
    const path = `/v1/jobs/${made.body.id}/stream`;
    return {
      async follow(): Promise<() => void> {
        const closing = new AbortController();
        const { status } = await fetch(`${rig.gateway.url}${path}`, { headers, signal: closing.signal });
        expect(status).toBe(200);
        return () => closing.abort();
      },
      refused: async () => {
        const { status, body, headers: answered } = await rig.call(path, { headers });
        return [status, body['code'], answered.get('retry-after')];
      },
    };
  };
  const [acme, globex] = [await account('acme'), await account('globex')];
  const stop = [await acme.follow(), await acme.follow()];
  expect(await acme.refused()).toEqual([429, 'rate_limited', '10']);
  stop.push(await globex.follow());
  expect(await globex.refused()).toEqual([503, 'overloaded', '10']);
  stop[0]!();
  await eventually(
    () =>
      globex.follow().then(
        (close) => stop.push(close),
        () => 0,
      ),
    (length) => length > 0,
  );
  for (const each of stop) each();
});
