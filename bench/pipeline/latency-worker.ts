// Publish to handler, in one process on one connection each way: `node latency-worker.ts '{"kind":...}'`.
import { connect } from '@nats-io/transport-node';
import { definePipeline } from '@sluice/pipeline';
import { natsPort } from '@sluice/pipeline/nats';
import { quantile } from './meter.ts';
import { rawPull } from './raw-pull.ts';

export interface LatencyOrder {
  readonly kind: 'raw' | 'pipeline';
  readonly url: string;
  readonly stream: string;
  readonly consumer: string;
  readonly count: number;
  readonly perSecond: number;
}
export interface LatencyReport {
  readonly p50Ms: number;
  readonly p99Ms: number;
}

const SLOTS = 16;
const order = JSON.parse(process.argv[2] ?? '{}') as LatencyOrder;
const consuming = await connect({ servers: order.url, noAsyncTraces: true });
const publishing = natsPort(await connect({ servers: order.url, noAsyncTraces: true }));
const latencies: number[] = [];
const finished = Promise.withResolvers<void>();
const arrived = (body: Uint8Array): void => {
  latencies.push(performance.now() - Number(new TextDecoder().decode(body)));
  if (latencies.length === order.count) finished.resolve();
};
if (order.kind === 'raw') {
  rawPull(consuming, {
    stream: order.stream,
    consumer: order.consumer,
    window: SLOTS,
    onMessage: async ({ data }) => arrived(data),
    onAcked: () => undefined,
  });
} else {
  await definePipeline({
    name: 'latency',
    sources: [{ stream: order.stream, consumer: order.consumer }],
    decode: (bytes) => bytes,
    flow: { concurrency: SLOTS },
    handle: async ({ data }) => arrived(data),
  }).start({ nats: natsPort(consuming), deps: undefined });
}
for (let sent = 0; sent < order.count; sent++) {
  void publishing.publish('bench.latency', String(performance.now()));
  await new Promise((resolve) => setTimeout(resolve, 1000 / order.perSecond));
}
await finished.promise;
// The first ones pay for compilation.
const warm = latencies.slice(latencies.length / 5);
const report: LatencyReport = { p50Ms: quantile(warm, 0.5), p99Ms: quantile(warm, 0.99) };
console.log(JSON.stringify(report));
process.exit(0);
