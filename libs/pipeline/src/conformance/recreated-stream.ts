import { describe } from 'vitest';
import { PermanentError } from '../index.ts';
import { base, gate, recordEvents } from './source.ts';
import type { Row } from './source.ts';

/** A stream that is made again: its sequences repeat, with other messages. */
export function recreatedStreamRows(row: Row): void {
  describe('the stream is made again, so that its sequences repeat', () => {
    row('events and dead letters of its new messages are stored', async ({ place, start, expect }) => {
      const events = recordEvents();
      await start(
        {
          ...base(place),
          handle: async ({ data }, context) => {
            if (data.n % 2 === 1) throw new PermanentError(`order ${data.n}`);
            context.emit(`out.${place.stream}.x`, { shipped: 0 });
          },
        },
        events.observe,
      );
      await place.send({ n: 1 }, { n: 2 });
      await expect.poll(() => place.left()).toBe(0);
      await place.makeStreamAgain();
      await place.send({ n: 101 }, { n: 102 });
      await expect.poll(() => events.of('message.handled').length).toBe(4);
      await expect.poll(() => place.left()).toBe(0);
      expect((await place.deadLetters()).map(({ body }) => body)).toEqual(['{"n":1}', '{"n":101}']);
      expect(await place.emitted()).toHaveLength(2);
    });
  });

  describe('the stream is made again while a handler runs', () => {
    row('the new message at its sequence is handled, not acknowledged for it', async ({ place, start, expect }) => {
      const handled: number[] = [];
      const working = gate();
      await start({
        ...base(place),
        handle: async ({ data }) => {
          if (data.n === 1) await working.opened;
          handled.push(data.n);
        },
      });
      await place.send({ n: 1 });
      await expect.poll(async () => place.ackPending()).toBe(1);
      await place.makeStreamAgain();
      await place.send({ n: 100 }, { n: 101 });
      await expect.poll(() => handled.includes(101)).toBe(true);
      working.open();
      await expect.poll(() => place.left()).toBe(0);
      expect(new Set(handled)).toEqual(new Set([1, 100, 101]));
    });

    row('an ack held through an outage does not settle the new message', async ({ place, start, expect }) => {
      const events = recordEvents();
      const working = gate();
      const running = await start(
        { ...base(place), handle: async ({ data }) => (data.n === 1 ? working.opened : undefined) },
        events.observe,
      );
      await place.send({ n: 1 });
      await expect.poll(() => running.snapshot().inFlight).toBe(1);
      await place.cut();
      await expect.poll(() => running.state).toBe('disconnected');
      working.open();
      await expect.poll(() => running.snapshot().heldSettlements).toBe(1);
      await place.makeStreamAgain();
      await place.send({ n: 100 });
      await place.restore();
      await expect.poll(() => events.of('connection.restored').length).toBe(1);
      await expect.poll(() => place.left()).toBe(0);
      expect(events.of('message.started')).toHaveLength(2);
    });
  });
}
