import { headers as createHeaders } from '@nats-io/transport-node';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { definePipeline, PermanentError, readDeadLetters, redriveDeadLetters } from '../src/index.ts';
import { natsSource } from './nats-source.ts';
import type { NatsSource } from './nats-source.ts';
import { base } from '../src/conformance/source.ts';
import type { Job, Place } from '../src/conformance/source.ts';

let source: NatsSource;
beforeAll(async () => {
  source = await natsSource();
});
afterAll(() => source.close());

/** A pipeline with a replay lane, whose handler refuses everything until `healed`. */
async function broken(place: Place, state: { healed: boolean; seen: string[] }) {
  return definePipeline<Job>({
    ...base(place),
    sources: [
      { stream: place.stream, consumer: place.consumer, weight: 4 },
      { stream: place.stream, consumer: 'again', weight: 1 },
    ],
    handle: async ({ data, id, headers }) => {
      if (!state.healed) throw new PermanentError('refused');
      state.seen.push(`${data.n} ${id} ${headers.get('tenant')?.join() ?? ''}`);
    },
  }).start({ nats: place.port, deps: undefined });
}

describe('replaying dead letters', () => {
  test('each goes to the pipeline’s own lane under a new id, its record is removed after its copy is stored', async () => {
    const place = await source.place({ lanes: ['again'] });
    const state = { healed: false, seen: [] as string[] };
    const running = await broken(place, state);
    const tenants = createHeaders();
    for (const tenant of ['acme', 'globex']) tenants.append('tenant', tenant);
    tenants.set('Nats-Msg-Id', 'first');
    await source.js.publish(`${place.stream}.${place.consumer}`, '{"n":1}', { headers: tenants });
    await place.store('{"n":2}', { id: 'second' });
    await expect.poll(() => place.left()).toBe(0);
    state.healed = true;
    const dlq = { stream: `DLQ_${place.stream}`, subject: `dlq.${place.stream}.>` };
    const to = `${place.stream}.again`;

    const rehearsal = await redriveDeadLetters(place.port, { ...dlq, to, dryRun: true });
    expect(rehearsal).toEqual({ seen: 2, replayed: 2, skipped: [] });
    expect(await place.deadLetters()).toHaveLength(2);

    const report = await redriveDeadLetters(place.port, { ...dlq, to, ratePerSecond: 1000 });
    expect(report).toEqual({ seen: 2, replayed: 2, skipped: [] });
    await expect.poll(() => state.seen.length).toBe(2);
    // Every value of a header, and the id that the idempotency store knows.
    expect(state.seen).toEqual(['1 first acme,globex', '2 second ']);
    expect(await place.deadLetters()).toEqual([]);
    await running.drain();
    await place.close();
  });

  test('a message that keeps coming back stays after its third replay', async () => {
    const place = await source.place({ lanes: ['again'] });
    const running = await broken(place, { healed: false, seen: [] });
    await place.send({ n: 1 });
    const dlq = { stream: `DLQ_${place.stream}`, subject: `dlq.${place.stream}.>`, to: `${place.stream}.again` };
    for (let round = 0; round < 3; round++) {
      await expect.poll(() => place.deadLetters()).toHaveLength(1);
      expect(await redriveDeadLetters(place.port, { ...dlq, keep: false })).toMatchObject({ replayed: 1 });
    }
    await expect.poll(() => place.deadLetters()).toHaveLength(1);
    const report = await redriveDeadLetters(place.port, dlq);
    expect(report).toMatchObject({ replayed: 0, skipped: [{ reason: 'replayed 3 times already' }] });
    await running.drain();
    await place.close();
  });

  test('only the selected ones go; a record that holds a part of the body cannot', async () => {
    const place = await source.place({ lanes: ['again'] });
    const running = await definePipeline<Job>({
      ...base(place),
      deadLetter: { maxPayloadBytes: 10 },
      handle: async () => {
        throw new PermanentError('refused');
      },
    }).start({ nats: place.port, deps: undefined });
    await place.store('{"n":1}', { id: 'short' });
    await place.store('{"n":2,"key":"a long one"}', { id: 'long' });
    await place.store('{"n":3}', { id: 'other' });
    await expect.poll(() => place.left()).toBe(0);
    await running.drain();
    const letters = [];
    for await (const letter of readDeadLetters(place.port, { stream: `DLQ_${place.stream}`, subject: '>' }))
      letters.push(letter);
    expect(letters.map(({ messageId, complete, reason }) => [messageId, complete, reason])).toContainEqual([
      'long',
      false,
      'permanent',
    ]);
    const report = await redriveDeadLetters(place.port, {
      stream: `DLQ_${place.stream}`,
      subject: `dlq.${place.stream}.>`,
      to: ({ origin }) => `${origin.stream}.again`,
      select: ({ messageId }) => messageId !== 'other',
    });
    expect(report).toMatchObject({
      seen: 2,
      replayed: 1,
      skipped: [{ reason: 'the record holds only a part of the body' }],
    });
    await place.close();
  });
});
