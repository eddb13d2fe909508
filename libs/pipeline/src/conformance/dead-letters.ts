import { describe } from 'vitest';
import { PermanentError } from '../index.ts';
import { base, decodeJson, recordEvents } from './source.ts';
import type { Row } from './source.ts';

/** Messages that are given up. */
export function deadLetterRows(row: Row): void {
  describe('the body cannot be decoded', () => {
    row('it goes to the dead letters on the first delivery, byte for byte', async ({ place, start, expect }) => {
      await place.store('{"n":');
      let calls = 0;
      await start({
        ...base(place),
        decode: decodeJson,
        handle: async () => {
          calls++;
        },
      });
      await expect.poll(() => place.left()).toBe(0);
      const [record] = await place.deadLetters();
      expect(record?.body).toBe('{"n":');
      expect(record?.headers.get('Dlq-Reason')).toBe('decode');
      expect(record?.headers.get('Dlq-Deliveries')).toBe('1');
      expect(calls).toBe(0);
    });
  });

  describe('the dead letter cannot be stored', () => {
    row(
      'the message is nacked with a delay and is never acknowledged before the record is stored',
      async ({ place, start, expect }) => {
        const events = recordEvents();
        await place.send({ n: 1 });
        await start(
          {
            ...base(place),
            handle: async () => {
              throw new PermanentError('bad');
            },
          },
          events.observe,
        );
        await expect.poll(() => place.deadLetters()).toHaveLength(1);
        await place.loseDeadLetters();
        await place.send({ n: 2 });
        await expect.poll(() => events.of('message.deadLetterFailed').length).toBeGreaterThan(3);
        expect(await place.left()).toBe(1);
        await place.restoreDeadLetters();
        await expect.poll(() => place.left()).toBe(0);
        // Delivered far more often than maxAttempts by now, and still under the reason it failed for.
        expect((await place.deadLetters()).map(({ headers }) => headers.get('Dlq-Reason'))).toEqual(['permanent']);
      },
    );
  });

  describe('onDeadLetter', () => {
    row(
      'is awaited between the record and the ack, and called again until it succeeds',
      async ({ place, start, expect }) => {
        const told: unknown[] = [];
        await place.send({ n: 1 });
        await start({
          ...base(place),
          handle: async () => {
            throw new PermanentError('bad');
          },
          onDeadLetter: async ({ message, body, subject, reason, detail }) => {
            const state = { left: await place.left(), stored: (await place.deadLetters()).length };
            const text = new TextDecoder().decode(body);
            told.push({ n: message.data.n, text, subject, reason, detail, ...state });
            if (told.length === 1) throw new Error('the ledger is away');
          },
        });
        await expect.poll(() => place.left()).toBe(0);
        const once = {
          n: 1,
          text: '{"n":1}',
          subject: `dlq.${place.stream}.${place.consumer}`,
          reason: 'permanent',
          detail: 'bad',
          left: 1,
          stored: 1,
        };
        expect(told).toEqual([once, once]);
      },
    );
  });
}
