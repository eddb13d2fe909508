// What the gateway's gRPC server carries, as a ratio to the same server with nothing behind it, measured interleaved
// in one run: pnpm bench grpc [--quick].
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { create, toBinary } from '@bufbuild/protobuf';
import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import { RecordEventsRequestSchema } from '@sluice/contracts';
import { startStack } from '@sluice/dev';
import { callLoop, type CallLoad } from './grpc/load.ts';
import type { BenchResult, Row } from './run.ts';

/** What the system that this one follows published for its gRPC ingest, on a machine of its own. */
const PUBLISHED_PER_SECOND = 3_538;
const BULK = 100;
const FLOOR = 0.4;
/** As `ghz --connections 10 --concurrency 100`. */
const shape = { connections: 10, streams: 10, path: '/sluice.v1.EventService/RecordEvents' };

let count = 0;
const request = (size: number): Uint8Array =>
  toBinary(
    RecordEventsRequestSchema,
    create(RecordEventsRequestSchema, {
      events: Array.from({ length: size }, () => ({
        appId: 'bench',
        messageId: `g${(count += 1)}`,
        event: 'published',
        createdAt: timestampFromMs(Date.UTC(2026, 0, 1)),
      })),
    }),
  );

/** Measures, and says of each figure whether it holds. */
export async function run({ quick = false } = {}): Promise<BenchResult> {
  const dataDirectory = mkdtempSync(join(tmpdir(), 'sluice-bench-grpc-'));
  const bare = fork(join(import.meta.dirname, 'grpc/bare.ts'), { stdio: 'inherit' });
  const [{ url: bareUrl }] = (await once(bare, 'message')) as [{ url: string }];
  const stack = await startStack({
    dataDirectory,
    fresh: true,
    services: ['gateway'],
    env: { '*': { LOG_LEVEL: 'error', TRACE_SAMPLE_RATIO: '0' } },
  });
  const gateway = `http://${stack.urls.grpc}`;
  const seconds = quick ? 2 : 5;
  const single: CallLoad = { ...shape, seconds, message: () => request(1) };
  const bulk: CallLoad = { ...single, message: () => request(BULK) };
  try {
    for (const url of [bareUrl, gateway]) await callLoop(url, { ...single, seconds: 2 });
    const rounds: { bare: number; ingest: number; bulk: number; p99Ms: number }[] = [];
    let refused = 0;
    for (let round = 0; round < (quick ? 2 : 3); round += 1) {
      const bareRun = await callLoop(bareUrl, single);
      const ingest = await callLoop(gateway, single);
      const bulkRun = await callLoop(gateway, bulk);
      for (const { statuses } of [ingest, bulkRun])
        for (const [status, seen] of Object.entries(statuses)) if (status !== '0') refused += seen;
      rounds.push({
        bare: bareRun.perSecond,
        ingest: ingest.perSecond,
        bulk: bulkRun.perSecond * BULK,
        p99Ms: ingest.p99Ms,
      });
    }
    const of = (pick: (round: (typeof rounds)[number]) => number): number => median(rounds.map(pick));
    const ingest = Math.round(of((round) => round.ingest));
    const ratio = of((round) => round.ingest / round.bare);
    const rows: Row[] = [
      { id: 'grpc.ingest_bare', value: Math.round(of((round) => round.bare)), unit: 'calls/s', pass: true },
      { id: 'grpc.ingest', value: ingest, unit: 'calls/s', ratio, floor: FLOOR, pass: ratio >= FLOOR },
      {
        id: 'grpc.ingest_published',
        value: ingest,
        unit: `calls/s, published ${PUBLISHED_PER_SECOND.toLocaleString('en')}`,
        pass: ingest >= PUBLISHED_PER_SECOND,
      },
      { id: 'grpc.ingest_p99', value: of((round) => round.p99Ms), unit: 'ms', pass: true },
      {
        id: 'grpc.ingest_bulk',
        value: Math.round(of((round) => round.bulk)),
        unit: `events/s, ${BULK} a call`,
        pass: true,
      },
      { id: 'grpc.refused', value: refused, unit: 'calls', pass: refused === 0 },
    ];
    return { rows, notes };
  } finally {
    await stack.stop();
    bare.disconnect();
    rmSync(dataDirectory, { recursive: true, force: true });
  }
}

const notes = [
  `${shape.connections} connections with ${shape.streams} calls at once on each; an answer means the event is stored.`,
  'bare: the same server and checks with nothing behind them; its own process, interleaved.',
  'Server, broker and load share the cores of one machine: absolute rates are those of all of them together.',
];

function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)] ?? 0;
}
