/** A bench as `pnpm bench` lists it; its file is `bench/NAME.ts`. */
export interface Bench {
  readonly name: string;
  /** One line: what it measures. */
  readonly measures: string;
  /** What `--only` takes. */
  readonly parts?: readonly string[];
  /** Why `pnpm bench all --quick` leaves it out, or the one part that it runs there. */
  readonly inQuickAll?: { readonly skipped: string } | { readonly only: string };
}

/** In the order in which `pnpm bench all` runs them: what needs a quiet machine most comes first. */
export const benches: readonly Bench[] = [
  {
    name: 'http',
    measures: 'CPU of an HTTP request of the gateway beside a plain Fastify route, with wrk',
    parts: ['frame', 'gateway'],
  },
  {
    name: 'grpc',
    measures: 'calls/s and CPU of a gRPC call of the gateway beside a bare Connect echo, with ghz',
  },
  {
    name: 'telemetry',
    measures: 'what metrics and traces add to the CPU of a message, and requests beside 20,000 spans/s',
    parts: ['engine', 'requests'],
  },
  {
    name: 'pipeline',
    measures: 'the engine beside raw loops, BullMQ, graphile-worker and pg-boss',
    parts: ['throughput', 'peers', 'latency', 'sharing', 'failover'],
    inQuickAll: { only: 'peers' },
  },
  {
    name: 'gateway',
    measures: 'the gateway from a client of its own: events, bulks, jobs, a mail at rest, 1,000 mails/s',
    parts: ['routes', 'idle', 'pace'],
    inQuickAll: { only: 'idle' },
  },
  {
    name: 'email',
    measures: 'mails/s through the whole system beside the mail library alone, into three servers',
    parts: ['embedded', 'distant', 'bare'],
    inQuickAll: { only: 'embedded' },
  },
  {
    name: 'image',
    measures: 'pictures to PDF beside ImageMagick, img2pdf and the bare loop; memory, bombs',
    parts: ['ratios', 'memory', 'throughput', 'scaling', 'settings', 'hostile', 'verified', 'resize'],
    inQuickAll: { only: 'throughput' },
  },
  {
    name: 'scale',
    measures: 'jobs/s, p50 and p99 end to end at rising rates until saturation, and where the time goes',
    parts: ['mails', 'pictures', 'no-op', 'stages'],
    inQuickAll: { only: 'no-op' },
  },
  {
    name: 'memory',
    measures: 'memory of each service at rest and at load, and all of them within 256 MB each',
    parts: ['default', 'small'],
  },
  {
    name: 'backlog',
    measures: 'what a backlog of normal mails does to the latency of express mails',
    inQuickAll: { skipped: 'fills and drains a backlog, which takes a minute and a half' },
  },
  {
    name: 'history',
    measures: 'lists, counts and single jobs with a long history, in SQLite and PostgreSQL',
    parts: ['sqlite', 'postgres', 'ledger'],
    inQuickAll: { skipped: 'fills two databases, which takes longer than what it measures' },
  },
  {
    name: 'console',
    measures: 'what the console takes to draw with 100,000 jobs, in Chromium',
    inQuickAll: { skipped: 'fills a history of 100,000 jobs and drives a browser for a minute' },
  },
  {
    name: 'attacks',
    measures: 'what a neighbour notices of six attacks, within the memory of the containers',
    parts: ['taken-ids', 'bad-headers', 'slow-receivers', 'growing-calls', 'stalled-uploads', 'flood-of-events'],
    inQuickAll: { skipped: 'judges what a neighbour sees over six attacks, two minutes in all' },
  },
  {
    name: 'longevity',
    measures: 'a year in minutes: whether anything grows or is lost over restarts',
    inQuickAll: { skipped: 'lets seven weeks pass, each of which takes at least 35 s' },
  },
];

/** How many words of the terminal the name takes in a list. */
const widest = Math.max(...benches.map(({ name }) => name.length));

/** A line for each bench. */
export const benchLines = (): readonly string[] =>
  benches.map(({ name, measures }) => `${name.padEnd(widest)}  ${measures}`);

/** What `pnpm bench all` runs, and what it leaves out and why. */
export function planOfAll(quick: boolean): {
  readonly runs: readonly { readonly name: string; readonly only?: string }[];
  readonly skipped: readonly { readonly name: string; readonly why: string }[];
} {
  const runs: { name: string; only?: string }[] = [];
  const skipped: { name: string; why: string }[] = [];
  for (const { name, inQuickAll } of benches) {
    if (!quick || inQuickAll === undefined) runs.push({ name });
    else if ('skipped' in inQuickAll) skipped.push({ name, why: inQuickAll.skipped });
    else runs.push({ name, only: inQuickAll.only });
  }
  return { runs, skipped };
}
