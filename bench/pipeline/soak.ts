// A million messages through one pipeline: does memory stay where it was? Behind SOAK=1, it takes minutes.
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import type { JetStreamManager } from '@nats-io/jetstream';
import { definePipeline, type NatsPort } from '@sluice/pipeline';
import type { Row } from '../run.ts';
import { decodePayload, payload } from './payload.ts';

const TOTAL = 1_000_000;
const GROWTH_MAX_MB = 10;

setFlagsFromString('--expose-gc');
const collect = runInNewContext('gc') as () => void;

export async function soak({ jsm, port }: { jsm: JetStreamManager; port: NatsPort }): Promise<readonly Row[]> {
  await jsm.streams.add({
    name: 'SOAK',
    subjects: ['bench.soak'],
    retention: 'workqueue',
    max_msgs: 20_000,
    discard: 'new',
  });
  await jsm.consumers.add('SOAK', { durable_name: 'soak', ack_policy: 'explicit', max_deliver: -1 });
  const body = payload();
  const marks: number[] = [];
  let handled = 0;
  const finished = Promise.withResolvers<void>();
  const running = await definePipeline({
    name: 'soak',
    sources: [{ stream: 'SOAK', consumer: 'soak' }],
    decode: decodePayload,
    flow: { concurrency: 64 },
    handle: async () => {
      handled++;
      if (handled % (TOTAL / 10) === 0) {
        collect();
        marks.push(process.memoryUsage().heapUsed / 2 ** 20);
      }
      if (handled === TOTAL) finished.resolve();
    },
  }).start({ nats: port, deps: undefined });
  let sent = 0;
  const backlog = (): number => sent - handled;
  for (; sent < TOTAL; sent += 500) {
    while (backlog() > 15_000) await new Promise((resolve) => setTimeout(resolve, 5));
    await Promise.all(Array.from({ length: 500 }, () => port.publish('bench.soak', body)));
  }
  await finished.promise;
  await running.drain();
  const growth = (marks.at(-1) ?? 0) - (marks[1] ?? 0);
  return [
    { id: 'heap growth from 200,000 to 1,000,000 messages', value: growth, unit: 'MB', pass: growth <= GROWTH_MAX_MB },
  ];
}
