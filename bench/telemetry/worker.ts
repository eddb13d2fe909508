// One measurement in a process of its own: `node worker.ts '{"mode":...}'` prints one line of JSON.
import { connect } from '@nats-io/transport-node';
import { definePipeline } from '@sluice/pipeline';
import { natsPort } from '@sluice/pipeline/nats';
import { nodeMetrics, pipelineTelemetry, startTelemetry, withSpan } from '@sluice/telemetry';

export interface TelemetryOrder {
  /** `off`: nothing is started. `on`: as a service wires it. */
  readonly mode: 'off' | 'on';
  readonly natsUrl: string;
  readonly otlpUrl: string;
  readonly stream: string;
  readonly consumer: string;
  readonly warmup: number;
  readonly count: number;
}

export interface TelemetryReport {
  readonly perSecond: number;
  /** CPU time of the whole process per message, exporting included. */
  readonly cpuUs: number;
  readonly residentMiB: number;
}

const order = JSON.parse(process.argv[2] ?? '{}') as TelemetryOrder;
const connection = await connect({ servers: order.natsUrl, noAsyncTraces: true });
const finished = Promise.withResolvers<TelemetryReport>();
let handled = 0;
let startedAt = 0;
let cpu = process.cpuUsage();

function tick(): void {
  handled += 1;
  if (handled === order.warmup) {
    startedAt = performance.now();
    cpu = process.cpuUsage();
  } else if (handled === order.warmup + order.count) {
    const seconds = (performance.now() - startedAt) / 1000;
    const { user, system } = process.cpuUsage(cpu);
    finished.resolve({
      perSecond: order.count / seconds,
      cpuUs: (user + system) / order.count,
      residentMiB: process.memoryUsage().rss / 2 ** 20,
    });
  }
}

function telemetry() {
  if (order.mode === 'off') return undefined;
  const { registry } = startTelemetry({
    service: 'bench',
    otlpEndpoint: order.otlpUrl,
    logTo: { write: (line) => process.stderr.write(line) },
  });
  nodeMetrics(registry);
  return pipelineTelemetry({ registry, templateOf: (subject) => subject });
}

const traced = telemetry();
const running = await definePipeline<Uint8Array>({
  name: 'bench',
  sources: [{ stream: order.stream, consumer: order.consumer }],
  decode: (bytes) => bytes,
  flow: { concurrency: 64 },
  // The same code in every mode: without a tracer a span costs next to nothing.
  handle: () => withSpan('work', {}, tick),
}).start({
  nats: natsPort(connection),
  deps: undefined,
  ...(traced === undefined ? {} : { observe: traced.observe, instrument: traced.instrument, inject: traced.inject }),
});
traced?.watch('bench', running);
console.log(JSON.stringify(await finished.promise));
process.exit(0);
