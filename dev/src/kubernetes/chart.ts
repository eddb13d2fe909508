import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { globSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { toolCacheDir } from '../nats/cache.ts';

const run = promisify(execFile);
const MAX_OUTPUT_BYTES = 16 * 1024 * 1024;
/** A build of helm by `go install` knows no version of Kubernetes and takes 1.20. */
const KUBERNETES_VERSION = '1.34.0';

/** The chart of this repository. */
export const chartFolder = join(import.meta.dirname, '../../../deploy/helm/sluice');

/** Helm 3 or newer: `HELM`, on PATH, or in the tool cache. */
export async function findHelm(env: NodeJS.ProcessEnv = process.env): Promise<string | undefined> {
  for (const program of [env['HELM'] ?? 'helm', join(toolCacheDir(env), 'helm')]) {
    const { stdout } = await run(program, ['version', '--short']).catch(() => ({ stdout: '' }));
    if (/^v[3-9]/.test(stdout)) return program;
  }
  return undefined;
}

/**
 * The manifests of a chart, as text.
 *
 * @param flags of `helm template`: `--set`, `--values`.
 * @throws what helm says when the values do not fit the chart's schema, or a template is not valid.
 */
export async function renderChart(helm: string, folder: string, flags: readonly string[] = []): Promise<string> {
  const args = ['template', 'sluice', folder, '--kube-version', KUBERNETES_VERSION, ...flags];
  const { stdout } = await run(helm, args, { maxBuffer: MAX_OUTPUT_BYTES });
  return stdout;
}

/** Of what the manifests come from, so that a manifest that is not current is noticed where there is no helm. */
export function chartDigest(): string {
  const digest = createHash('sha256');
  const files = globSync('{Chart.yaml,values.yaml,templates/*}', { cwd: chartFolder }).toSorted();
  for (const file of files) digest.update(`${file}\n${readFileSync(join(chartFolder, file), 'utf8')}`);
  return digest.digest('hex');
}

/** Flags for what is in the repository: alerts and dashboards are 250 kB, and lie in o11y/ as Grafana takes them. */
export const MANIFEST_FLAGS = ['--set', 'monitoring.rules=false,monitoring.dashboards=false'] as const;

/** The two files of deploy/kubernetes out of what helm renders. */
export function manifestFiles(rendered: string, digest: string): Readonly<Record<string, string>> {
  const parts = rendered.split(/^---\n/m).filter((part) => /^kind:/m.test(part));
  const isOperators = (part: string): boolean => /^apiVersion: (keda\.sh|monitoring\.coreos\.com)\//m.test(part);
  const file = (about: string, wanted: readonly string[]): string =>
    `# ${about}\n# Rendered by \`pnpm gen:manifests\` from deploy/helm/sluice, ${digest}. Change the chart.\n---\n${wanted.join('---\n')}`;
  return {
    'sluice.yaml': file(
      'Everything that a cluster understands without more.',
      parts.filter((part) => !isOperators(part)),
    ),
    'operators.yaml': file('What KEDA and the Prometheus operator understand.', parts.filter(isOperators)),
  };
}
