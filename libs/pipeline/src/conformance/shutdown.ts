import { describe } from 'vitest';
import { base, gate, recordEvents } from './source.ts';
import type { Row } from './source.ts';

/** How a pipeline ends, and what the next one finds. */
export function shutdownRows(row: Row): void {
  describe('the process is killed', () => {
    row(
      'nothing is settled; another replica gets the message after ack_wait, one attempt on',
      async ({ place, start, expect }) => {
        const never = gate();
        const attempts: number[] = [];
        await place.send({ n: 1 });
        const dying = await start({ ...base(place), handle: () => never.opened });
        await expect.poll(() => dying.snapshot().inFlight).toBe(1);
        const gone = dying.done.catch((error: unknown) => error);
        await place.closeConnection();
        expect(await gone).toMatchObject({ code: 'CONNECTION_CLOSED' });
        await start(
          { ...base(place), handle: async ({ attempt }) => void attempts.push(attempt) },
          undefined,
          await place.connect(),
        );
        await expect.poll(() => place.left()).toBe(0);
        expect(attempts).toEqual([2]);
        never.open();
      },
      { ackWaitMs: 600 },
    );
  });

  describe('shutdown', () => {
    row(
      'running handlers finish, with heartbeats on, and the report counts them',
      async ({ place, start, expect }) => {
        const working = gate();
        const events = recordEvents();
        await place.send({ n: 1 }, { n: 2 });
        const running = await start({ ...base(place), handle: () => working.opened }, events.observe);
        await expect.poll(() => running.snapshot().inFlight).toBe(2);
        const drained = running.drain();
        expect(running.drain()).toBe(drained);
        const before = events.of('heartbeats.sent').length;
        await expect.poll(() => events.of('heartbeats.sent').length).toBeGreaterThan(before + 1);
        expect(running.state).toBe('draining');
        working.open();
        expect(await drained).toEqual({ settled: 2, released: 0, abandoned: 0 });
        await running.done;
        expect(running.state).toBe('stopped');
        await expect.poll(() => place.left()).toBe(0);
      },
      { ackWaitMs: 600 },
    );

    row(
      'what has not started goes back at once and another replica has it without waiting for ack_wait',
      async ({ place, start, expect }) => {
        const working = gate();
        const seen: number[] = [];
        await place.send(...Array.from({ length: 6 }, (_, n) => ({ n })));
        const leaving = await start({
          ...base(place),
          flow: { ...base(place).flow, concurrency: 2, prefetch: 4 },
          handle: () => working.opened,
        });
        await expect.poll(() => leaving.snapshot()).toMatchObject({ inFlight: 2, buffered: 4 });
        const drained = leaving.drain();
        await expect.poll(() => leaving.snapshot().buffered).toBe(0);
        await start(
          { ...base(place), handle: async ({ data }) => void seen.push(data.n) },
          undefined,
          await place.connect(),
        );
        await expect.poll(() => seen.length).toBe(4);
        working.open();
        expect(await drained).toEqual({ settled: 2, released: 4, abandoned: 0 });
        await expect.poll(() => place.left()).toBe(0);
      },
    );

    row('a message on its way to an open pull is not stranded', async ({ place, start, expect }) => {
      // A pull is open when the drain begins, and messages keep coming while it ends.
      const running = await start({ ...base(place), handle: async () => undefined });
      await expect.poll(() => running.snapshot().requested).toBe(4);
      const drained = running.drain();
      for (let n = 0; n < 20; n++) await place.send({ n });
      const report = await drained;
      expect(report.abandoned).toBe(0);
      // ack_wait is 30 s: what the first one had lost would not be there in time.
      await start({ ...base(place), handle: async () => undefined }, undefined, await place.connect());
      await expect.poll(() => place.left()).toBe(0);
    });

    row(
      'at the timeout handlers are aborted, get their grace, and their messages go back',
      async ({ place, start, expect }) => {
        const reasons: unknown[] = [];
        await place.send({ n: 1 });
        const running = await start({
          ...base(place),
          handle: async (_, { signal }) => {
            await new Promise<void>((resolve) => {
              signal.addEventListener('abort', () => resolve());
            });
            reasons.push(signal.reason);
          },
        });
        await expect.poll(() => running.snapshot().inFlight).toBe(1);
        expect(await running.drain({ timeoutMs: 50 })).toEqual({ settled: 0, released: 1, abandoned: 0 });
        expect(reasons).toMatchObject([{ code: 'DRAIN_FORCED' }]);
        await start({ ...base(place), handle: async () => undefined }, undefined, await place.connect());
        await expect.poll(() => place.left()).toBe(0);
      },
    );

    row('even a handler that ignores its signal cannot hold the drain', async ({ place, start, expect }) => {
      const never = gate();
      await place.send({ n: 1 });
      const running = await start({ ...base(place), handle: () => never.opened });
      await expect.poll(() => running.snapshot().inFlight).toBe(1);
      expect(await running.drain({ timeoutMs: 50 })).toEqual({ settled: 0, released: 1, abandoned: 0 });
      await start({ ...base(place), handle: async () => undefined }, undefined, await place.connect());
      await expect.poll(() => place.left()).toBe(0);
      never.open();
    });

    row('it resolves with counts even if NATS cannot be reached', async ({ place, start, expect }) => {
      const working = gate();
      await place.send({ n: 1 }, { n: 2 });
      const running = await start({ ...base(place), handle: () => working.opened });
      await expect.poll(() => running.snapshot().inFlight).toBe(2);
      await place.cut();
      await expect.poll(() => running.state).toBe('disconnected');
      const drained = running.drain({ timeoutMs: 1000 });
      working.open();
      expect(await drained).toEqual({ settled: 0, released: 0, abandoned: 2 });
      expect(running.state).toBe('stopped');
      await place.restore();
    });
  });

  describe('pause', () => {
    row(
      'stops pulling, resolves when nothing runs, releases what waits; resume goes on',
      async ({ place, start, expect }) => {
        const working = gate();
        const seen: number[] = [];
        await place.send({ n: 1 });
        const running = await start({
          ...base(place),
          handle: async ({ data }) => {
            seen.push(data.n);
            await working.opened;
          },
        });
        await expect.poll(() => seen).toEqual([1]);
        let resolved = false;
        const paused = running.pause('maintenance').then(() => {
          resolved = true;
        });
        expect(running.state).toBe('paused');
        await place.send({ n: 2 }, { n: 3 });
        await expect.poll(() => running.snapshot().requested).toBe(0);
        expect(resolved).toBe(false);
        working.open();
        await paused;
        expect(seen).toEqual([1]);
        running.resume();
        expect(running.state).toBe('running');
        await expect.poll(() => place.left()).toBe(0);
        expect(new Set(seen)).toEqual(new Set([1, 2, 3]));
      },
    );
  });
}
