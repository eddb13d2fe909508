// Rate and CPU of the engine, of the best raw loop, with telemetry, and of publishing; in alternation, medians.
import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import type { JetStreamManager } from '@nats-io/jetstream';
import type { NatsPort } from '@sluice/pipeline';
import { besideNoop } from '../frame/noop.ts';
import { treeMsOf } from '../processes.ts';
import type { Row } from '../run.ts';
import { median } from './meter.ts';
import { payload } from './payload.ts';
import { startChild } from '../telemetry/child.ts';
import type { WorkerOrder, WorkerReport } from './worker.ts';

const runFile = promisify(execFile);

/** Runs a measurement in a process of its own. */
export async function inProcess<R>(file: string, order: object): Promise<R> {
  const path = fileURLToPath(new URL(file, import.meta.url));
  const { stdout } = await runFile(process.execPath, [path, JSON.stringify(order)], { timeout: 300_000 });
  return JSON.parse(stdout.trim().split('\n').at(-1) ?? '') as R;
}

/** One message in ten belongs to a trace that is recorded. */
const traceparentOf = (index: number): string =>
  `00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0${index % 10 === 0 ? 1 : 0}`;
const WARMUP = 20_000;
const SLOTS = 64;
/** One minute, in nanoseconds. */
const BUCKET_TTL = 60_000_000_000;
const variants = [
  { name: 'raw, window 64', kind: 'raw', window: 64 },
  { name: 'raw, window 256', kind: 'raw', window: 256 },
  { name: 'engine', kind: 'pipeline', window: SLOTS },
  { name: 'engine with limits', kind: 'limits', window: SLOTS },
  { name: 'engine with telemetry', kind: 'telemetry', window: SLOTS },
  { name: 'js.publish', kind: 'publish-client', window: SLOTS },
  { name: 'own publisher', kind: 'publish-own', window: SLOTS },
] as const;
type Name = (typeof variants)[number]['name'];

export async function throughput(
  { jsm, port, url, pid }: { jsm: JetStreamManager; port: NatsPort; url: string; pid: number },
  options: { readonly rounds: number; readonly count: number },
): Promise<readonly Row[]> {
  await jsm.streams.add({ name: 'BENCH', subjects: ['bench.a'] });
  await jsm.streams.add({ name: 'PUBLISHED', subjects: ['bench.published'], max_msgs: 10_000 });
  await jsm.streams.add({
    name: 'KV_limits',
    subjects: ['$KV.limits.>'],
    max_msgs_per_subject: 1,
    max_age: BUCKET_TTL,
  });
  const body = payload();
  for (let sent = 0; sent < WARMUP + options.count + 5000; sent += 500) {
    await Promise.all(
      Array.from({ length: 500 }, (_, index) =>
        port.publish('bench.a', body, { headers: { traceparent: traceparentOf(index) } }),
      ),
    );
  }
  const collector = await startChild('sink.ts');
  const reports = new Map<Name, (WorkerReport & { readonly brokerUs: number })[]>(
    variants.map(({ name }) => [name, []]),
  );
  for (let round = 0; round < options.rounds; round++) {
    for (const [index, { name, kind, window }] of variants.entries()) {
      const consumer = `r${round}v${index}`;
      await jsm.consumers.add('BENCH', {
        durable_name: consumer,
        ack_policy: 'explicit',
        max_ack_pending: 10_000,
        max_deliver: -1,
      });
      const order: WorkerOrder = {
        kind,
        url,
        stream: 'BENCH',
        consumer,
        otlpUrl: collector.url,
        window,
        warmup: WARMUP,
        count: options.count,
      };
      const beforeMs = treeMsOf(pid);
      const report = await inProcess<WorkerReport>('worker.ts', order);
      const brokerUs = ((treeMsOf(pid) - beforeMs) * 1e3) / (WARMUP + options.count);
      reports.get(name)?.push({ ...report, brokerUs });
      await jsm.consumers.delete('BENCH', consumer);
    }
  }
  collector.stop();
  const figure = (name: Name, of: (report: WorkerReport & { readonly brokerUs: number }) => number): number =>
    median((reports.get(name) ?? []).map(of));
  const rate = (name: Name): number => figure(name, (report) => report.perSecond);
  const cpu = (name: Name): number => figure(name, (report) => report.cpuUs);
  const broker = (name: Name): number => figure(name, (report) => report.brokerUs);
  const delay = (name: Name): number => figure(name, (report) => report.loopDelayP99Ms);
  const best: Name = rate('raw, window 64') > rate('raw, window 256') ? 'raw, window 64' : 'raw, window 256';
  const plain = (id: string, value: number, unit: string): Row => ({ id, value, unit, pass: true });
  const rated = (id: string, value: number, unit: string, ratio: number, floor: number): Row => ({
    id,
    value,
    unit,
    ratio,
    floor,
    pass: ratio >= floor,
  });
  return [
    plain(`raw pull loop (${best})`, rate(best), 'msg/s'),
    plain('  its CPU', cpu(best), 'us/msg'),
    plain('  CPU of the broker, raw loop', broker(best), 'us/msg'),
    besideNoop({
      id: 'engine, 64 slots',
      value: rate('engine'),
      unit: 'msg/s',
      ratio: rate('engine') / rate(best),
      floor: 0.75,
    }),
    plain('  CPU of the broker', broker('engine'), 'us/msg'),
    rated('  its CPU (ratio: raw to engine)', cpu('engine'), 'us/msg', cpu(best) / cpu('engine'), 1 / 1.25),
    rated('  its event-loop delay p99 (raw to engine)', delay('engine'), 'ms', delay(best) / delay('engine'), 0.5),
    rated(
      'engine, shared limits of ten keys and in all (of engine)',
      rate('engine with limits'),
      'msg/s',
      rate('engine with limits') / rate('engine'),
      0.75,
    ),
    plain('  its CPU', cpu('engine with limits'), 'us/msg'),
    rated(
      'engine, metrics and 10 % of traces',
      rate('engine with telemetry'),
      'msg/s',
      rate('engine with telemetry') / rate(best),
      0.55,
    ),
    plain('  its CPU', cpu('engine with telemetry'), 'us/msg'),
    plain('js.publish of nats.js as it comes, 64 in flight', rate('js.publish'), 'msg/s'),
    plain('  its CPU, js.publish', cpu('js.publish'), 'us/msg'),
    rated(
      'publisher of the port, 64 in flight',
      rate('own publisher'),
      'msg/s',
      rate('own publisher') / rate('js.publish'),
      2,
    ),
    plain('  its CPU, publisher of the port', cpu('own publisher'), 'us/msg'),
    plain('  CPU of the broker, publisher of the port', broker('own publisher'), 'us/msg'),
  ];
}
