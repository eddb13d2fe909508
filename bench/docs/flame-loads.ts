// What `pnpm flame` loads: a service of the running system, or a worker of the engine's bench.
import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { jetstreamManager } from '@nats-io/jetstream';
import { connect } from '@nats-io/transport-node';
import { startNats, startStack, type ServiceName, type Stack } from '@sluice/dev';
import { natsPort } from '@sluice/pipeline/nats';
import { findCaller } from '../grpc/calls.ts';
import { wrk, type WrkRequest } from '../http/wrk.ts';
import { payload } from '../pipeline/payload.ts';
import { startChild } from '../telemetry/child.ts';
import type { WorkerOrder } from '../pipeline/worker.ts';

/** Between which microseconds of the monotonic clock the load ran. */
type Window = readonly [number, number];
/** Loads something whose profile is written into a folder. */
type FlameLoad = (folder: string, seconds: number) => Promise<Window>;

const INTERVAL_US = 500;
const json = { 'content-type': 'application/json' };
const profiling = (folder: string): readonly string[] => [
  '--cpu-prof',
  `--cpu-prof-dir=${folder}`,
  `--cpu-prof-interval=${INTERVAL_US}`,
];
const nowUs = (): number => Number(process.hrtime.bigint() / 1000n);

/** Loads a service of the whole system. */
const ofService =
  (
    service: ServiceName,
    load: (stack: Stack, seconds: number) => Promise<unknown>,
    services: readonly ServiceName[] = ['gateway', 'email', 'client'],
  ): FlameLoad =>
  async (folder, seconds) => {
    const dataDirectory = mkdtempSync(join(tmpdir(), 'sluice-flame-data-'));
    const env = { [service]: { NODE_OPTIONS: profiling(folder).join(' ') } };
    const stack = await startStack({ dataDirectory, fresh: true, services, env });
    try {
      await load(stack, 2);
      const from = nowUs();
      await load(stack, seconds);
      return [from, nowUs()];
    } finally {
      await stack.stop();
      rmSync(dataDirectory, { recursive: true, force: true });
    }
  };

const onWrk =
  (requestOf: (stack: Stack) => Promise<WrkRequest>, connections = 100) =>
  async (stack: Stack, seconds: number): Promise<unknown> =>
    wrk(await requestOf(stack), { connections, seconds, watch: {} });

const event = { app_id: 'bench', message_id: 'm%d', event: 'published', created_at: '2026-01-01T00:00:00.000Z' };
const mail = { to: 'user-%d@example.com', template: 'welcome', variables: { name: 'Ada' } };

/** Loads a worker of `bench/pipeline` with messages that are there. */
const ofEngine =
  (kind: WorkerOrder['kind']): FlameLoad =>
  async (folder, seconds) => {
    const server = await startNats();
    const collector = await startChild('sink.ts');
    const connection = await connect({ servers: server.url, noAsyncTraces: true });
    const port = natsPort(connection);
    const jsm = await jetstreamManager(connection);
    const count = seconds * 20_000;
    const warmup = 20_000;
    try {
      await jsm.streams.add({ name: 'BENCH', subjects: ['bench.a'] });
      await jsm.streams.add({ name: 'DLQ', subjects: ['dlq.>'] });
      const headers = { traceparent: '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01' };
      for (let sent = 0; sent < warmup + count + 5_000; sent += 500) {
        await Promise.all(Array.from({ length: 500 }, () => port.publish('bench.a', payload(), { headers })));
      }
      await jsm.consumers.add('BENCH', { durable_name: 'flame', ack_policy: 'explicit', max_ack_pending: 10_000 });
      const order: WorkerOrder = {
        kind,
        url: server.url,
        stream: 'BENCH',
        consumer: 'flame',
        otlpUrl: collector.url,
        window: 64,
        warmup,
        count,
      };
      const worker = join(import.meta.dirname, '../pipeline/worker.ts');
      await promisify(execFile)(process.execPath, [...profiling(folder), worker, JSON.stringify(order)]);
      return [0, Infinity];
    } finally {
      port.close();
      await connection.close();
      collector.stop();
      await server.stop();
    }
  };

/** By the name of the flame graph. */
export const flameLoads: Readonly<Record<string, FlameLoad>> = {
  'gateway-events': ofService(
    'gateway',
    onWrk(async ({ urls }) => ({
      url: `${urls.gateway}/v1/events`,
      method: 'POST',
      headers: json,
      body: JSON.stringify(event),
    })),
    ['gateway'],
  ),
  'gateway-get-job': ofService(
    'gateway',
    onWrk(async ({ urls }) => ({ url: `${urls.gateway}/v1/jobs/${await someJob(urls.gateway)}` })),
    ['gateway', 'email'],
  ),
  'gateway-grpc': ofService(
    'gateway',
    ({ urls }, seconds) =>
      findCaller().run(`http://${urls.grpc}`, {
        calls: seconds * 2_500,
        concurrency: 50,
        connections: 1,
        events: 1,
        watch: {},
      }),
    ['gateway'],
  ),
  'gateway-mails': ofService(
    'gateway',
    onWrk(async ({ urls }) => mailsTo(urls.gateway), 16),
  ),
  'email-mails': ofService(
    'email',
    onWrk(async ({ urls }) => mailsTo(urls.gateway), 16),
  ),
  engine: ofEngine('pipeline'),
  'engine-telemetry': ofEngine('telemetry'),
};

const mailsTo = (gateway: string): WrkRequest => ({
  url: `${gateway}/v1/emails`,
  method: 'POST',
  headers: json,
  body: JSON.stringify(mail),
  pauseMs: 40,
});

async function someJob(gateway: string): Promise<string> {
  const body = JSON.stringify({ ...mail, to: 'ada@example.com' });
  for (;;) {
    const answer = await fetch(`${gateway}/v1/emails`, {
      method: 'POST',
      headers: { ...json, prefer: 'wait=20' },
      body,
    });
    const job = (await answer.json()) as { id: string; state: string };
    if (job.state === 'succeeded') return job.id;
    await sleep(200);
  }
}
