import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { definePipeline, kvAttemptStore } from '../src/index.ts';
import { natsPort } from '../src/nats/index.ts';
import { natsSource } from './nats-source.ts';
import type { NatsSource } from './nats-source.ts';
import { decodeJson } from '../src/conformance/source.ts';
import type { Job } from '../src/conformance/source.ts';

let source: NatsSource;
beforeAll(async () => {
  source = await natsSource();
  await source.jsm.streams.add({ name: 'W', subjects: ['w.>'], retention: 'workqueue' });
  await source.jsm.streams.add({ name: 'DLQ', subjects: ['dlq.>'] });
  await source.jsm.streams.add({ name: 'KV_attempts', subjects: ['$KV.attempts.>'], max_msgs_per_subject: 1 });
  await source.jsm.consumers.add('W', {
    durable_name: 'worker',
    ack_policy: 'explicit',
    ack_wait: 600_000_000,
    max_deliver: -1,
  });
});
afterAll(() => source.close());

/** Starts a worker process, waits for what it says, and kills it with no chance to say goodbye. */
async function killOnce(expected: string): Promise<void> {
  const child = spawn(process.execPath, [join(import.meta.dirname, 'killed-worker.ts'), source.server.url], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let said = '';
  for await (const chunk of child.stdout) {
    said += String(chunk);
    if (said.includes(expected)) break;
  }
  child.kill('SIGKILL');
  if (child.exitCode === null && child.signalCode === null) await once(child, 'exit');
  expect(said).toContain(expected);
}

test('kill -9: nothing is settled, the next process runs the message again; a crash loop ends as a dead letter', async () => {
  await source.js.publish('w.a', '{"n":1}');
  // A crash is no failed run: the attempt stays the first. The first delivery is not recorded, so the third crash is the
  // second that the store knows of.
  await killOnce('started 1 attempt 1');
  await killOnce('started 1 attempt 1');
  await killOnce('started 1 attempt 1');
  const port = natsPort(source.admin);
  let calls = 0;
  const running = await definePipeline<Job>({
    name: 'doomed',
    sources: [{ stream: 'W', consumer: 'worker' }],
    decode: decodeJson,
    flow: { concurrency: 2, expiresMs: 400, idleHeartbeatMs: 100 },
    retry: { maxAttempts: 2 },
    attempts: { store: kvAttemptStore(port, { bucket: 'attempts' }), maxCrashes: 2 },
    handle: async () => {
      calls++;
    },
  }).start({ nats: port, deps: undefined });
  const left = async (): Promise<number> => (await source.jsm.streams.info('W')).state.messages;
  await expect.poll(left).toBe(0);
  expect(calls).toBe(0);
  const record = await source.jsm.streams.getMessage('DLQ', { last_by_subj: 'dlq.W.worker' });
  expect(record?.header.get('Dlq-Reason')).toBe('crashLoop');
  await running.drain();
  port.close();
});
