import { expect, test } from 'vitest';
import { MemoryJetStream } from '../../src/memory/index.ts';
import { Replicas } from '../../src/partitions/replicas.ts';
import { manualClock } from '../../src/testing/manual-clock.ts';

const TICK_MS = 250;

/** Two replicas of one source that tell each other that they are there, as often as each is given time. */
async function pair() {
  const clock = manualClock();
  const server = new MemoryJetStream(clock);
  let reading: readonly number[] = [];
  const join = (describe: () => { reading: readonly number[]; pinned: readonly number[] }): Replicas => {
    const replicas = new Replicas({
      port: server.connect(),
      clock,
      stream: 'W',
      consumer: 'worker',
      describe,
      changed: () => undefined,
    });
    replicas.join();
    return replicas;
  };
  const first = join(() => ({ reading: [], pinned: [] }));
  const second = join(() => ({ reading, pinned: reading }));
  await clock.settle();
  return {
    first,
    second,
    both: [first.id, second.id].toSorted(),
    reads: (numbers: readonly number[]) => void (reading = numbers),
    clock,
    run: async (ms: number, ...those: readonly Replicas[]): Promise<void> => {
      for (let passed = 0; passed < ms; passed += TICK_MS) {
        await clock.advance(TICK_MS);
        for (const one of those) one.tick();
      }
      await clock.settle();
    },
  };
}

test('a replica that is silent is gone', async () => {
  const { first, second, both, run } = await pair();
  expect(first.members).toEqual(both);
  await run(10_000, first, second);
  expect(first.members).toEqual(both);
  await run(5_000, first);
  expect(first.members).toEqual([first.id]);
});

test('a process that did not run takes no other for gone', async () => {
  const { first, both, clock, run } = await pair();
  // Neither runs: a laptop was closed.
  await clock.advance(60_000);
  first.tick();
  expect(first.members).toEqual(both);
  await run(5_000, first);
  expect(first.members).toEqual([first.id]);
});

test('a replica that leaves is given no partition, and is known until it has given up its own', async () => {
  const { first, second, reads, run } = await pair();
  reads([2]);
  second.leave();
  await run(TICK_MS, first, second);
  expect(first.members).toEqual([first.id]);
  expect(first.others).toMatchObject([{ id: second.id, state: 'leaving', reading: [2] }]);
  reads([]);
  second.announce();
  await run(TICK_MS, first, second);
  expect(first.others).toEqual([]);
});
