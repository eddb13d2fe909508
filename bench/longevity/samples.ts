// What a running system holds, looked at every two seconds.
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import type { Stack } from '@sluice/dev';

/** One figure over the time of a run. */
export interface Series {
  readonly name: string;
  readonly unit: 'bytes' | 'ms';
  /** Seconds since the beginning, and the value. */
  readonly points: readonly (readonly [second: number, value: number])[];
  /** True for records that are kept for ever. */
  readonly mayGrow?: boolean;
}

const EVERY_MS = 2_000;
const KEPT_FOR_EVER = new Set(['CREDITS', 'AUDIT']);

/** Looks at the memory of every process, and at what is on disk. */
export function startSampler(stack: Stack, directory: string): { stop(): readonly Series[] } {
  const beganMs = performance.now();
  const found = new Map<string, [number, number][]>();
  const note = (name: string, value: number | undefined): void => {
    if (value === undefined) return;
    const points = found.get(name) ?? [];
    points.push([(performance.now() - beganMs) / 1_000, value]);
    found.set(name, points);
  };
  const look = (): void => {
    for (const { name, pid } of stack.services) note(`rss.${name}`, pid === undefined ? undefined : residentBytes(pid));
    note('rss.nats-server', residentBytes(stack.nats.pid));
    const streams = streamBytes(join(directory, 'nats'));
    note('disk.streams', streams.limited);
    note('disk.records', streams.records);
    note('disk.objects', bytesOf(join(directory, 's3')));
    note(
      'disk.history',
      ['', '-wal'].reduce((sum, end) => sum + bytesOf(join(directory, `history.sqlite${end}`)), 0),
    );
  };
  const timer = setInterval(look, EVERY_MS);
  return {
    stop() {
      clearInterval(timer);
      return [...found].map(([name, points]) => ({
        name,
        unit: 'bytes',
        points,
        ...(name === 'disk.records' ? { mayGrow: true } : {}),
      }));
    },
  };
}

interface Compared {
  readonly second: number;
  readonly last: number;
}

/** The medians of the second and the last fifth of a run. */
export const fifths = (series: Series): Compared => ({
  second: median(between(series, 0.2, 0.4)),
  last: median(between(series, 0.8, 1)),
});

/** The medians of the halves of a run. */
export const halves = (series: Series): Compared => ({
  second: median(between(series, 0, 0.5)),
  last: median(between(series, 0.5, 1)),
});

function between({ points }: Series, from: number, to: number): number[] {
  const end = points.at(-1)?.[0] ?? 0;
  return points.filter(([at]) => at >= from * end && at <= to * end).map(([, value]) => value);
}

function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)] ?? NaN;
}

/** Undefined for a process that has just ended. */
function residentBytes(pid: number): number | undefined {
  try {
    const kib = /^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1];
    return kib === undefined ? undefined : Number(kib) * 1024;
  } catch {
    return undefined;
  }
}

/** Bytes of a file or of everything below a folder. What goes away meanwhile counts as nothing. */
function bytesOf(path: string): number {
  try {
    const stat = statSync(path);
    if (!stat.isDirectory()) return stat.size;
    return readdirSync(path).reduce((sum, name) => sum + bytesOf(join(path, name)), 0);
  } catch {
    return 0;
  }
}

function streamBytes(store: string): { limited: number; records: number } {
  const streams = join(store, 'jetstream/$G/streams');
  const sum = { limited: 0, records: 0 };
  try {
    for (const name of readdirSync(streams)) {
      sum[KEPT_FOR_EVER.has(name) ? 'records' : 'limited'] += bytesOf(join(streams, name));
    }
  } catch {
    // nats-server is being restarted
  }
  return sum;
}
