// The engine against raw loops, nats.js's own client and other job systems: `pnpm bench pipeline [--quick] [--only PART]`,
// PART being `throughput`, `peers`, `latency`, `sharing` or `failover`. SOAK=1 adds a million messages.
import { jetstreamManager } from '@nats-io/jetstream';
import { connect } from '@nats-io/transport-node';
import { startNats } from '@sluice/dev';
import { natsPort } from '@sluice/pipeline/nats';
import { failover } from './pipeline/failover.ts';
import { latency } from './pipeline/latency.ts';
import { payload } from './pipeline/payload.ts';
import { peers } from './pipeline/peers.ts';
import { sharing } from './pipeline/sharing.ts';
import { soak } from './pipeline/soak.ts';
import { throughput } from './pipeline/throughput.ts';
import type { BenchResult, Row } from './run.ts';

export async function run({ quick, only }: { quick: boolean; only?: string }): Promise<BenchResult> {
  const wanted = (part: string): boolean => only === undefined || only === part;
  const server = await startNats();
  const connection = await connect({ servers: server.url, noAsyncTraces: true });
  const port = natsPort(connection);
  const jsm = await jetstreamManager(connection);
  try {
    await jsm.streams.add({ name: 'DLQ', subjects: ['dlq.>'] });
    const place = { jsm, port, url: server.url, pid: server.pid };
    const peer = wanted('peers')
      ? await peers(place, { rounds: quick ? 1 : 3, count: quick ? 5000 : 20_000 })
      : { rows: [], notes: [] };
    const rows: readonly Row[] = [
      ...(wanted('throughput')
        ? await throughput(place, { rounds: quick ? 3 : 7, count: quick ? 30_000 : 80_000 })
        : []),
      ...peer.rows,
      ...(wanted('latency') ? await latency(place, { rounds: quick ? 1 : 5, count: quick ? 300 : 800 }) : []),
      ...(wanted('sharing') ? await sharing(place) : []),
      ...(quick || !wanted('failover') ? [] : await failover(3)),
      ...(process.env['SOAK'] === '1' ? await soak(place) : []),
    ];
    return {
      rows,
      notes: [
        `nats-server ${server.version ?? server.from}, file storage; nats.js 3.4.0; job events of ${payload().length} bytes as protobuf, decoded by every loop`,
        ...peer.notes,
        ...(quick ? ['fail-over skipped by --quick'] : []),
        ...(process.env['SOAK'] === '1' ? [] : ['memory over a million messages: SOAK=1']),
      ],
    };
  } finally {
    port.close();
    await connection.close();
    await server.stop();
  }
}
