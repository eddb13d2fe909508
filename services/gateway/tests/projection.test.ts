import { create, toBinary } from '@bufbuild/protobuf';
import { JobKind, LifecycleEventSchema } from '@sluice/contracts';
import { jobLog, newJobId } from '@sluice/jobs';
import { silentLogger } from '@sluice/pipeline';
import type { Logger } from '@sluice/telemetry';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { openReadModel } from '../src/history/open-read-model.ts';
import { startProjection, type Projection } from '../src/history/projection.ts';
import { ReadModelUnavailableError, type ReadModel } from '../src/history/read-model.ts';
import { eventually, startRig, type Rig } from './rig.ts';

const log = silentLogger as unknown as Logger;

let rig: Rig;
beforeAll(async () => {
  rig = await startRig();
});
afterAll(() => rig?.stop());

const opened: { close(): Promise<void> }[] = [];
afterEach(async () => {
  for (const each of opened.splice(0).reverse()) await each.close();
});
const openModel = async (): Promise<ReadModel> => {
  const model = await openReadModel('sqlite::memory:', log);
  opened.push(model);
  return model;
};
const project = (model: Pick<ReadModel, 'follow' | 'apply'>): Projection => {
  const projection = startProjection({ bus: rig.bus, model, log, jobStreams: ['JOBS'], retryMs: 20 });
  opened.push(projection);
  return projection;
};

const accept = async (account: string): Promise<string> => {
  const id = newJobId();
  await jobLog(rig.bus).accept({ id, kind: JobKind.EMAIL, account });
  return id;
};
const idsOf = async (model: ReadModel, account: string): Promise<string[]> =>
  (await model.jobs({ account, limit: 50 })).jobs.map(({ id }) => id).sort();
/** An event that a system published itself, past every check of the gateway. */
const publish = (messageId: string, event: object) =>
  rig.bus.port.publish(
    `events.shop.${messageId}`,
    toBinary(LifecycleEventSchema, create(LifecycleEventSchema, { appId: 'shop', messageId, ...event })),
  );
const noCalendar = { seconds: 9_000_000_000_000n, nanos: 0 };

describe('a read model that does not take a batch', () => {
  test('is given it again, and what came meanwhile: nothing is missing in the end', async () => {
    const model = await openModel();
    let refusals = 2;
    const full: Pick<ReadModel, 'follow' | 'apply'> = {
      follow: (...args) => model.follow(...args),
      async apply(batch) {
        if (batch.stream === 'JOBS' && refusals-- > 0) throw new ReadModelUnavailableError('the disk is full');
        return model.apply(batch);
      },
    };
    const first = await accept('acme');
    const projection = project(full);
    const second = await accept('acme');
    await eventually(
      async () => projection.problem(),
      (problem) => problem === 'JOBS is not taken in: the disk is full',
    );
    const third = await accept('acme');
    await projection.caughtUp;
    await eventually(
      () => idsOf(model, 'acme'),
      (ids) => ids.length === 3,
    );
    expect(await idsOf(model, 'acme')).toEqual([first, second, third].sort());
    expect(projection.problem()).toBeUndefined();
  });
});

describe('a projection', () => {
  test('goes on when another one was faster, and takes in nothing twice', async () => {
    const model = await openModel();
    const [one, other] = [project(model), project(model)];
    const ids: string[] = [];
    for (let n = 0; n < 20; n += 1) ids.push(await accept('shared'));
    await Promise.all([one.caughtUp, other.caughtUp]);
    await eventually(
      () => idsOf(model, 'shared'),
      (found) => found.length === 20,
    );
    // A job that asks for nothing fails at once.
    await eventually(
      () => model.counts('shared'),
      (found) => found['failed'] === 20,
    );
    expect(await model.counts('shared')).toEqual({ failed: 20 });
  });

  test('reads a stream that was made again from its beginning, and keeps the history', async () => {
    const model = await openModel();
    const before = await accept('again');
    const projection = project(model);
    await projection.caughtUp;
    const { config } = await rig.bus.jsm.streams.info('JOBS');
    await rig.bus.jsm.streams.delete('JOBS');
    await rig.bus.jsm.streams.add(config);
    const after = await accept('again');
    await projection.close();
    const next = project(model);
    await next.caughtUp;
    expect(await idsOf(model, 'again')).toEqual([before, after].sort());
  });
});

describe('a stream', () => {
  test('is through although its last messages are gone or cannot be read', async () => {
    const ids = [await accept('globex'), await accept('globex')];
    const { state } = await rig.bus.jsm.streams.info('JOBS');
    await rig.bus.port.publish(`jobs.${newJobId()}`, 'no event');
    await rig.bus.jsm.streams.deleteMessage('JOBS', state.last_seq + 1);
    await publish('order-1', { event: 'paid' });
    await rig.bus.port.publish('events.shop.order-2', 'no event');

    const model = await openModel();
    const projection = project(model);
    await projection.caughtUp;
    expect(await idsOf(model, 'globex')).toEqual(ids.sort());
    const { messages } = await model.incomplete('shop', ['paid', 'shipped'], 9);
    expect(messages).toMatchObject([{ messageId: 'order-1' }]);
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
    const model = await openModel();
    await project(model).caughtUp;
    expect(await idsOf(model, 'initech')).toEqual([id]);
  });
});
