import { describe } from 'vitest';
import { base, gate, recordEvents } from './source.ts';
import type { Row } from './source.ts';

/** When nothing is taken because what handlers depend on fails. */
export function breakerRows(row: Row): void {
  describe('the breaker', () => {
    row(
      'stops pulling after too many failures, probes with one message after the cool-down, and closes',
      async ({ place, start, expect }) => {
        const events = recordEvents();
        let broken = true;
        let inProbe = 0;
        await place.send(...Array.from({ length: 12 }, (_, n) => ({ n })));
        const running = await start(
          {
            ...base(place),
            retry: { maxAttempts: 50, baseMs: 5, maxMs: 10 },
            breaker: { minSamples: 4, failureRatio: 0.5, coolDownMs: 150 },
            handle: async () => {
              inProbe = running.snapshot().inFlight;
              if (broken) throw new Error('dependency down');
            },
          },
          events.observe,
        );
        await expect.poll(() => running.state).toBe('tripped');
        expect(events.of('breaker.tripped')[0]).toMatchObject({ samples: 4 });
        await expect.poll(() => running.snapshot().inFlight).toBe(0);
        const before = events.of('message.started').length;
        await expect.poll(() => events.of('breaker.probing').length).toBeGreaterThan(1);
        // One message per probe.
        await expect.poll(() => events.of('breaker.tripped').length).toBeGreaterThan(2);
        expect(events.of('message.started').length - before).toBeLessThanOrEqual(events.of('breaker.probing').length);
        expect(inProbe).toBe(1);
        broken = false;
        await expect.poll(() => place.left()).toBe(0);
        expect(running.state).toBe('running');
        expect(events.of('breaker.closed')).toHaveLength(1);
      },
    );

    row('is not closed by a success that began before it tripped', async ({ place, start, expect }) => {
      const events = recordEvents();
      const slow = gate();
      let healed = false;
      await place.send(...Array.from({ length: 8 }, (_, n) => ({ n })));
      const running = await start(
        {
          ...base(place),
          retry: { maxAttempts: 50, baseMs: 5, maxMs: 10 },
          breaker: { minSamples: 4, failureRatio: 0.5, coolDownMs: 50 },
          handle: async ({ data }) => {
            if (data.n === 0) return slow.opened;
            if (!healed) throw new Error('dependency down');
            return undefined;
          },
        },
        events.observe,
      );
      const acknowledged = () => events.of('message.settled').filter(({ as }) => as === 'ack').length;
      await expect.poll(() => events.of('breaker.probing').length).toBe(1);
      slow.open();
      await expect.poll(acknowledged).toBe(1);
      // The probe itself fails.
      await expect.poll(() => events.of('breaker.tripped').length).toBeGreaterThan(1);
      expect(events.of('breaker.closed')).toEqual([]);
      healed = true;
      await expect.poll(() => place.left()).toBe(0);
      expect(events.of('breaker.closed')).toHaveLength(1);
      expect(running.state).toBe('running');
    });

    row('is told of a snooze that names an error, and no attempt is used', async ({ place, start, expect }) => {
      const attempts = new Set<number>();
      const deadLetters: unknown[] = [];
      let away = true;
      await place.send(...Array.from({ length: 8 }, (_, n) => ({ n })));
      const running = await start({
        ...base(place),
        retry: { maxAttempts: 1, baseMs: 1, maxMs: 1 },
        breaker: { minSamples: 4, failureRatio: 0.5, coolDownMs: 50 },
        handle: async ({ attempt }) => {
          attempts.add(attempt);
          return away ? { kind: 'snooze', forMs: 10, error: new Error('the store is away') } : undefined;
        },
        onDeadLetter: async (letter) => {
          deadLetters.push(letter);
        },
      });
      await expect.poll(() => running.state).toBe('tripped');
      away = false;
      await expect.poll(() => place.left()).toBe(0);
      expect([...attempts]).toEqual([1]);
      expect(deadLetters).toEqual([]);
    });

    row('does not count what says nothing about the dependency', async ({ place, start, expect }) => {
      await place.send(...Array.from({ length: 10 }, (_, n) => ({ n })));
      const running = await start({
        ...base(place),
        retry: { maxAttempts: 1, baseMs: 1, maxMs: 1 },
        breaker: {
          minSamples: 2,
          failureRatio: 0.1,
          coolDownMs: 60_000,
          counts: (error) => !(error instanceof RangeError),
        },
        handle: async ({ data }) => {
          if (data.n % 2 === 0) throw new RangeError('caller error');
        },
      });
      await expect.poll(() => place.left()).toBe(0);
      expect(running.state).toBe('running');
    });
  });
}
