import { execFile } from 'node:child_process';
import { chmod, copyFile, rename } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { toolCacheDir, withDebianPackage } from '@sluice/dev';

const run = promisify(execFile);

interface PartProgram {
  /** As its project's releases name it. */
  readonly program: string;
  /** What makes it print its version and end. */
  readonly args: readonly string[];
  /** Finds the major version in what it prints. */
  readonly version: RegExp;
  readonly atLeast: number;
}

/** The programs of docker-compose.yml that are not ours and not started by `pnpm dev`. */
const PROGRAMS = {
  collector: { program: 'otelcol-contrib', args: ['--version'], version: /\bv?(\d+)\.\d+\.\d+/, atLeast: 0 },
  exporter: { program: 'prometheus-nats-exporter', args: ['-version'], version: /\bv?(\d+)\.\d+\.\d+/, atLeast: 0 },
  jaeger: { program: 'jaeger', args: ['version'], version: /\bv(\d+)\.\d+\.\d+/, atLeast: 2 },
  loki: { program: 'loki', args: ['-version'], version: /version v?(\d+)\./, atLeast: 3 },
  mailpit: { program: 'mailpit', args: ['version', '--no-release-check'], version: /\bv(\d+)\.\d+\.\d+/, atLeast: 1 },
  prometheus: { program: 'prometheus', args: ['--version'], version: /version (\d+)\./, atLeast: 3 },
  promtool: { program: 'promtool', args: ['--version'], version: /version (\d+)\./, atLeast: 3 },
  // `weed mini` is in version 4 and newer.
  seaweedfs: { program: 'weed', args: ['version'], version: /^version \S+ (\d+)\./, atLeast: 4 },
} as const satisfies Record<string, PartProgram>;

export type PartName = keyof typeof PROGRAMS;

/** The major version of a program; undefined where it does not run. */
async function majorOf(path: string, { args, version }: PartProgram): Promise<string | undefined> {
  const printed = await run(path, [...args], { timeout: 30_000 }).catch(() => ({ stdout: '', stderr: '' }));
  return version.exec(`${printed.stdout}${printed.stderr}`)?.[1];
}

/** A program of that version: on PATH, or in the tool cache (`~/.cache/sluice`). */
export async function findPart(name: PartName): Promise<string | undefined> {
  const part = PROGRAMS[name];
  for (const path of [part.program, join(toolCacheDir(), part.program)]) {
    if (Number((await majorOf(path, part)) ?? -1) >= part.atLeast) return path;
  }
  return undefined;
}

/** As {@link findPart}, and of Debian unstable where neither has it: stable's Prometheus is of version 2. */
export async function findPrometheus(name: 'prometheus' | 'promtool' = 'prometheus'): Promise<string | undefined> {
  const found = await findPart(name);
  if (found !== undefined) return found;
  try {
    await withDebianPackage({ name: ['prometheus', 'promtool'], suite: 'sid', workDir: toolCacheDir() }, async (at) => {
      for (const { program } of [PROGRAMS.prometheus, PROGRAMS.promtool]) {
        const cached = join(toolCacheDir(), program);
        await copyFile(join(at, 'usr/bin', program), `${cached}.${process.pid}`);
        await chmod(`${cached}.${process.pid}`, 0o755);
        await rename(`${cached}.${process.pid}`, cached);
      }
    });
  } catch (error) {
    console.warn(`Prometheus of Debian sid: ${error instanceof Error ? error.message.split('\n')[0] : ''}`);
  }
  return findPart(name);
}

/** The Prometheus programs that are to be had, one of each major version: that on PATH and that of `findPrometheus`. */
export async function findPrometheusVersions(): Promise<ReadonlyMap<string, string>> {
  const found = new Map<string, string>();
  for (const program of ['prometheus', await findPrometheus()]) {
    if (program === undefined) continue;
    const major = await majorOf(program, PROGRAMS.prometheus);
    if (major !== undefined && !found.has(major)) found.set(major, program);
  }
  return found;
}
