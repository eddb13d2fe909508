// Publish to handler at 200 messages a second.
import type { JetStreamManager } from '@nats-io/jetstream';
import type { Row } from '../run.ts';
import type { LatencyOrder, LatencyReport } from './latency-worker.ts';
import { median } from './meter.ts';
import { inProcess } from './throughput.ts';

export async function latency(
  { jsm, url }: { jsm: JetStreamManager; url: string },
  options: { readonly rounds: number; readonly count: number },
): Promise<readonly Row[]> {
  const reports = { raw: [] as LatencyReport[], pipeline: [] as LatencyReport[] };
  for (let round = 0; round < options.rounds; round++) {
    for (const kind of ['raw', 'pipeline'] as const) {
      await jsm.streams.add({ name: 'LATENCY', subjects: ['bench.latency'] });
      await jsm.consumers.add('LATENCY', { durable_name: kind, ack_policy: 'explicit', max_deliver: -1 });
      const order: LatencyOrder = {
        kind,
        url,
        stream: 'LATENCY',
        consumer: kind,
        count: options.count,
        perSecond: 200,
      };
      reports[kind].push(await inProcess<LatencyReport>('latency-worker.ts', order));
      await jsm.streams.delete('LATENCY');
    }
  }
  const p50 = (kind: 'raw' | 'pipeline'): number => median(reports[kind].map((report) => report.p50Ms));
  const p99 = (kind: 'raw' | 'pipeline'): number => median(reports[kind].map((report) => report.p99Ms));
  const ratio = p50('raw') / p50('pipeline');
  return [
    { id: 'publish to handler, raw loop, p50', value: p50('raw'), unit: 'ms', pass: true },
    {
      id: 'publish to handler, engine, p50 (raw to engine)',
      value: p50('pipeline'),
      unit: 'ms',
      ratio,
      floor: 1 / 1.2,
      pass: ratio >= 1 / 1.2,
    },
    { id: '  raw loop, p99', value: p99('raw'), unit: 'ms', pass: true },
    { id: '  engine, p99', value: p99('pipeline'), unit: 'ms', pass: true },
  ];
}
