import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { kvIdempotencyStore, memoryIdempotencyStore } from '../src/index.ts';
import type { Clock, IdempotencyStore } from '../src/index.ts';
import { natsPort } from '../src/nats/index.ts';
import { manualClock } from '../src/testing/manual-clock.ts';
import { natsSource } from './nats-source.ts';
import type { NatsSource } from './nats-source.ts';

let source: NatsSource;
beforeAll(async () => {
  source = await natsSource();
  // What `nats kv add` and the client's Kvm create.
  await source.jsm.streams.add({
    name: 'KV_done',
    subjects: ['$KV.done.>'],
    max_msgs_per_subject: 1,
    allow_rollup_hdrs: true,
    discard: 'new',
  });
});
afterAll(() => source.close());

describe.each([
  ['memory', (clock: Clock): IdempotencyStore => memoryIdempotencyStore({ clock })],
  [
    'JetStream key-value',
    (clock: Clock): IdempotencyStore => kvIdempotencyStore(natsPort(source.admin), { bucket: 'done', clock }),
  ],
])('an idempotency store in %s', (name, make) => {
  /** A clock of which only the reading is moved: the store's own requests run in real time. */
  const makeClock = (): Clock & { move(ms: number): void } => {
    let offset = 0;
    const fake = manualClock();
    return { ...fake, now: () => offset, wall: () => 1_800_000_000_000 + offset, move: (ms) => void (offset += ms) };
  };

  test('a key is new once, busy while claimed, done after completion, new again when that is forgotten', async () => {
    const clock = makeClock();
    const store = make(clock);
    const first = await store.begin(`${name} order 1`, 1000);
    expect(first).toMatchObject({ state: 'new' });
    expect(await store.begin(`${name} order 1`, 1000)).toEqual({ state: 'busy', retryAfterMs: 1000 });
    if (first.state === 'new') expect(await store.complete(`${name} order 1`, first.fence, 5000)).toBe(true);
    expect(await store.begin(`${name} order 1`, 1000)).toEqual({ state: 'done' });
    clock.move(5001);
    expect(await store.begin(`${name} order 1`, 1000)).toMatchObject({ state: 'new' });
  });

  test('an abandoned claim is new for the retry', async () => {
    const store = make(makeClock());
    const claim = await store.begin(`${name}-2`, 1000);
    if (claim.state === 'new') await store.release(`${name}-2`, claim.fence);
    expect(await store.begin(`${name}-2`, 1000)).toMatchObject({ state: 'new' });
  });

  test('renewing keeps a claim', async () => {
    const clock = makeClock();
    const store = make(clock);
    const claim = await store.begin(`${name}-3`, 1000);
    clock.move(900);
    if (claim.state === 'new') expect(await store.renew(`${name}-3`, claim.fence, 1000)).toBe(true);
    clock.move(900);
    expect(await store.begin(`${name}-3`, 1000)).toMatchObject({ state: 'busy' });
  });

  test('a holder that was too slow is fenced off: it can neither renew, complete nor abandon', async () => {
    const clock = makeClock();
    const store = make(clock);
    const slow = await store.begin(`${name}-4`, 1000);
    clock.move(1001);
    const quick = await store.begin(`${name}-4`, 1000);
    if (slow.state !== 'new' || quick.state !== 'new') throw new Error('both should have held it');
    expect(quick.fence).toBeGreaterThan(slow.fence);
    expect(await store.renew(`${name}-4`, slow.fence, 1000)).toBe(false);
    expect(await store.complete(`${name}-4`, slow.fence, 1000)).toBe(false);
    await store.release(`${name}-4`, slow.fence);
    expect(await store.begin(`${name}-4`, 1000)).toMatchObject({ state: 'busy' });
    expect(await store.complete(`${name}-4`, quick.fence, 1000)).toBe(true);
  });

  test('of many who claim a key at once one gets it', async () => {
    const store = make(makeClock());
    const claims = await Promise.all(Array.from({ length: 20 }, () => store.begin(`${name}-5`, 1000)));
    expect(claims.filter((claim) => claim.state === 'new')).toHaveLength(1);
    expect(claims.filter((claim) => claim.state === 'busy')).toHaveLength(19);
  });
});
