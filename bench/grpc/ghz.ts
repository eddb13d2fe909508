import { execFile, spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { startCpu } from '../frame/cpu-meter.ts';
import type { CallRun, CallShape } from './call-shape.ts';

const run = promisify(execFile);
const PROTOS = join(import.meta.dirname, '../../protos');
const INSTALLED = join(homedir(), 'go/bin/ghz');
/** More than the latencies of all calls as JSON. */
const MAX_OUTPUT_BYTES = 2 ** 28;

/** The program, or undefined where it is not installed: `go install github.com/bojand/ghz/cmd/ghz@latest`. */
export function findGhz(): string | undefined {
  if (spawnSync('ghz', ['--version']).error === undefined) return 'ghz';
  return existsSync(INSTALLED) ? INSTALLED : undefined;
}

interface GhzReport {
  readonly count: number;
  readonly rps: number;
  readonly statusCodeDistribution?: Readonly<Record<string, number>>;
  readonly latencyDistribution?: readonly { readonly percentage: number; readonly latency: number }[] | null;
}

let runs = 0;

/** Unary calls as fast as the server answers, from a compiled program of another project. */
export async function ghzCalls(
  ghz: string,
  url: string,
  { calls, concurrency, connections, events, watch }: CallShape,
): Promise<CallRun> {
  runs += 1;
  const event = (at: number): object => ({
    app_id: 'bench',
    message_id: `r${runs}-{{.RequestNumber}}-${at}`,
    event: 'published',
    created_at: '2026-01-01T00:00:00Z',
  });
  const args: readonly string[] = [
    '--insecure',
    `--proto=${join(PROTOS, 'sluice/v1/events.proto')}`,
    `--import-paths=${PROTOS}`,
    '--call=sluice.v1.EventService/RecordEvents',
    `--data=${JSON.stringify({ events: Array.from({ length: events }, (_, at) => event(at)) })}`,
    `--total=${calls}`,
    `--concurrency=${concurrency}`,
    `--connections=${connections}`,
    '--format=json',
    new URL(url).host,
  ];
  const cpu = startCpu(watch);
  // The shell says afterwards what its children have used, of which nothing can be read once they have ended.
  const { stdout } = await run('sh', ['-c', '"$0" "$@"; times', ghz, ...args], { maxBuffer: MAX_OUTPUT_BYTES });
  const used = cpu(calls);
  const end = stdout.lastIndexOf('}') + 1;
  const report = JSON.parse(stdout.slice(0, end)) as GhzReport;
  const ok = report.statusCodeDistribution?.['OK'] ?? 0;
  const at = (percentage: number): number =>
    (report.latencyDistribution?.find((each) => each.percentage === percentage)?.latency ?? NaN) / 1e6;
  return {
    perSecond: report.rps,
    p50Ms: at(50),
    p99Ms: at(99),
    failed: report.count - ok,
    cpuUs: { ...used, load: (childrenSeconds(stdout.slice(end)) * 1e6) / calls },
  };
}

/** User and system time of the children from the second line of `times`: `0m1.23s 0m0.45s`. */
export function childrenSeconds(times: string): number {
  const line = times.trim().split('\n').at(-1) ?? '';
  return [...line.matchAll(/(\d+)m([\d.]+)s/g)].reduce(
    (sum, [, minutes, seconds]) => sum + 60 * Number(minutes) + Number(seconds),
    0,
  );
}
