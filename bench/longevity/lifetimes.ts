// Whether what has a lifetime is gone when it is over, by looking at the running system.
import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Stack } from '@sluice/dev';
import { bucketStream, lifetimes, topology, type Bus } from '@sluice/messaging';
import { createStore } from '@sluice/storage';
import type { Row } from '../run.ts';

/** How late the end of something may show: the pause between two looks, on a busy machine. */
const SLACK_SECONDS = 15;

/** One row for each lifetime that is shorter than the run was. */
export async function lifetimeRows(
  bus: Bus,
  stack: Stack,
  { key, scale, ranSeconds }: { readonly key: string; readonly scale: number; readonly ranSeconds: number },
): Promise<readonly Row[]> {
  const seconds = (ms: number): number => ms / scale / 1_000;
  const rows: Row[] = [];
  const row = (what: string, ageSeconds: number, limitSeconds: number): void => {
    rows.push({
      id: `longevity.oldest.${what}`,
      value: ageSeconds,
      unit: `s, its lifetime is ${limitSeconds.toFixed(1)} s`,
      pass: ageSeconds <= limitSeconds + SLACK_SECONDS,
    });
  };
  const kept = [
    ...topology.streams.map(({ name, maxAgeMs }) => ({ name: name as string, ms: maxAgeMs })),
    ...topology.buckets.map((spec) => ({ name: bucketStream(spec), ms: spec.ttlMs })),
  ];
  for (const { name, ms } of kept) {
    if (ms === 0 || seconds(ms) > ranSeconds - SLACK_SECONDS) continue;
    const { state } = await bus.jsm.streams.info(name);
    if (state.last_seq === 0) continue;
    row(name, state.messages === 0 ? 0 : (Date.now() - Date.parse(state.first_ts)) / 1_000, seconds(ms));
  }

  const store = createStore({
    endpoint: stack.s3.url,
    region: stack.s3.region,
    bucket: 'sluice',
    accessKeyId: stack.s3.accessKeyId,
    secretAccessKey: stack.s3.secretAccessKey,
  });
  let oldestMs = Date.now();
  for await (const { modifiedAt } of store.list('pdf/')) oldestMs = Math.min(oldestMs, modifiedAt.getTime());
  store.close();
  row('pdf', (Date.now() - oldestMs) / 1_000, seconds(lifetimes.result));

  const post = async (idempotencyKey: string): Promise<string> => {
    const answer = await fetch(`${stack.urls.gateway}/v1/emails`, {
      method: 'POST',
      headers: {
        'content-type': 'application/json',
        authorization: `Bearer ${key}`,
        'idempotency-key': idempotencyKey,
      },
      body: JSON.stringify({ to: 'key@example.com', template: 'welcome', variables: { name: 'Ada' } }),
    });
    return ((await answer.json()) as { id: string }).id;
  };
  const repeated = randomUUID();
  const ids = [await post(repeated), await post(repeated)];
  await sleep(1_000 * seconds(lifetimes.idempotencyKey) + 500);
  ids.push(await post(repeated));
  const held = ids[0] === ids[1] && ids[1] !== ids[2];
  rows.push({
    id: 'longevity.idempotency_key',
    value: seconds(lifetimes.idempotencyKey),
    unit: 's: the same job before, another one after',
    pass: held,
  });
  return rows;
}
