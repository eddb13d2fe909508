import { cpuMsOf, ownCpuMsOf } from '../processes.ts';
import type { Row } from './result.ts';

/** CPU time for one unit of work, in microseconds, by the name of a process. */
export type CpuPerUnit = Readonly<Record<string, number>>;

/**
 * Reads the CPU time of processes and of their children from now on. The bench's own process counts without its children,
 * among which the others are: name it `load` where the load comes from it.
 *
 * @returns what each has used since, for each of so many units of work.
 * @throws {Error} when a process has ended meanwhile, whose time is not known then.
 * @example
 * const cpu = startCpu({ gateway: gateway.pid, broker: nats.pid, load: process.pid });
 * const mails = await sendMails();
 * rows.push(...cpuRows('email', cpu(mails), 'mail'));
 */
export function startCpu(
  processes: Readonly<Record<string, number | readonly number[]>>,
): (units: number) => CpuPerUnit {
  const groups = Object.entries(processes).map(([name, pids]) => [name, [pids].flat()] as const);
  const read = (pids: readonly number[]): number =>
    pids.reduce((sum, pid) => sum + (pid === process.pid ? ownCpuMsOf(pid) : cpuMsOf(pid)), 0);
  const before = groups.map(([, pids]) => read(pids));
  return (units) =>
    Object.fromEntries(
      groups.map(([name, pids], at) => {
        const usedMs = read(pids) - (before[at] ?? 0);
        if (Number.isNaN(usedMs)) throw new Error(`${name} has ended while it was measured`);
        return [name, (usedMs * 1e3) / units] as const;
      }),
    );
}

/** A row for each process: microseconds of CPU for a unit of work. */
export const cpuRows = (id: string, cpu: CpuPerUnit, unit: string): readonly Row[] =>
  Object.entries(cpu).map(([name, us]) => ({
    id: `${id}_cpu_${name.replaceAll('-', '_')}`,
    value: us,
    unit: `µs of CPU of ${name} a ${unit}`,
    pass: true,
  }));

/** The middle one of each process over several readings. */
export function medianCpu(readings: readonly CpuPerUnit[]): CpuPerUnit {
  const names = Object.keys(readings[0] ?? {});
  return Object.fromEntries(
    names.map((name) => {
      const sorted = readings.map((reading) => reading[name] ?? NaN).toSorted((a, b) => a - b);
      return [name, sorted[sorted.length >> 1] ?? NaN] as const;
    }),
  );
}
