import type { Clock } from '../clock.ts';

/** The result of a call to a store, or a rejection when it takes too long: a call that never ends would hold its slot. */
export function withTimeout<R>(call: Promise<R>, timeoutMs: number, clock: Clock, what: string): Promise<R> {
  return new Promise((resolve, reject) => {
    const timer = clock.after(timeoutMs, () => reject(new Error(`${what} did not answer within ${timeoutMs} ms`)));
    call.then(resolve, reject).finally(() => timer.cancel());
  });
}
