import { create } from '@bufbuild/protobuf';
import { channels, LifecycleEventSchema } from '@sluice/contracts';
import { announcePresence, createPipelineHost } from '@sluice/messaging';
import { definePipeline, silentLogger } from '@sluice/pipeline';
import { afterEach, expect, test } from 'vitest';
import type { JobView, WaitingFor } from '../src/jobs/job-view.ts';
import { eventually, startRig, type Rig } from './rig.ts';

let rig: Rig;
afterEach(() => rig?.stop());

const accept = async (): Promise<string> => {
  const json = { to: 'ada@example.com', template: 'welcome', variables: { name: 'Ada' } };
  return (await rig.call<JobView>('/v1/emails', { json })).body.id;
};
const waiting = async (id: string): Promise<WaitingFor | undefined> =>
  (await rig.call<JobView>(`/v1/jobs/${id}`)).body.waitingFor;
/** Asks until the job waits for something; what the broker says is up to half a second old. */
const waitsFor = (id: string, reason: WaitingFor['reason']): Promise<WaitingFor | undefined> =>
  eventually(
    () => waiting(id),
    (found) => found?.reason === reason,
  );
const stored = (stream: string, count: number) =>
  eventually(
    async () => (await rig.bus.jsm.streams.info(stream)).state.messages,
    (found) => found === count,
  );

async function says(id: string, event: string, durationMs = 0): Promise<void> {
  const message = create(LifecycleEventSchema, {
    appId: 'email',
    messageId: id,
    event,
    attempt: 1,
    detail: 'why',
    durationMs,
  });
  const values = { appId: 'email', messageId: id };
  await rig.bus.publish(channels.event, message, { values, id: `${id}${event}${durationMs}` });
}

test('a job says what it waits for on its way to its worker, and nothing once it runs or has ended', async () => {
  rig = await startRig();
  const id = await accept();
  await stored('EMAILS', 1);
  const unattended = await eventually(
    () => waiting(id),
    (found) => found?.reason === 'no_worker' && found.ahead === 1,
  );
  expect(unattended?.detail).toBe('no worker of welcome_mailer asks for work');

  const pause = (verb: string) => rig.call(`/v1/pipelines/welcome_mailer:${verb}`, { method: 'POST' });
  await pause('pause');
  expect(await waitsFor(id, 'paused')).toMatchObject({ detail: 'welcome_mailer: paused by local' });
  await pause('resume');
  await waitsFor(id, 'no_worker');

  await says(id, 'received');
  expect(await waiting(id)).toMatchObject({ reason: 'worker' });
  await says(id, 'attempt');
  expect(await waiting(id)).toBeUndefined();
  await says(id, 'held');
  expect(await waiting(id)).toMatchObject({ reason: 'provider', detail: 'no mail provider takes mail: why' });
  await says(id, 'retry_scheduled', 3_600_000);
  const retry = await waiting(id);
  expect(retry).toMatchObject({ reason: 'retry', detail: 'why' });
  expect(Date.parse(retry!.until!) - Date.parse(retry!.since!)).toBe(3_600_000);
  // The delay is over, and no worker has taken it up again.
  await says(id, 'retry_scheduled', 0);
  await waitsFor(id, 'no_worker');

  await rig.workers();
  await eventually(
    async () => (await rig.call<JobView>(`/v1/jobs/${id}`)).body,
    ({ state, waitingFor }) => state === 'succeeded' && waitingFor === undefined,
  );
});

test('a job says what keeps its workers from work', async () => {
  rig = await startRig();
  const { port, jsm } = rig.bus;
  const unexpected = (error: unknown): void => expect(error).toBeUndefined();
  const host = createPipelineHost({ nats: port, log: silentLogger, observers: [], onFault: unexpected });
  const presence = announcePresence(port, { service: 'email', instance: 'one', version: '1' });
  presence.follow(host);
  try {
    const pipeline = definePipeline<Uint8Array>({
      name: 'welcome_mailer',
      sources: [{ stream: 'EMAILS', consumer: 'welcome_mailer' }],
      decode: (bytes) => bytes,
      flow: { expiresMs: 250, idleHeartbeatMs: 100 },
      handle: async () => undefined,
    });
    const running = await host.start(pipeline, undefined);
    await jsm.consumers.pause('EMAILS', 'welcome_mailer', new Date(Date.now() + 3_600_000));
    await eventually(
      async () => running.state,
      (state) => state === 'disconnected',
    );
    const id = await accept();
    const found = await eventually(
      () => waiting(id),
      (each) => each?.reason === 'no_worker' && each.detail.startsWith('email'),
    );
    expect(found?.detail).toMatch(/^email does not take work: welcome_mailer: .*is paused on the server until/);
  } finally {
    presence.leave();
    await host.drain(2_000);
  }
});

test('a job waits for its dispatch, and for room in its queue', async () => {
  rig = await startRig();
  await rig.call('/v1/pipelines/orchestrator:pause', { method: 'POST' });
  await eventually(
    async () => rig.gateway.pipelines().find(({ name }) => name === 'orchestrator')?.state,
    (state) => state === 'paused',
  );
  const [first, second] = [await accept(), await accept()];
  expect(await waitsFor(first, 'paused')).toMatchObject({ detail: 'orchestrator: paused by local' });
  await rig.bus.jsm.streams.update('EMAILS', { max_msgs: 1 });
  await rig.call('/v1/pipelines/orchestrator:resume', { method: 'POST' });
  await stored('EMAILS', 1);
  const found = await eventually(
    async () => [await waiting(first), await waiting(second)],
    (both) => both.some((each) => each?.reason === 'queue_full'),
  );
  expect(found.find((each) => each?.reason === 'queue_full')?.detail).toContain('stream EMAILS is full');
});
