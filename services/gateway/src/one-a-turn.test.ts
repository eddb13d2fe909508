import { AsyncLocalStorage } from 'node:async_hooks';
import { setImmediate as turn } from 'node:timers/promises';
import { silentLogger } from '@sluice/pipeline';
import type { Logger } from '@sluice/telemetry';
import { afterEach, expect, test, vi } from 'vitest';
import { createApp } from './http/app.ts';
import { OneATurn } from './one-a-turn.ts';

afterEach(() => void vi.useRealTimers());

/** In which turn of the event loop it is called, until `stop`. */
function countTurns(): { now(): number; stop(): void } {
  let turns = 0;
  let stopped = false;
  const next = (): void => {
    turns += 1;
    if (!stopped) setImmediate(next);
  };
  setImmediate(next);
  return { now: () => turns, stop: () => void (stopped = true) };
}

test('each piece of work has a turn of its own, in order, and what is active where it was asked for', async () => {
  const turns = countTurns();
  const active = new AsyncLocalStorage<string>();
  const line = new OneATurn();
  const seen: [name: string, active: string | undefined, turn: number][] = [];
  for (const name of ['a', 'b', 'c']) {
    active.run(`of ${name}`, () => line.run(() => void seen.push([name, active.getStore(), turns.now()])));
  }
  while (seen.length < 3) await turn();
  turns.stop();
  expect(seen.map(([name, of]) => [name, of])).toEqual([
    ['a', 'of a'],
    ['b', 'of b'],
    ['c', 'of c'],
  ]);
  expect(new Set(seen.map(([, , at]) => at)).size).toBe(3);
});

test('where many pieces wait, it rests a millisecond after each', async () => {
  vi.useFakeTimers({ toFake: ['setTimeout'] });
  const line = new OneATurn({ restsBehind: 2 });
  let done = 0;
  const soon = async (): Promise<number> => {
    for (let turns = 0; turns < 10; turns++) await turn();
    return done;
  };
  for (let n = 0; n < 6; n++) line.run(() => void (done += 1));
  expect(await soon()).toBe(1);
  for (const expected of [2, 3]) {
    vi.advanceTimersByTime(1);
    expect(await soon()).toBe(expected);
  }
  // Behind the fourth are two, which are not many.
  vi.advanceTimersByTime(1);
  expect(await soon()).toBe(6);
});

test('large JSON bodies that arrive together are read in turns of their own', async () => {
  const app = await createApp({ log: silentLogger as unknown as Logger, version: 'test' });
  const turns = countTurns();
  const seen: number[] = [];
  app.post('/bulk', async () => {
    seen.push(turns.now());
    return {};
  });
  await app.ready();
  const payload = { text: 'x'.repeat(50_000) };
  await Promise.all(Array.from({ length: 4 }, () => app.inject({ method: 'POST', url: '/bulk', payload })));
  turns.stop();
  expect(new Set(seen).size).toBe(4);
});
