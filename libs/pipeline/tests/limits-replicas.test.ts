import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import type { LimitsOptions } from '../src/index.ts';
import type { Job } from '../src/conformance/source.ts';
import { natsSource } from './nats-source.ts';
import type { NatsSource } from './nats-source.ts';

const NS = 1_000_000;
const KV = { max_msgs_per_subject: 1, discard: 'new', max_age: 60_000 * NS, duplicate_window: 60_000 * NS } as const;
let source: NatsSource;
beforeAll(async () => {
  source = await natsSource();
  for (const name of ['limits', 'attempts'])
    await source.jsm.streams.add({ name: `KV_${name}`, subjects: [`$KV.${name}.>`], ...KV });
  await source.jsm.streams.add({ name: 'DLQ', subjects: ['dlq.>'] });
});
afterAll(() => source.close());

interface Replica {
  readonly child: ChildProcess;
  /** Handlers, by when they began; `endedAt` when that was said, or when the process was killed. */
  readonly handlers: { readonly n: number; readonly isFirst: boolean; readonly beganAt: number; endedAt: number }[];
  kill(): Promise<void>;
}
const replicas: Replica[] = [];
afterEach(async () => {
  for (const replica of replicas.splice(0)) await replica.kill();
});

async function workQueue(name: string): Promise<void> {
  await source.jsm.streams.add({ name, subjects: [`${name}.>`], retention: 'workqueue' });
  const consumer = { durable_name: 'worker', ack_policy: 'explicit', ack_wait: 1000 * NS, max_deliver: -1 } as const;
  await source.jsm.consumers.add(name, consumer);
}

async function startReplica(
  stream: string,
  limits: LimitsOptions<Job>,
  handlerMs: number,
  byKey = '',
): Promise<Replica> {
  const args = [source.server.url, stream, JSON.stringify(limits), String(handlerMs), byKey];
  const child = spawn(process.execPath, [join(import.meta.dirname, 'limits-worker.ts'), ...args], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const handlers: Replica['handlers'] = [];
  const ready = Promise.withResolvers<void>();
  createInterface({ input: child.stdout }).on('line', (line) => {
    const [what, n, at] = line.split(' ');
    if (what === 'ready') ready.resolve();
    else if (what?.startsWith('began') === true)
      handlers.push({
        n: Number(n),
        isFirst: what === 'began',
        beganAt: Number(at),
        endedAt: Number.POSITIVE_INFINITY,
      });
    else {
      const handler = handlers.findLast((one) => one.n === Number(n));
      if (handler !== undefined) handler.endedAt = Number(at);
    }
  });
  const replica: Replica = {
    child,
    handlers,
    async kill() {
      if (child.exitCode !== null || child.signalCode !== null) return;
      child.kill('SIGKILL');
      await once(child, 'exit');
      const now = performance.timeOrigin + performance.now();
      for (const handler of handlers) handler.endedAt = Math.min(handler.endedAt, now);
    },
  };
  replicas.push(replica);
  await ready.promise;
  return replica;
}

const left = async (stream: string): Promise<number> => (await source.jsm.streams.info(stream)).state.messages;
const send = async (stream: string, jobs: readonly Job[]): Promise<void> => {
  for (const job of jobs) await source.js.publish(`${stream}.a`, JSON.stringify(job));
};
const all = (): Replica['handlers'] => replicas.flatMap(({ handlers }) => handlers);

/** Most handlers at work at one time, over all replicas. */
function mostAtOnce(): number {
  const changes = all().flatMap(({ beganAt, endedAt }) => [
    { at: beganAt, by: 1 },
    { at: endedAt, by: -1 },
  ]);
  let now = 0;
  let most = 0;
  for (const { by } of changes.toSorted((a, b) => a.at - b.at || a.by - b.by)) most = Math.max(most, (now += by));
  return most;
}

test('two replicas run no more at once than the limit, and the part of one that is killed goes to the other', async () => {
  await workQueue('TWO');
  const limits = { all: { concurrency: 4 } };
  const [first, second] = await Promise.all([
    startReplica('TWO', limits, 40, 'byKey'),
    startReplica('TWO', limits, 40, 'byKey'),
  ]);
  await send(
    'TWO',
    Array.from({ length: 150 }, (_, n) => ({ n, key: n % 3 === 0 ? 'a' : 'b' })),
  );
  await expect.poll(() => first.handlers.length).toBeGreaterThan(10);
  await expect.poll(() => second.handlers.length).toBeGreaterThan(10);
  await second.kill();
  // All four are the other's before the queue is empty, or it would be longer than it was.
  await send(
    'TWO',
    Array.from({ length: 150 }, (_, n) => ({ n: 150 + n, key: 'c' })),
  );
  await expect.poll(() => left('TWO'), { timeout: 60_000 }).toBe(0);
  expect(mostAtOnce()).toBe(4);
  const survivors = first.handlers.slice(-100);
  expect(survivors.some(({ beganAt }) => atWork(survivors, beganAt) === 4)).toBe(true);
  expect(new Set(all().map(({ n }) => n)).size).toBe(300);
  expect(await left('DLQ')).toBe(0);
});

const atWork = (handlers: Replica['handlers'], at: number): number =>
  handlers.filter(({ beganAt, endedAt }) => beganAt <= at && endedAt > at).length;

test('three replicas start no more in any window than the limit allows, before and after one is killed', async () => {
  await workQueue('THREE');
  const limits = { all: { perSecond: 100, burst: 10 } };
  const [one, two, three] = await Promise.all([1, 2, 3].map(() => startReplica('THREE', limits, 0)));
  await send(
    'THREE',
    Array.from({ length: 600 }, (_, n) => ({ n })),
  );
  for (const replica of [one, two, three]) await expect.poll(() => replica?.handlers.length).toBeGreaterThan(10);
  await three?.kill();
  await expect.poll(() => left('THREE'), { timeout: 60_000 }).toBe(0);
  // A message that comes again starts a moment after it was counted, when the attempt store has answered.
  const beganAt = all()
    .filter(({ isFirst }) => isFirst)
    .map((handler) => handler.beganAt)
    .toSorted((a, b) => a - b);
  for (const windowMs of [250, 1000]) {
    let from = 0;
    for (const [to, at] of beganAt.entries()) {
      while (at - (beganAt[from] ?? 0) > windowMs) from++;
      // What the rate allows in it, the burst, and one for rounding.
      expect(to - from + 1).toBeLessThanOrEqual((100 * windowMs) / 1000 + 10 + 1);
    }
  }
  expect(new Set(all().map(({ n }) => n)).size).toBe(600);
});
