import { describe } from 'vitest';
import { delayedMessages } from '../index.ts';
import { base } from './source.ts';
import type { Row } from './source.ts';

/** Messages that are emitted for later. */
export function delayedRows(row: Row): void {
  describe('what the handler emits for later', () => {
    row(
      'is published at its time, with its own id and headers, and once although it was emitted twice',
      async ({ place, start, expect }) => {
        const later = `later.${place.stream}`;
        const at = new Date(Date.now() + 1200);
        const forwarder = await delayedMessages({
          stream: `LATER_${place.stream}`,
          consumer: 'due',
          subject: later,
          deadLetter: { subject: `dlq.${place.stream}.due` },
          flow: { expiresMs: 400, idleHeartbeatMs: 100 },
        }).start({ nats: await place.connect(), deps: undefined });
        try {
          await place.send({ n: 1 }, { n: 2 });
          await start({
            ...base(place),
            delayed: { subject: later },
            handle: async (_, context) => {
              const subject = `out.${place.stream}.reminder`;
              context.emit(subject, 'now', { id: `now-${place.stream}` });
              // Both handlers emit the same: it is one message.
              context.emit(subject, 'later', { at, id: `later-${place.stream}`, headers: { kind: 'reminder' } });
            },
          });
          await expect.poll(() => place.left()).toBe(0);
          const before = await place.emitted();
          if (Date.now() < at.getTime()) expect(before.map(({ body }) => body)).toEqual(['now']);
          await expect.poll(async () => (await place.emitted()).map(({ body }) => body)).toEqual(['now', 'later']);
          expect(Date.now()).toBeGreaterThanOrEqual(at.getTime());
          const [, stored] = await place.emitted();
          expect(Object.fromEntries(stored?.headers ?? [])).toEqual({
            kind: 'reminder',
            'Nats-Msg-Id': `later-${place.stream}`,
          });
        } finally {
          await forwarder.drain();
        }
      },
      { delayed: true },
    );

    row('is refused at the start where no stream would ever publish it', async ({ place, start, expect }) => {
      const subject = `out.${place.stream}`;
      await expect(start({ ...base(place), delayed: { subject }, handle: async () => undefined })).rejects.toThrow(
        /delayed\.subject: .*allow_msg_schedules is off/,
      );
      await expect(
        start({ ...base(place), delayed: { subject: 'nowhere' }, handle: async () => undefined }),
      ).rejects.toThrow('no stream stores nowhere.>');
    });

    row('fails the handler of a pipeline that has no `delayed`', async ({ place, start, expect }) => {
      await place.send({ n: 1 });
      await start({
        ...base(place),
        retry: { maxAttempts: 1 },
        handle: async (_, context) => context.emit(`out.${place.stream}.x`, 'x', { at: new Date() }),
      });
      await expect.poll(() => place.left()).toBe(0);
      expect((await place.deadLetters()).map(({ headers }) => headers.get('Dlq-Detail'))).toEqual([
        'pipeline conformance emits for later: give its spec `delayed`',
      ]);
    });
  });
}
