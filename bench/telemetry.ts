// What telemetry costs the engine: off, metrics alone, a tenth of traces, all of them. `pnpm bench telemetry [--quick]`.
import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { jetstreamManager } from '@nats-io/jetstream';
import { connect } from '@nats-io/transport-node';
import { startNats } from '@sluice/dev';
import { natsPort } from '@sluice/pipeline/nats';
import type { BenchResult, Row } from './run.ts';
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

export async function run({ quick }: { quick: boolean }): Promise<BenchResult> {
  const rounds = quick ? 3 : 5;
  const count = quick ? 30_000 : 80_000;
  const warmup = 20_000;
  const server = await startNats();
  const collector = await startSink();
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
  collector.close();

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
  return {
    rows,
    notes: [
      'one process, handlers that do nothing but open one span: the worst case, as real handlers take milliseconds',
      'ratio: to telemetry off',
    ],
  };
}

const streamOf = (share: number): string => `BENCH_${share * 100}`;

function row(id: string, value: number, unit: string, base: number): Row {
  return { id, value, unit, ratio: value / base, pass: Number.isFinite(value) };
}

function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[sorted.length >> 1] ?? Number.NaN;
}

/** Takes what a collector takes and throws it away. */
async function startSink(): Promise<{ readonly url: string; close(): void }> {
  const sink: Server = createServer((request, response) => {
    request.resume();
    request.on('end', () => response.writeHead(200, { 'content-type': 'application/json' }).end('{}'));
  });
  sink.listen(0, '127.0.0.1');
  await once(sink, 'listening');
  return {
    url: `http://127.0.0.1:${(sink.address() as AddressInfo).port}`,
    close: () => {
      sink.closeAllConnections();
      sink.close();
    },
  };
}
