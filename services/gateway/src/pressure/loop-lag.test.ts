import { expect, test } from 'vitest';
import { watchLoopLag } from './loop-lag.ts';

const turn = () => new Promise((resolve) => setTimeout(resolve, 5));

test('a process that is late with everything says so, and says when it is over', async () => {
  const lag = watchLoopLag(50);
  try {
    while (!lag.isHigh()) {
      const until = performance.now() + 200;
      while (performance.now() < until); // somebody blocks the loop
      await turn();
    }
    while (lag.isHigh()) await turn();
  } finally {
    lag.close();
  }
  expect(lag.isHigh()).toBe(false);
});
