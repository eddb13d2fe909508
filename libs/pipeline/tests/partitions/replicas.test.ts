import { headers } from '@nats-io/transport-node';
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
  port = natsPort(source.admin, { headers });
  replicas = replicaStarter(source.server.url);
  await source.jsm.streams.add({ name: 'RUNS', subjects: ['runs.*'] });
  await definePipeline({
    name: 'replica',
    sources: [{ stream: 'W', consumer: 'worker', partitions: PARTITIONS, partitionBy: 'w.*' }],
    decode: decodeJson,
    handle: async () => undefined,
  }).ensure(port, { subjects: ['w.*'], pinTtlMs: 1500 });
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

/** Each message of each key once, one after the other, in the order of the stream. */
async function expectStrictOrder(): Promise<void> {
  const byKey = await stepsByKey();
  expect(byKey.size).toBe(KEYS);
  for (const steps of byKey.values()) {
    for (const [at, { what, sequence, replica }] of steps.entries()) {
      const previous = steps[at - 1];
      if (what === 'end')
        expect({ what: previous?.what, sequence: previous?.sequence, replica }).toEqual({
          what: 'start',
          sequence,
          replica: previous?.replica,
        });
      else if (previous !== undefined) {
        expect(previous.what).toBe('end');
        expect(sequence).toBeGreaterThan(previous.sequence);
      }
    }
  }
}

const heldBy = (...of: readonly { readonly held: readonly number[] }[]): readonly number[] =>
  of.flatMap(({ held }) => held).toSorted((a, b) => a - b);
const ALL = [0, 1, 2, 3];

test(
  'two replicas share the partitions; one that joins takes some over, one that stops hands over, and order per key is kept',
  { timeout: 60_000 },
  async () => {
    const first = replicas.start('first');
    await expect.poll(() => first.held, { timeout: 20_000 }).toEqual(ALL);
    const sending = send(150);
    await expect.poll(async () => (await stepsByKey()).size).toBe(KEYS);
    const second = replicas.start('second');
    await expect.poll(() => [first.held.length, second.held.length], { timeout: 20_000 }).toEqual([2, 2]);
    expect(heldBy(first, second)).toEqual(ALL);
    await expect
      .poll(() => second.said.filter(({ type }) => type === 'partition.taken').length, { timeout: 20_000 })
      .toBeGreaterThan(0);
    await first.stop();
    expect(first.said.at(-1)).toMatchObject({ type: 'drained', report: { abandoned: 0 } });
    await expect.poll(() => second.held, { timeout: 20_000 }).toEqual(ALL);
    await sending;
    await expect.poll(left, { timeout: 20_000 }).toBe(0);
    await expectStrictOrder();
  },
);
