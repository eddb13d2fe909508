import { jetstreamManager } from '@nats-io/jetstream';
import type { NatsConnection } from '@nats-io/transport-node';
import { startNats, type NatsProcess } from '@sluice/dev';
import type { RunningPipeline, State } from '@sluice/pipeline';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { createBucket } from '../kv/bucket.ts';
import { connectNats } from '../nats/connection.ts';
import { buckets } from '../topology/buckets.ts';
import { followPauseState, openPauseState } from './pause-state.ts';

let server: NatsProcess;
let nc: NatsConnection;
beforeAll(async () => {
  server = await startNats();
  nc = await connectNats({ url: server.url, name: 'pause-state-test' });
});
afterAll(async () => {
  await nc?.close();
  await server?.stop();
});

/** The part of a pipeline that is paused and resumed; its state can be another one for other reasons. */
function pipelineStub() {
  const stub = {
    paused: undefined as string | undefined,
    away: false,
    get state(): State {
      if (stub.away) return 'disconnected';
      return stub.paused === undefined ? 'running' : 'paused';
    },
    async pause(reason: string) {
      stub.paused = reason;
    },
    resume() {
      stub.paused = undefined;
    },
  };
  return stub;
}
const entry = (paused: boolean, reason = 'deploy') => ({ paused, reason, by: 'operator', at: '2026-01-01T00:00:00Z' });
const follow = async (name: string) => {
  const stub = pipelineStub();
  const follower = await followPauseState(nc, { checkEveryMs: 200, reconcileEveryMs: 100 });
  follower.started(name, stub as unknown as RunningPipeline);
  return { stub, follower };
};

test('a pipeline is paused by its entry although another one is broken, and one that starts later does not begin', async () => {
  const kv = await createBucket(nc, buckets.pauseState);
  const state = openPauseState(nc);
  await kv.put('broken', 'paused, please');
  const { stub, follower } = await follow('mailer');
  await state.set('mailer', entry(true));
  await expect.poll(() => stub.paused).toBe('deploy');
  const later = await follow('mailer');
  expect(later.stub.paused).toBe('deploy');
  await state.set('mailer', entry(false));
  await expect.poll(() => [stub.paused, later.stub.paused]).toEqual([undefined, undefined]);
  await follower.stop();
  await later.follower.stop();
});

test('a resume while the pipeline is disconnected is applied', async () => {
  const state = openPauseState(nc);
  const { stub, follower } = await follow('away');
  await state.set('away', entry(true));
  await expect.poll(() => stub.paused).toBe('deploy');
  stub.away = true;
  await state.set('away', entry(false));
  await expect.poll(() => stub.paused).toBeUndefined();
  await follower.stop();
});

test('a pipeline that is not where the pause state has it is put there', async () => {
  const state = openPauseState(nc);
  const { stub, follower } = await follow('lost');
  await state.set('lost', entry(true));
  await expect.poll(() => stub.paused).toBe('deploy');
  stub.paused = undefined;
  await expect.poll(() => stub.paused).toBe('deploy');
  await follower.stop();
});

test('pauses reach the pipelines after the bucket was deleted, which the next pause makes again', async () => {
  const jsm = await jetstreamManager(nc);
  const state = openPauseState(nc);
  const { stub, follower } = await follow('survivor');
  await state.set('survivor', entry(true, 'first'));
  await expect.poll(() => stub.paused).toBe('first');
  await jsm.streams.delete('KV_pipelines');
  await expect.poll(() => follower.warnings()).toEqual([expect.stringContaining('KV_pipelines does not exist')]);
  // Nothing said that it should go on.
  expect(stub.paused).toBe('first');
  await state.set('survivor', entry(true, 'second'));
  await expect.poll(() => stub.paused).toBe('second');
  expect(follower.warnings()).toEqual([]);
  expect(await state.get('survivor')).toMatchObject({ reason: 'second' });
  await follower.stop();
});

test('a pipeline starts while there is no bucket', async () => {
  const jsm = await jetstreamManager(nc);
  await jsm.streams.delete('KV_pipelines');
  const { stub, follower } = await follow('early');
  expect(stub.paused).toBeUndefined();
  await openPauseState(nc).set('early', entry(true));
  await expect.poll(() => stub.paused).toBe('deploy');
  await follower.stop();
});
