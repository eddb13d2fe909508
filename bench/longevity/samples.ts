// What a running system holds, looked at every two seconds.
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import type { Stack } from '@sluice/dev';
import type { Bus } from '@sluice/messaging';

/** One figure over the time of a run. */
export interface Series {
  readonly name: string;
  readonly unit: 'bytes' | 'ms';
  /** Seconds since the beginning, and the value. */
  readonly points: readonly (readonly [second: number, value: number])[];
  /** True for records that are kept for ever. */
  readonly mayGrow?: boolean;
  /** Growth up to so much says nothing. */
  readonly ignored: number;
  /** What it is made of: of these each is judged, and not their sum. */
  readonly parts?: readonly Series[];
}

const MIB = 2 ** 20;
/** What is small grows by more than a tenth when a page is added to it. */
const PAGES_BYTES = 4 * MIB;
/** What a collector of garbage takes or leaves; a process that was just restarted has less of it. */
const HEAP_BYTES = 16 * MIB;
/** nats-server removes messages from a file once all or half of it is dead, and begins a new file after this much. */
const BLOCK_BYTES = 8 * MIB;

const EVERY_MS = 2_000;
const KEPT_FOR_EVER = new Set(['CREDITS', 'AUDIT']);

/** Looks at the memory of every process, at what the streams hold and at what is on disk. */
export function startSampler(stack: Stack, bus: Bus, directory: string): { stop(): Promise<readonly Series[]> } {
  const beganMs = performance.now();
  const found = new Map<string, [number, number][]>();
  const onDisk = new Map<string, [number, number][]>();
  const note = (into: typeof found, name: string, value: number | undefined): void => {
    if (value === undefined) return;
    const points = into.get(name) ?? [];
    points.push([(performance.now() - beganMs) / 1_000, value]);
    into.set(name, points);
  };
  const look = async (): Promise<void> => {
    for (const { name, pid } of stack.services)
      note(found, `rss.${name}`, pid === undefined ? undefined : residentBytes(pid));
    note(found, 'rss.nats-server', residentBytes(stack.nats.pid));
    for (const [name, bytes] of diskBytes(join(directory, 'nats'))) note(onDisk, name, bytes);
    note(found, 'disk.objects', bytesOf(join(directory, 's3')));
    note(
      found,
      'disk.history',
      ['', '-wal'].reduce((sum, end) => sum + bytesOf(join(directory, `history.sqlite${end}`)), 0),
    );
    note(found, 'held.streams', await heldBytes(bus));
  };
  let looking: Promise<void> = Promise.resolve();
  const timer = setInterval(() => {
    looking = looking.then(look);
  }, EVERY_MS);
  return {
    async stop() {
      clearInterval(timer);
      await looking;
      const series = ([name, points]: [string, [number, number][]], ignored: number): Series => ({
        name,
        unit: 'bytes',
        points,
        ignored,
      });
      const streams = [...onDisk].map((each) => series(each, BLOCK_BYTES));
      const [records, limited] = [true, false].map((isRecord) =>
        streams.filter(({ name }) => KEPT_FOR_EVER.has(name) === isRecord),
      ) as [Series[], Series[]];
      return [
        ...[...found].map((each) => series(each, each[0].startsWith('rss.') ? HEAP_BYTES : PAGES_BYTES)),
        { ...sumOf('disk.streams', limited), parts: limited },
        { ...sumOf('disk.records', records), mayGrow: true },
      ];
    },
  };
}

/** What is there at the same time. */
function sumOf(name: string, parts: readonly Series[]): Series {
  const longest = Math.max(0, ...parts.map(({ points }) => points.length));
  const points = Array.from({ length: longest }, (_, n): [number, number] => [
    Math.max(...parts.map((part) => part.points[n]?.[0] ?? 0)),
    parts.reduce((sum, part) => sum + (part.points[n]?.[1] ?? 0), 0),
  ]);
  return { name, unit: 'bytes', points, ignored: PAGES_BYTES };
}

/** What the messages take that the streams hold, but for records; undefined while the broker is away. */
async function heldBytes(bus: Bus): Promise<number | undefined> {
  let sum = 0;
  try {
    for await (const { config, state } of bus.jsm.streams.list())
      if (!KEPT_FOR_EVER.has(config.name)) sum += state.bytes;
    return sum;
  } catch {
    return undefined;
  }
}

interface Compared {
  readonly second: number;
  readonly last: number;
}

/** How long a run is, and how long it takes until each of its processes was restarted once. */
export interface Rounds {
  readonly seconds: number;
  readonly roundSeconds: number;
}

/**
 * The medians of the second and the last fifth of a run. A process that was just restarted holds less, so both are of as
 * many whole rounds of restarts as a fifth has, begun at the same place of a round; where it has none, of all of it.
 */
export function fifths(series: Series, { seconds, roundSeconds }: Rounds): Compared {
  const fifth = seconds / 5;
  const whole = Math.floor(fifth / roundSeconds) * roundSeconds;
  const length = whole === 0 ? fifth : whole;
  const last = seconds - length;
  const second = whole === 0 ? fifth : fifth + ((last - fifth) % roundSeconds);
  return {
    second: median(between(series, second, second + length)),
    last: median(between(series, last, seconds)),
  };
}

/** The medians of the halves of a run. */
export function halves(series: Series): Compared {
  const end = series.points.at(-1)?.[0] ?? 0;
  return { second: median(between(series, 0, end / 2)), last: median(between(series, end / 2, end)) };
}

const between = ({ points }: Series, from: number, to: number): number[] =>
  points.filter(([at]) => at >= from && at <= to).map(([, value]) => value);

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

/** Bytes on disk of each stream; none while nats-server is being restarted. */
function diskBytes(store: string): readonly (readonly [name: string, bytes: number])[] {
  const streams = join(store, 'jetstream/$G/streams');
  try {
    return readdirSync(streams).map((name) => [name, bytesOf(join(streams, name))]);
  } catch {
    return [];
  }
}
