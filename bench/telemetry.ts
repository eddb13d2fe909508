// What telemetry costs: the engine with it off, with metrics alone, a tenth of traces, all of them; and requests of a
// service that makes 20,000 spans a second. `pnpm bench telemetry [--quick] [--only engine|requests]`.
import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { jetstreamManager } from '@nats-io/jetstream';
import { connect } from '@nats-io/transport-node';
import { startNats } from '@sluice/dev';
import { natsPort } from '@sluice/pipeline/nats';
import { requireWrk } from './http/wrk.ts';
import { median } from './pipeline/meter.ts';
import type { BenchOptions, BenchResult, Row } from './run.ts';
import { requests } from './telemetry/requests.ts';
import { startChild } from './telemetry/child.ts';
import type { TelemetryOrder, TelemetryReport } from './telemetry/worker.ts';

const runFile = promisify(execFile);
const worker = fileURLToPath(new URL('telemetry/worker.ts', import.meta.url));

/** The share of messages whose publisher's trace is sampled; consumers follow their publisher. */
const modes = [
  { id: 'off', mode: 'off', share: 0 },
  { id: 'metrics, no trace sampled', mode: 'on', share: 0 },
  { id: 'metrics, 10 % of traces', mode: 'on', share: 0.1 },
  { id: 'metrics, every trace', mode: 'on', share: 1 },
] as const;

/** A message with metrics and no trace may cost this much more than without, and a sampled span this much in all. */
const LIMITS_US = { metrics: 3, span: 15 } as const;
/** Of a sampled message: the engine's, and the one that the handler opens. */
const SPANS_A_MESSAGE = 2;

export async function run({ quick, only }: BenchOptions): Promise<BenchResult> {
  if (only !== undefined && only !== 'engine' && only !== 'requests') throw new RangeError('--only engine or requests');
  if (only !== 'engine') requireWrk();
  return {
    rows: [...(only === 'requests' ? [] : await engine(quick)), ...(only === 'engine' ? [] : await requests(quick))],
    notes: [
      'engine: one process, handlers that do nothing but open one span: the worst case, as real handlers take milliseconds',
      'ratio: to telemetry off',
      `requests: ten spans each, from one process with 100 connections of wrk`,
    ],
  };
}

async function engine(quick: boolean): Promise<Row[]> {
  const rounds = quick ? 3 : 5;
  const count = quick ? 30_000 : 80_000;
  const warmup = 20_000;
  const server = await startNats();
  const collector = await startChild('sink.ts');
  const connection = await connect({ servers: server.url, noAsyncTraces: true });
  const jsm = await jetstreamManager(connection);
  const port = natsPort(connection);
  const body = new Uint8Array(256);
  for (const share of new Set(modes.map((each) => each.share))) {
    const name = streamOf(share);
    await jsm.streams.add({ name, subjects: [`${name.toLowerCase()}.>`] });
    for (let sent = 0; sent < warmup + count + 2000; sent += 500) {
      const batch = Array.from({ length: 500 }, (_, at) => {
        const sampled = (sent + at) % 100 < share * 100 ? '01' : '00';
        const traceparent = `00-${randomBytes(16).toString('hex')}-${randomBytes(8).toString('hex')}-${sampled}`;
        return port.publish(`${name.toLowerCase()}.a`, body, { headers: { traceparent } });
      });
      await Promise.all(batch);
    }
  }
  await jsm.streams.add({ name: 'DLQ', subjects: ['dlq.>'] });
  let consumers = 0;
  const measure = async ({ mode, share }: (typeof modes)[number]): Promise<TelemetryReport> => {
    const consumer = `c${(consumers += 1)}`;
    const stream = streamOf(share);
    await jsm.consumers.add(stream, { durable_name: consumer, ack_policy: 'explicit', max_ack_pending: 10_000 });
    const order: TelemetryOrder = {
      mode,
      natsUrl: server.url,
      otlpUrl: collector.url,
      stream,
      consumer,
      warmup,
      count,
    };
    const { stdout } = await runFile(process.execPath, [worker, JSON.stringify(order)], { timeout: 120_000 });
    await jsm.consumers.delete(stream, consumer);
    return JSON.parse(stdout) as TelemetryReport;
  };
  const reports = modes.map((): TelemetryReport[] => []);
  // Interleaved: a machine that slows down slows every mode down alike.
  for (let round = 0; round < rounds; round += 1) {
    for (const [at, mode] of modes.entries()) reports[at]?.push(await measure(mode));
  }
  await connection.close();
  await server.stop();
  collector.stop();

  const of = (at: number, read: (report: TelemetryReport) => number): number => median((reports[at] ?? []).map(read));
  const rows = modes.flatMap(({ id }, at): Row[] => [
    row(
      `${id}: throughput`,
      of(at, (r) => r.perSecond),
      'msg/s',
      of(0, (r) => r.perSecond),
    ),
    row(
      `${id}: CPU a message`,
      of(at, (r) => r.cpuUs),
      'us',
      of(0, (r) => r.cpuUs),
    ),
    row(
      `${id}: resident memory`,
      of(at, (r) => r.residentMiB),
      'MiB',
      of(0, (r) => r.residentMiB),
    ),
  ]);
  const cpu = (at: number): number => of(at, ({ cpuUs }) => cpuUs);
  const metricsUs = cpu(1) - cpu(0);
  const spanUs = (cpu(3) - cpu(1)) / SPANS_A_MESSAGE;
  return [
    ...rows,
    limited('metrics of a message, no trace sampled', metricsUs, LIMITS_US.metrics),
    limited('a sampled span from its start until it is sent', spanUs, LIMITS_US.span),
  ];
}

const limited = (id: string, value: number, limit: number): Row => ({
  id,
  value,
  unit: `us of CPU, at most ${limit}`,
  pass: value <= limit,
});

const streamOf = (share: number): string => `BENCH_${share * 100}`;

function row(id: string, value: number, unit: string, base: number): Row {
  return { id, value, unit, ratio: value / base, pass: Number.isFinite(value) };
}
