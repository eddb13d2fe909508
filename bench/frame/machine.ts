import { cpus, totalmem } from 'node:os';

/** What the figures were taken on, in one line. */
export function machine(): string {
  const [cpu] = cpus();
  return (
    `${cpus().length} x ${cpu?.model.trim() ?? 'unknown CPU'}, ${Math.round(totalmem() / 2 ** 30)} GiB, ` +
    `${process.platform} ${process.arch}, Node ${process.versions.node}`
  );
}

export const today = (): string => new Date().toISOString().slice(0, 10);
