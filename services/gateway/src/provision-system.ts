import {
  provision,
  readJobLayouts,
  recordJobLayout,
  topologyOf,
  type Bus,
  type JobLayout,
  type ProvisionOptions,
  type ProvisionReport,
  type Topology,
} from '@sluice/messaging';
import type { Logger } from '@sluice/telemetry';

/** What the broker has after it was provisioned. */
export interface ProvisionedSystem {
  readonly topology: Topology;
  /** Over how many streams new jobs are divided, and from when on. */
  readonly layouts: readonly JobLayout[];
  readonly report: ProvisionReport;
}

const mostOf = (layouts: readonly JobLayout[]): number => Math.max(...layouts.map(({ partitions }) => partitions));

/**
 * Makes the streams, buckets and consumers, and writes down over how many streams new jobs are divided. The streams of a
 * larger number are made before it is written down: no process sends a job to a stream that is not there.
 *
 * @throws {ProvisionError} when the broker has no room for another partition.
 */
export async function provisionSystem(
  { nc, jsm }: Pick<Bus, 'nc' | 'jsm'>,
  { partitions, ...options }: ProvisionOptions & { readonly partitions: number },
  nowMs: number,
): Promise<ProvisionedSystem> {
  const recorded = mostOf(await readJobLayouts(jsm));
  const topology = topologyOf(Math.max(recorded, partitions));
  const report = await provision(nc, topology, options);
  const layouts = await recordJobLayout(nc, partitions, { isNew: report.created.includes('JOBS'), nowMs });
  // Another gateway may have written down more meanwhile, whose streams it has made.
  return { topology: topologyOf(Math.max(mostOf(layouts), partitions)), layouts, report };
}

/** Says what is to come, and what a setting does not do. */
export function sayLayouts(layouts: readonly JobLayout[], partitions: number, nowMs: number, log: Logger): void {
  const last = layouts.at(-1)!;
  if (last.fromMs > nowMs) {
    log.info(
      { partitions: last.partitions, from: new Date(last.fromMs).toISOString() },
      'new jobs will be divided over more streams: start every gateway anew before then',
    );
  }
  if (last.partitions > partitions) {
    log.warn(
      { partitions: last.partitions, setting: partitions },
      'JOBS_PARTITIONS is lower than it was: the streams hold jobs, so their number stays',
    );
  }
}
