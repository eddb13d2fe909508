import { expect, test } from 'vitest';
import { createByteBudget } from './byte-budget.ts';

const { signal } = new AbortController();

test('what does not fit waits, in order, and no more is held than there is', async () => {
  const budget = createByteBudget(10);
  const order: string[] = [];
  const take = async (name: string, bytes: number) => {
    const release = await budget.take(bytes, signal);
    order.push(name);
    return release;
  };
  const first = await take('first', 6);
  const second = await take('second', 4);
  const large = take('large', 8);
  const small = take('small', 1);
  second();
  second();
  expect(budget.heldBytes).toBe(6);
  first();
  (await large)();
  (await small)();
  expect(order).toEqual(['first', 'second', 'large', 'small']);
  expect(budget.heldBytes).toBe(0);
});

test('one that is larger than all goes alone', async () => {
  const budget = createByteBudget(10);
  const release = await budget.take(25, signal);
  const next = budget.take(1, signal);
  expect(budget.heldBytes).toBe(25);
  release();
  (await next)();
  expect(budget.heldBytes).toBe(0);
});

test('one that is called off makes way, and what has no bytes never waits', async () => {
  const budget = createByteBudget(10);
  const release = await budget.take(10, signal);
  const off = new AbortController();
  const waiting = budget.take(9, off.signal);
  const behind = budget.take(1, signal);
  (await budget.take(0, signal))();
  off.abort(new Error('called off'));
  await expect(waiting).rejects.toThrow('called off');
  release();
  (await behind)();
  expect(budget.heldBytes).toBe(0);
});
