import { execFile } from 'node:child_process';
import { join } from 'node:path';

const main = join(import.meta.dirname, '../src/main.ts');

export interface Ended {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** A command as a person types it. */
export function sluice(
  args: readonly string[],
  env: Readonly<Record<string, string>> = {},
  cwd = process.cwd(),
): Promise<Ended> {
  // A run file of this machine is none of the test's business.
  const clean = { ...process.env, SLUICE_API_KEY: '', NATS_URL: '', ...env };
  return new Promise((resolve) => {
    execFile(process.execPath, [main, ...args], { env: clean, cwd, timeout: 60_000 }, (error, stdout, stderr) =>
      resolve({ code: error === null ? 0 : Number(error.code ?? -1), stdout, stderr }),
    );
  });
}
