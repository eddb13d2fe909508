import type { CpuPerUnit } from '../frame/cpu-meter.ts';

/** What is called, and how. */
export interface CallShape {
  readonly calls: number;
  /** Calls under way at once, over all connections. */
  readonly concurrency: number;
  readonly connections: number;
  /** Events of one call. */
  readonly events: number;
  /** Processes whose CPU is read, by name. */
  readonly watch: Readonly<Record<string, number>>;
}

export interface CallRun {
  readonly perSecond: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  /** Calls with another status than OK. */
  readonly failed: number;
  /** For each call, of the watched processes and of the load generator as `load`. */
  readonly cpuUs: CpuPerUnit;
}
