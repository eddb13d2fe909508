import { execFile } from 'node:child_process';
import { promisify } from 'node:util';

const run = promisify(execFile);

/** The oldest nats-server this system runs on: the ledger stores batches that are whole or not there. */
export const MINIMUM_NATS_VERSION = '2.12.1';

/** What `nats-server --version` says of this binary, as `major.minor.patch`; undefined when it does not start here. */
export async function natsVersionOf(binary: string): Promise<string | undefined> {
  try {
    const { stdout } = await run(binary, ['--version'], { timeout: 30_000 });
    return /v(\d+\.\d+\.\d+)/.exec(stdout)?.[1];
  } catch {
    // A binary of another libc or architecture fails to start; the caller looks for the next one.
    return undefined;
  }
}

/** Compares two `major.minor.patch` versions: negative when `a` is older, 0 when equal, positive when newer. */
export function compareVersions(a: string, b: string): number {
  const left = a.split('.').map(Number);
  const right = b.split('.').map(Number);
  for (let i = 0; i < 3; i++) {
    const difference = (left[i] ?? 0) - (right[i] ?? 0);
    if (difference !== 0) return difference;
  }
  return 0;
}

/** Whether a server may be used: of the wanted series (such as `2.10`, for the engine alone) if named, or new enough. */
export function isUsable(version: string, series: string | undefined): boolean {
  if (series !== undefined) return version.startsWith(`${series}.`);
  return compareVersions(version, MINIMUM_NATS_VERSION) >= 0;
}
