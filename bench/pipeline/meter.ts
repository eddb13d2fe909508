// What a phase costs: messages per second, and CPU time of this process per message.

export interface Reading {
  readonly perSecond: number;
  readonly cpuUs: number;
}

/** Starts now; the returned function reads it for `count` messages. */
export function startMeter(): (count: number) => Reading {
  const startedAt = performance.now();
  const cpu = process.cpuUsage();
  return (count) => {
    const seconds = (performance.now() - startedAt) / 1000;
    const { user, system } = process.cpuUsage(cpu);
    return { perSecond: count / seconds, cpuUs: (user + system) / count };
  };
}

export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length === 0
    ? Number.NaN
    : sorted.length % 2 === 1
      ? (sorted[middle] ?? Number.NaN)
      : ((sorted[middle - 1] ?? 0) + (sorted[middle] ?? 0)) / 2;
}

export const quantile = (values: readonly number[], q: number): number =>
  values.toSorted((a, b) => a - b)[Math.min(values.length - 1, Math.floor(values.length * q))] ?? Number.NaN;
