import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { create } from '@bufbuild/protobuf';
import { channels, JobEventSchema, JobKind, JobSchema, JobState } from '@sluice/contracts';
import { startNats, startS3, type NatsProcess, type S3Server } from '@sluice/dev';
import { newJobId } from '@sluice/jobs';
import { connectNats, createBus, provision, topology, type Bus } from '@sluice/messaging';
import { silentLogger } from '@sluice/pipeline';
import { createStore, type ObjectStore } from '@sluice/storage';
import type { Logger } from '@sluice/telemetry';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { startRole, type GatewayProcess, type Role } from '../src/gateway.ts';
import { eventually, testSettings } from './rig.ts';

let directory: string;
let nats: NatsProcess;
let s3: S3Server;
let store: ObjectStore;
const opened: Bus[] = [];

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'sluice-roles-'));
  [nats, s3] = await Promise.all([startNats(), startS3({ directory, buckets: ['sluice'] })]);
  const { url: endpoint, region, accessKeyId, secretAccessKey } = s3;
  store = createStore({ endpoint, region, bucket: 'sluice', accessKeyId, secretAccessKey });
});
afterAll(async () => {
  for (const bus of opened) await bus.close();
  store.close();
  await Promise.all([nats.stop(), s3.close()]);
  await rm(directory, { recursive: true, force: true });
});

async function gateway(role: Role): Promise<GatewayProcess> {
  const nc = await connectNats({ url: nats.url, name: `gateway/${role}` });
  if (opened.length === 0) await provision(nc, topology);
  const bus = await createBus(nc);
  opened.push(bus);
  return startRole(role, {
    bus,
    store,
    log: silentLogger as unknown as Logger,
    instance: role,
    onFault: (error) => {
      throw error;
    },
    settings: testSettings,
  });
}

const waiting = async (stream: 'JOBS' | 'EMAILS'): Promise<number> => {
  const { jsm } = opened[0]!;
  if (stream === 'EMAILS') return (await jsm.streams.info('EMAILS')).state.messages;
  const { num_pending, num_ack_pending } = await jsm.consumers.info('JOBS', 'orchestrator');
  return num_pending + num_ack_pending;
};

test('a gateway in two processes: one answers clients, the other drives their jobs', async () => {
  const api = await gateway('api');
  const accepted = await fetch(`${api.url}/v1/emails`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ to: 'ada@example.com', template: 'welcome', variables: { name: 'Ada' } }),
  });
  expect(accepted.status).toBe(202);
  // No process drives it yet, and it is not lost.
  await eventually(
    () => waiting('JOBS'),
    (messages) => messages === 1,
  );
  expect(await waiting('EMAILS')).toBe(0);

  const worker = await gateway('worker');
  expect(worker.url).toBeUndefined();
  await eventually(
    () => waiting('EMAILS'),
    (messages) => messages === 1,
  );
  await eventually(
    () => waiting('JOBS'),
    (pending) => pending === 0,
  );

  // What holds up the half that drives jobs is told of by the half that answers.
  await opened[0]!.jsm.streams.update('WEBHOOKS', { max_msgs: 1 });
  for (let n = 0; n < 20; n += 1) {
    const ended = create(JobSchema, {
      id: newJobId(),
      account: 'local',
      kind: JobKind.EMAIL,
      state: JobState.SUCCEEDED,
      callbackUrl: 'https://receiver.invalid/hook',
    });
    const event = create(JobEventSchema, { job: ended, cause: 'result' });
    await opened[0]!.publish(channels.job, event, { values: { jobId: ended.id }, id: `${ended.id}.0` });
  }
  const ready = async () => (await (await fetch(`${api.url}/readyz`)).json()) as { reasons: string[]; held: string[] };
  const { held } = await eventually(ready, (answer) => answer.held.length > 0);
  expect(held.join()).toMatch(/^webhook_calls: .*WEBHOOKS.* full/);

  // Each half is ready by itself, and ends by itself.
  expect([...api.reasons(), ...worker.reasons()]).toEqual([]);
  await worker.stop();
  const { id } = (await accepted.json()) as { id: string };
  expect((await fetch(`${api.url}/v1/jobs/${id}`)).status).toBe(200);
  await api.stop();
});
