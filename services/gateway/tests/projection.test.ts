import { create, toBinary } from '@bufbuild/protobuf';
import { JobKind, LifecycleEventSchema } from '@sluice/contracts';
import { jobLog, newJobId } from '@sluice/jobs';
import { silentLogger } from '@sluice/pipeline';
import type { Logger } from '@sluice/telemetry';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { startProjection } from '../src/history/projection.ts';
import { openReadModel, type ReadModel } from '../src/history/read-model.ts';
import { eventually, startRig, type Rig } from './rig.ts';

const log = silentLogger as unknown as Logger;

let rig: Rig;
beforeAll(async () => {
  rig = await startRig();
});
afterAll(() => rig?.stop());

const accept = async (account: string): Promise<string> => {
  const id = newJobId();
  await jobLog(rig.bus).accept({ id, kind: JobKind.EMAIL, account });
  return id;
};
const idsOf = (model: ReadModel, account: string): string[] =>
  model
    .jobs({ account, limit: 50 })
    .map(({ job }) => job.id)
    .sort();
/** An event that a system published itself, past every check of the gateway. */
const publish = (messageId: string, event: object) =>
  rig.bus.port.publish(
    `events.shop.${messageId}`,
    toBinary(LifecycleEventSchema, create(LifecycleEventSchema, { appId: 'shop', messageId, ...event })),
  );
const noCalendar = { seconds: 9_000_000_000_000n, nanos: 0 };

describe('a read model that does not take a batch', () => {
  test('is given it again, and what came meanwhile: nothing is missing in the end', async () => {
    const model = openReadModel(':memory:');
    let refusals = 2;
    const full: ReadModel = {
      ...model,
      apply(jobs, events) {
        if (jobs.length > 0 && refusals-- > 0) throw new Error('database or disk is full');
        model.apply(jobs, events);
      },
    };
    const first = await accept('acme');
    const projection = await startProjection({ bus: rig.bus, model: full, log, retryMs: 20 });
    const second = await accept('acme');
    await eventually(
      async () => refusals,
      (left) => left < 0,
    );
    const third = await accept('acme');
    await projection.caughtUp;
    await eventually(
      async () => idsOf(model, 'acme'),
      (ids) => ids.length === 3,
    );
    expect(idsOf(model, 'acme')).toEqual([first, second, third].sort());
    await projection.close();
    model.close();
  });
});

describe('a stream', () => {
  test('is through although its last messages are gone or cannot be read', async () => {
    const before = await rig.bus.jsm.streams.info('JOBS', { subjects_filter: '>' });
    const ids = [await accept('globex'), await accept('globex')];
    // A job that asks for nothing is given up, which is its second event.
    const { state } = await eventually(
      () => rig.bus.jsm.streams.info('JOBS'),
      (info) => info.state.last_seq === 2 * ((before.state.num_subjects ?? 0) + 2),
    );
    await rig.bus.jsm.streams.deleteMessage('JOBS', state.last_seq);
    await publish('order-1', { event: 'paid' });
    await rig.bus.port.publish('events.shop.order-2', 'no event');

    const model = openReadModel(':memory:');
    const projection = await startProjection({ bus: rig.bus, model, log });
    await projection.caughtUp;
    expect(idsOf(model, 'globex')).toEqual(ids.sort());
    expect(model.incomplete('shop', ['paid', 'shipped'], 9)).toMatchObject([{ messageId: 'order-1' }]);
    await projection.close();
    model.close();
  });

  test('may tell of times that no calendar has', async () => {
    await rig.call('/v1/events', { json: { app_id: 'shop', message_id: 'order-9', event: 'placed' } });
    await publish('order-9', { event: 'paid', createdAt: noCalendar, durationMs: Infinity });
    const { status, body } = await rig.call<{ events: { event: string }[] }>('/v1/messages/shop/order-9');
    expect({ status, events: body.events.map(({ event }) => event) }).toEqual({
      status: 200,
      events: ['placed', 'paid'],
    });

    const id = await accept('initech');
    // An app that names a job's id in an event of its own must not keep other jobs out of the read model.
    await publish(id, { event: 'attempt', createdAt: noCalendar });
    const model = openReadModel(':memory:');
    const projection = await startProjection({ bus: rig.bus, model, log });
    await projection.caughtUp;
    expect(idsOf(model, 'initech')).toEqual([id]);
    await projection.close();
    model.close();
  });
});
