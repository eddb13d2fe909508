// 20,000 spans a second from one process: what is lost, and what its requests notice of it.
import { wrk, type WrkResult } from '../http/wrk.ts';
import { median } from '../pipeline/meter.ts';
import type { Row } from '../run.ts';
import { startChild } from './child.ts';
import type { RequestServerOrder, SpanReport } from './request-server.ts';

const SPANS_PER_SECOND = 20_000;
const SPANS_A_REQUEST = 10;
const P99_RATIO = 1.3;
/** With the pause of each connection somewhat more than 2,000 requests a second, of ten spans each. */
const PACED = { connections: 100, pauseMs: 44 } as const;

/** The same server with tracing and without, in turns. */
export async function requests(quick: boolean): Promise<Row[]> {
  const rounds = quick ? 3 : 5;
  const seconds = quick ? 4 : 10;
  const sink = await startChild('sink.ts');
  const traced: WrkResult[] = [];
  const bare: WrkResult[] = [];
  const counts = { offered: 0, exported: 0, dropped: 0 };
  const measure = async (order: RequestServerOrder): Promise<WrkResult> => {
    const server = await startChild('request-server.ts', order);
    const load = { url: `${server.url}/v1/work`, pauseMs: PACED.pauseMs };
    const options = { connections: PACED.connections, watch: { server: server.pid } };
    await wrk(load, { ...options, seconds: 2 });
    const result = await wrk(load, { ...options, seconds });
    const report = await server.ask<SpanReport>();
    counts.offered += report.offered;
    counts.exported += report.exported;
    counts.dropped += report.dropped;
    server.stop();
    return result;
  };
  for (let round = 0; round < rounds; round += 1) {
    bare.push(await measure({}));
    traced.push(await measure({ otlpUrl: sink.url }));
  }
  const { spans: received } = await sink.ask<{ spans: number }>();
  sink.stop();
  const of = (results: readonly WrkResult[], read: (result: WrkResult) => number): number => median(results.map(read));
  const perSecond = of(traced, (result) => result.perSecond) * SPANS_A_REQUEST;
  const p99 = of(traced, ({ p99Ms }) => p99Ms);
  const ratio = p99 / of(bare, ({ p99Ms }) => p99Ms);
  const cpuUs = of(traced, (each) => each.cpuUs['server'] ?? 0) - of(bare, (each) => each.cpuUs['server'] ?? 0);
  const lost = counts.offered - received;
  return [
    {
      id: 'requests: spans of one process',
      value: perSecond,
      unit: '/s',
      floor: SPANS_PER_SECOND,
      pass: perSecond >= SPANS_PER_SECOND,
    },
    { id: '  ended', value: counts.offered, unit: 'spans', pass: counts.offered > 0 },
    { id: '  not received by the collector', value: lost, unit: 'spans', pass: lost === 0 },
    { id: '  dropped', value: counts.dropped, unit: 'spans', pass: counts.dropped === 0 },
    { id: '  p99 without tracing', value: of(bare, ({ p99Ms }) => p99Ms), unit: 'ms', pass: true },
    { id: '  p99 with tracing (at most)', value: p99, unit: 'ms', ratio, floor: P99_RATIO, pass: ratio <= P99_RATIO },
    { id: '  CPU of a span in a request', value: cpuUs / SPANS_A_REQUEST, unit: 'us', pass: true },
  ];
}
