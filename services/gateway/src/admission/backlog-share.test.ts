import { describe, expect, test } from 'vitest';
import { BacklogShare } from './backlog-share.ts';
import { BackpressureLimiter } from './backpressure.ts';

describe('the backlog of a kind of work', () => {
  /** Jobs that each account has open. */
  const open = new Map<string, number>();
  let nowMs = 0;
  let asked = 0;
  const start = (maxBacklog: number): ((account: string) => Promise<number>) => {
    open.clear();
    const backpressure = new BackpressureLimiter({ maxBacklog, maxWaitMs: 300_000 });
    const share = new BacklogShare(backpressure, () => nowMs);
    share.countWith(async (account) => {
      asked += 1;
      return { accepted: open.get(account) ?? 0, succeeded: 1_000 };
    });
    /** How many jobs it gets in. */
    return async (account) => {
      for (let count = 0; ; count += 1) {
        nowMs += 1_000;
        const taken = await share.check(account, 'email', 'EMAILS').then(
          () => backpressure.acquire('EMAILS'),
          (error: unknown) => {
            expect(error).toMatchObject({ code: 'overloaded' });
            return undefined;
          },
        );
        if (taken === undefined) return count;
        open.set(account, (open.get(account) ?? 0) + 1);
      }
    };
  };

  test('leaves half of it to others, a quarter to the third, and something to the next one', async () => {
    const fill = start(100);
    const taken = [await fill('acme'), await fill('globex'), await fill('initech'), await fill('umbrella')];
    expect(taken).toEqual([50, 25, 12, 6]);
  });

  test('is not counted while less than half of it is taken', async () => {
    const backpressure = new BackpressureLimiter({ maxBacklog: 100, maxWaitMs: 300_000 });
    const share = new BacklogShare(backpressure, () => nowMs);
    asked = 0;
    share.countWith(async () => ({ accepted: (asked += 1) }));
    await share.check('acme', 'email', 'EMAILS');
    expect(asked).toBe(0);
  });

  test('is open to all while the history cannot say who has what', async () => {
    const backpressure = new BackpressureLimiter({ maxBacklog: 1, maxWaitMs: 300_000 });
    backpressure.acquire('EMAILS');
    const share = new BacklogShare(backpressure, () => nowMs);
    share.countWith(() => Promise.reject(new Error('the thread ended')));
    await expect(share.check('acme', 'email', 'EMAILS')).resolves.toBeUndefined();
  });

  test('counts what it let in between two looks at the history', async () => {
    const backpressure = new BackpressureLimiter({ maxBacklog: 20, maxWaitMs: 300_000 });
    for (let n = 0; n < 10; n += 1) backpressure.acquire('EMAILS');
    const share = new BacklogShare(backpressure, () => nowMs);
    share.countWith(async () => ({ queued: 7 }));
    const results = await Promise.allSettled([1, 2, 3, 4].map(() => share.check('acme', 'email', 'EMAILS')));
    expect(results.filter(({ status }) => status === 'fulfilled')).toHaveLength(2);
  });
});
