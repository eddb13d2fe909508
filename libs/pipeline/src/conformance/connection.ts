import { describe } from 'vitest';
import { base, gate, recordEvents } from './source.ts';
import type { Row } from './source.ts';

/** What the connection, the server and its consumers do to a running pipeline. */
export function connectionRows(row: Row): void {
  describe('the connection is closed for good', () => {
    row('`done` rejects and health says so', async ({ place, start, expect }) => {
      const running = await start({ ...base(place), handle: async () => undefined });
      const gone = running.done.catch((error: unknown) => error);
      await place.closeConnection();
      expect(await gone).toMatchObject({ name: 'PipelineFault', code: 'CONNECTION_CLOSED' });
      expect(running.state).toBe('stopped');
      expect(running.health()).toMatchObject({ ok: false });
    });
  });

  describe('NATS is disconnected', () => {
    row(
      'handlers keep running, their settlements are held and sent on the reconnect',
      async ({ place, start, expect }) => {
        const working = gate();
        const events = recordEvents();
        let calls = 0;
        await place.send({ n: 1 }, { n: 2 }, { n: 3 });
        const running = await start(
          {
            ...base(place),
            handle: async () => {
              calls++;
              await working.opened;
            },
          },
          events.observe,
        );
        await expect.poll(() => calls).toBe(3);
        await place.cut();
        await expect.poll(() => running.state).toBe('disconnected');
        expect(running.health()).toMatchObject({ ok: false, reason: 'not connected to NATS' });
        working.open();
        await expect.poll(() => running.snapshot().heldSettlements).toBe(3);
        await place.restore();
        await expect.poll(() => place.left()).toBe(0);
        expect(calls).toBe(3);
        expect(events.of('connection.restored')).toMatchObject([{ connections: 2, resent: 3 }]);
      },
    );

    row('after the reconnect it pulls on a fresh inbox and goes on', async ({ place, start, expect }) => {
      const seen: number[] = [];
      const events = recordEvents();
      // The watchdog needs four seconds of silence: however slow the machine is, a reconnect does not take those.
      const flow = { ...base(place).flow, expiresMs: 4_500, idleHeartbeatMs: 2_000 };
      const running = await start(
        { ...base(place), flow, handle: async ({ data }) => void seen.push(data.n) },
        events.observe,
      );
      for (let round = 1; round <= 3; round++) {
        await place.cut();
        await expect.poll(() => running.state).toBe('disconnected');
        await place.restore();
        await expect.poll(() => running.state).toBe('running');
        await place.send({ n: round });
        await expect.poll(() => seen.length).toBe(round);
      }
      expect(running.snapshot().connections).toBe(4);
      // At once, not after the watchdog found the old inbox silent.
      expect(events.of('source.stalled')).toEqual([]);
      await expect.poll(() => place.left()).toBe(0);
    });

    row('an ack that went down with the connection is sent again', async ({ place, start, expect }) => {
      let calls = 0;
      await place.send({ n: 1 });
      const working = gate();
      const running = await start({
        ...base(place),
        handle: async () => {
          calls++;
          await working.opened;
        },
      });
      await expect.poll(() => calls).toBe(1);
      // Half-open: the ack is written, nothing fails, and the server never receives it.
      place.partition(true);
      working.open();
      await expect.poll(() => running.snapshot().unconfirmedAcks).toBe(1);
      await place.cut();
      await expect.poll(() => running.state).toBe('disconnected');
      place.partition(false);
      await place.restore();
      await expect.poll(() => place.left()).toBe(0);
      expect(calls).toBe(1);
      await expect.poll(() => running.snapshot().unconfirmedAcks).toBe(0);
    });

    row('a retry decided while disconnected is held too and keeps its delay', async ({ place, start, expect }) => {
      const working = gate();
      const attempts: number[] = [];
      await place.send({ n: 1 });
      const running = await start({
        ...base(place),
        handle: async ({ attempt }) => {
          attempts.push(attempt);
          if (attempt > 1) return;
          await working.opened;
          throw new Error('no');
        },
      });
      await expect.poll(() => attempts).toEqual([1]);
      await place.cut();
      await expect.poll(() => running.state).toBe('disconnected');
      working.open();
      await expect.poll(() => running.snapshot().heldSettlements).toBe(1);
      await place.restore();
      await expect.poll(() => place.left()).toBe(0);
      expect(attempts).toEqual([1, 2]);
    });

    row(
      'an emit cannot be stored: it is refused, nothing is buffered, the message is retried',
      async ({ place, start, expect }) => {
        const working = gate();
        const events = recordEvents();
        await place.send({ n: 1 });
        const running = await start(
          {
            ...base(place),
            handle: async ({ attempt }, context) => {
              context.emit(`out.${place.stream}.done`, { attempt });
              if (attempt === 1) await working.opened;
            },
          },
          events.observe,
        );
        await expect.poll(() => running.snapshot().inFlight).toBe(1);
        await place.cut();
        await expect.poll(() => running.state).toBe('disconnected');
        working.open();
        await expect.poll(() => events.of('emit.failed').length).toBe(1);
        await place.restore();
        await expect.poll(() => place.left()).toBe(0);
        expect((await place.emitted()).map(({ body }) => body)).toEqual(['{"attempt":2}']);
      },
    );
  });

  describe('the server falls silent', () => {
    row(
      'two missed heartbeats: a fresh inbox and a new pull; the second time the state says so',
      async ({ place, start, expect }) => {
        const events = recordEvents();
        const seen: number[] = [];
        const running = await start(
          { ...base(place), handle: async ({ data }) => void seen.push(data.n) },
          events.observe,
        );
        await expect.poll(() => running.snapshot().requested).toBe(4);
        place.partition(true);
        await expect.poll(() => events.of('source.stalled').length).toBeGreaterThan(1);
        expect(running.state).toBe('disconnected');
        expect(running.health().reason).toContain('stalled');
        place.partition(false);
        await expect.poll(() => running.state).toBe('running');
        await place.send({ n: 1 });
        await expect.poll(() => seen).toEqual([1]);
        expect(events.of('source.recovered')).toHaveLength(1);
      },
    );
  });

  describe('the stream or the consumer is missing, or does not fit', () => {
    row(
      'start fails and says what is wrong with everything at once',
      async ({ place, start, expect }) => {
        await place.loseDeadLetters();
        const attempt = start({
          ...base(place),
          sources: [
            { stream: place.stream, consumer: place.consumer },
            { stream: place.stream, consumer: 'nobody' },
          ],
          flow: { ...base(place).flow, concurrency: 50 },
          ack: { waitMs: 20_000 },
          retry: { maxAttempts: 9 },
          handle: async () => undefined,
        });
        await expect(attempt).rejects.toMatchObject({ name: 'PipelineConfigError', code: 'PIPELINE_CONFIG' });
        const message = await attempt.then(
          () => 'started',
          (error: unknown) => String(error),
        );
        expect(message).toContain('ack_wait is 10000 ms, ack.waitMs says 20000');
        expect(message).toContain('max_deliver is 5');
        expect(message).toContain('max_ack_pending 10 is less than the 50');
        expect(message).toContain('sources[1]');
        expect(message).toContain('consumer not found');
        expect(message).toContain(`no stream stores dlq.${place.stream}`);
      },
      { ackWaitMs: 10_000, maxAckPending: 10, maxDeliver: 5 },
    );

    row(
      'gone at run time: disconnected, asked for again with backoff, never created; back: it goes on',
      async ({ place, start, expect }) => {
        const events = recordEvents();
        const seen: number[] = [];
        const running = await start(
          { ...base(place), handle: async ({ data }) => void seen.push(data.n) },
          events.observe,
        );
        await expect.poll(() => running.snapshot().requested).toBe(4);
        await place.deleteConsumer();
        await expect.poll(() => running.state).toBe('disconnected');
        await expect.poll(() => events.of('source.missing').length).toBeGreaterThan(1);
        expect(running.health().reason).toContain('missing');
        await place.makeConsumer();
        await place.send({ n: 1 });
        await expect.poll(() => seen).toEqual([1]);
        await expect.poll(() => running.state).toBe('running');
      },
    );

    row(
      'back with a configuration that does not fit: not pulled from until it does',
      async ({ place, start, expect }) => {
        const events = recordEvents();
        const seen: number[] = [];
        const running = await start(
          { ...base(place), ack: { waitMs: 30_000 }, handle: async ({ data }) => void seen.push(data.n) },
          events.observe,
        );
        await place.deleteConsumer();
        await expect.poll(() => events.of('source.missing').length).toBeGreaterThan(0);
        await place.makeConsumer(5000);
        await expect.poll(() => events.of('source.drifted').length).toBeGreaterThan(0);
        expect(events.of('source.drifted')[0]?.problems[0]).toContain('ack_wait is 5000 ms, ack.waitMs says 30000');
        expect(running.state).toBe('disconnected');
        await place.deleteConsumer();
        await place.makeConsumer();
        await expect.poll(() => running.state).toBe('running');
        await place.send({ n: 1 });
        await expect.poll(() => seen).toEqual([1]);
      },
    );
  });
}
