import { setTimeout as sleep } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { InTurn } from './in-turn.ts';

test('work of one key runs one after the other, of two keys at once', async () => {
  const turns = new InTurn();
  const said: string[] = [];
  const work = (name: string) => async (): Promise<string> => {
    said.push(`${name} begins`);
    await sleep(20);
    said.push(`${name} ends`);
    return name;
  };
  const all = [turns.run('a', work('a1')), turns.run('a', work('a2')), turns.run('b', work('b1'))];
  expect(await Promise.all(all)).toEqual(['a1', 'a2', 'b1']);
  expect(said.indexOf('a2 begins')).toBeGreaterThan(said.indexOf('a1 ends'));
  expect(said.indexOf('b1 begins')).toBeLessThan(said.indexOf('a1 ends'));
});

test('what one throws holds up no other', async () => {
  const turns = new InTurn();
  const first = turns.run('a', () => Promise.reject(new Error('no')));
  const second = turns.run('a', () => Promise.resolve('yes'));
  await expect(first).rejects.toThrow('no');
  expect(await second).toBe('yes');
});
