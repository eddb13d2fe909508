import { execFile } from 'node:child_process';
import { promisify } from 'node:util';

const run = promisify(execFile);

/** The oldest nats-server this system runs on: 2.10 brought consumer metadata and several filter subjects. */
export const MINIMUM_NATS_VERSION = '2.10.0';

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

/** Whether a server of this version may be used: new enough, and of the wanted series (such as `2.10`) if one is named. */
export function isUsable(version: string, series: string | undefined): boolean {
  if (compareVersions(version, MINIMUM_NATS_VERSION) < 0) return false;
  return series === undefined || version.startsWith(`${series}.`);
}
