// One measurement in a process of its own: `node worker.ts '{"kind":...}'` prints one line of JSON.
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { jetstream } from '@nats-io/jetstream';
import { connect } from '@nats-io/transport-node';
import { definePipeline, kvAttemptStore, natsLimits, type LimitsOptions } from '@sluice/pipeline';
import type { JobEvent } from '@sluice/contracts';
import { natsPort } from '@sluice/pipeline/nats';
import { startMeter, type Reading } from './meter.ts';
import { decodePayload, payload } from './payload.ts';
import { rawPull } from './raw-pull.ts';

export interface WorkerOrder {
  readonly kind: 'raw' | 'pipeline' | 'limits' | 'telemetry' | 'publish-client' | 'publish-own';
  readonly url: string;
  readonly stream: string;
  readonly consumer: string;
  /** Where spans go. */
  readonly otlpUrl: string;
  /** Messages in hand at once: slots of the engine, the window of a loop, publishes in flight. */
  readonly window: number;
  readonly warmup: number;
  readonly count: number;
}

export interface WorkerReport extends Reading {
  /** 99th percentile of the event loop's delay during the measurement. */
  readonly loopDelayP99Ms: number;
}

const order = JSON.parse(process.argv[2] ?? '{}') as WorkerOrder;
const { kind, window, warmup, count } = order;
const connection = await connect({
  servers: order.url,
  // The client as it comes is what its own publish is measured with.
  ...(kind === 'publish-client' ? {} : { noAsyncTraces: true }),
});
const delay = monitorEventLoopDelay({ resolution: 5 });
const finished = Promise.withResolvers<Reading>();
let handled = 0;
let countedFrom = 0;
let read: ((count: number) => Reading) | undefined;

/** Counts what is done; the first ones warm up. */
function tick(done: number): void {
  handled += done;
  if (read === undefined && handled >= warmup) {
    read = startMeter();
    countedFrom = handled;
    delay.enable();
  } else if (read !== undefined && handled >= warmup + count) finished.resolve(read(handled - countedFrom));
}

async function publishAll(publish: (body: Uint8Array) => Promise<unknown>): Promise<void> {
  const body = payload();
  const lane = async (): Promise<void> => {
    while (handled < warmup + count) {
      await publish(body);
      tick(1);
    }
  };
  await Promise.all(Array.from({ length: window }, lane));
}

const port = natsPort(connection);
if (kind === 'raw') {
  rawPull(connection, {
    stream: order.stream,
    consumer: order.consumer,
    window,
    onMessage: async (message) => {
      decodePayload(message.data);
    },
    onAcked: tick,
  });
} else if (kind === 'publish-client') {
  const js = jetstream(connection);
  await publishAll((body) => js.publish('bench.published', body));
} else if (kind === 'publish-own') {
  await publishAll((body) => port.publish('bench.published', body));
} else {
  const telemetry = kind === 'telemetry' ? (await import('./telemetry.ts')).benchTelemetry(order.otlpUrl) : {};
  // Ten keys, and limits that are never reached: what it costs to count.
  const limits: LimitsOptions<JobEvent> = {
    // What a measurement before this one held is not waited for.
    name: order.consumer,
    key: ({ sequence }) => String(sequence % 10),
    perKey: { perSecond: 1_000_000, concurrency: 1000 },
    all: { perSecond: 1_000_000 },
    shared: natsLimits(port, { bucket: 'limits' }),
  };
  await definePipeline({
    name: 'bench',
    sources: [{ stream: order.stream, consumer: order.consumer }],
    decode: decodePayload,
    flow: { concurrency: window },
    ...(kind === 'limits' ? { limits, attempts: { store: kvAttemptStore(port, { bucket: 'attempts' }) } } : {}),
    handle: async () => tick(1),
  }).start({ nats: port, deps: undefined, ...telemetry });
}
const report: WorkerReport = { ...(await finished.promise), loopDelayP99Ms: delay.percentile(99) / 1e6 };
console.log(JSON.stringify(report));
process.exit(0);
