import { afterEach, beforeEach, expect, test } from 'vitest';
import { definePipeline } from '../../src/index.ts';
import { natsPort } from '../../src/nats/index.ts';
import type { ClosableNatsPort } from '../../src/nats/index.ts';
import { decodeJson } from '../../src/conformance/source.ts';
import { natsSource } from '../nats-source.ts';
import type { NatsSource } from '../nats-source.ts';
import { replicaStarter } from './replicas.ts';

const PARTITIONS = 4;
const KEYS = 12;
let source: NatsSource;
let port: ClosableNatsPort;
let replicas: ReturnType<typeof replicaStarter>;
beforeEach(async () => {
  source = await natsSource();
  port = natsPort(source.admin);
  replicas = replicaStarter(source.server.url);
  await source.jsm.streams.add({ name: 'RUNS', subjects: ['runs.*'] });
  await definePipeline({
    name: 'replica',
    sources: [{ stream: 'W', consumer: 'worker', partitions: PARTITIONS, partitionBy: 'w.*' }],
    decode: decodeJson,
    handle: async () => undefined,
  }).ensure(port, { subjects: ['w.*'], pinTtlMs: 4000 });
});
afterEach(async () => {
  await replicas.end();
  port.close();
  await source.close();
});

let sent = 0;
/** Sends so many messages to each key, numbered through. */
async function send(each: number): Promise<void> {
  for (let round = 0; round < each; round++, sent++)
    await Promise.all(Array.from({ length: KEYS }, (_, key) => port.publish(`w.k${key}`, JSON.stringify({ n: sent }))));
}
const left = async (): Promise<number> => (await source.jsm.streams.info('W')).state.messages;

interface Step {
  readonly what: 'start' | 'end';
  readonly replica: string;
  readonly key: string;
  readonly n: number;
  readonly sequence: number;
  /** When the replica did it; what it was about to send when it was frozen is stored after that. */
  readonly at: number;
}
async function stepsByKey(): Promise<ReadonlyMap<string, readonly Step[]>> {
  const { state } = await source.jsm.streams.info('RUNS');
  const steps: Step[] = [];
  for (let seq = 1; seq <= state.last_seq; seq++) {
    const message = await source.jsm.streams.getMessage('RUNS', { seq });
    if (message === null) continue;
    const what = message.subject === 'runs.start' ? 'start' : 'end';
    steps.push({ what, ...message.json<Omit<Step, 'what'>>() });
  }
  return Map.groupBy(steps, ({ key }) => key);
}

/**
 * The messages of each key run one after the other in the order of the stream. A replica that was killed or frozen leaves a
 * run without an end, which another begins again; what it did before that and could only say later counts for nothing.
 */
async function expectOrder(interruption?: { readonly replica: string; readonly at: number }): Promise<void> {
  const byKey = await stepsByKey();
  expect(byKey.size).toBe(KEYS);
  for (const [key, steps] of byKey) {
    let ended = 0;
    let open: Step | undefined;
    for (const step of steps) {
      const where = `key ${key}: ${step.what} of ${step.sequence} at ${step.replica}`;
      const { replica, at } = interruption ?? {};
      if (step.replica === replica && open?.replica !== replica) {
        const isOld = step.at <= (at ?? 0) && step.sequence < ended;
        if (isOld || open !== undefined || step.what === 'end') continue;
      }
      if (step.what === 'end') {
        expect(open, where).toMatchObject({ sequence: step.sequence, replica: step.replica });
        ended = step.sequence;
        open = undefined;
        continue;
      }
      if (open !== undefined) {
        expect(open.replica, `${where} beside ${open.sequence} at ${open.replica}`).toBe(replica);
        expect(step.sequence, where).toBe(open.sequence);
      } else if (interruption === undefined) expect(step.sequence, where).toBeGreaterThan(ended);
      // It ended, and the process died before its ack.
      else expect(step.sequence, where).toBeGreaterThanOrEqual(ended);
      open = step;
    }
    expect(open, key).toBeUndefined();
  }
}

const heldBy = (...of: readonly { readonly held: readonly number[] }[]): readonly number[] =>
  of.flatMap(({ held }) => held).toSorted((a, b) => a - b);
const ALL = [0, 1, 2, 3];

test('two replicas share the partitions; one that joins takes some over, one that stops hands over, and order per key is kept', async () => {
  const first = replicas.start('first');
  await expect.poll(() => first.held, { timeout: 60_000 }).toEqual(ALL);
  const sending = send(150);
  await expect.poll(async () => (await stepsByKey()).size, { timeout: 60_000 }).toBe(KEYS);
  const second = replicas.start('second');
  await expect.poll(() => [first.held.length, second.held.length], { timeout: 60_000 }).toEqual([2, 2]);
  expect(heldBy(first, second)).toEqual(ALL);
  await expect
    .poll(() => second.said.filter(({ type }) => type === 'partition.taken').length, { timeout: 60_000 })
    .toBeGreaterThan(0);
  await first.stop();
  expect(first.said.at(-1)).toMatchObject({ type: 'drained', report: { abandoned: 0 } });
  await expect.poll(() => second.held, { timeout: 60_000 }).toEqual(ALL);
  await sending;
  await expect.poll(left, { timeout: 60_000 }).toBe(0);
  await expectOrder();
});

test('a replica that is killed loses its partitions after the time of a pin, and what it held is handled in order', async () => {
  const [first, second, third] = ['first', 'second', 'third'].map((name) => replicas.start(name, { workMs: 20 }));
  if (first === undefined || second === undefined || third === undefined) throw new Error('three were started');
  await expect.poll(() => heldBy(first, second, third), { timeout: 60_000 }).toEqual(ALL);
  const sending = send(60);
  await expect.poll(async () => (await stepsByKey()).size, { timeout: 60_000 }).toBe(KEYS);
  await second.kill();
  const killedAt = Date.now();
  await expect.poll(() => heldBy(first, third), { timeout: 60_000 }).toEqual(ALL);
  await sending;
  await expect.poll(left, { timeout: 60_000 }).toBe(0);
  await expectOrder({ replica: 'second', at: killedAt });
  const acked = [first, third].flatMap(({ said }) =>
    said.filter(({ as }) => as === 'ack').map(({ sequence }) => sequence),
  );
  expect(new Set(acked).size).toBe(acked.length);
});

test('a replica that was frozen settles nothing of the partitions it lost meanwhile', async () => {
  const first = replicas.start('first', { workMs: 50 });
  await expect.poll(() => first.held, { timeout: 60_000 }).toEqual(ALL);
  const sending = send(20);
  await expect.poll(async () => (await stepsByKey()).size, { timeout: 60_000 }).toBe(KEYS);
  first.freeze();
  const frozenAt = Date.now();
  const second = replicas.start('second');
  await expect
    .poll(() => second.said.filter(({ type }) => type === 'partition.taken').length, { timeout: 60_000 })
    .toBe(4);
  await sending;
  await expect.poll(left, { timeout: 60_000 }).toBe(0);
  const before = first.said.length;
  first.thaw();
  await expect
    .poll(() => first.said.filter(({ type }) => type === 'partition.lost').length, { timeout: 60_000 })
    .toBe(4);
  await expect.poll(() => [first.held.length, second.held.length], { timeout: 60_000 }).toEqual([2, 2]);
  const settled = first.said.slice(before).filter(({ type }) => type === 'message.settled');
  expect(settled.length).toBeGreaterThan(0);
  expect(settled.map(({ as }) => as)).toEqual(settled.map(() => 'released'));
  await expectOrder({ replica: 'first', at: frozenAt });
  // It takes part again.
  await send(3);
  await expect.poll(left, { timeout: 60_000 }).toBe(0);
});
