import { execFile } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import type { Manifest } from './manifests.ts';

const run = promisify(execFile);
const require = createRequire(import.meta.url);
const folderOf = (name: string): string => dirname(require.resolve(`${name}/package.json`));

/** The packages with the types of an API group; every other group is of Kubernetes itself. */
const packageOf = (apiVersion: string): string => {
  if (apiVersion.startsWith('keda.sh/')) return '@kubernetes-models/keda';
  if (apiVersion.startsWith('monitoring.coreos.com/')) return '@kubernetes-models/prometheus-operator';
  if (apiVersion.startsWith('external-secrets.io/')) return '@kubernetes-models/external-secrets';
  return 'kubernetes-models';
};

/**
 * What in these objects does not fit the schemas of Kubernetes: fields that are not known, missing, or of another type.
 * The schemas are the types of kubernetes-models, and TypeScript refuses what a literal has too much.
 */
export async function schemaProblems(manifests: readonly Manifest[]): Promise<string[]> {
  const folder = await mkdtemp(join(tmpdir(), 'sluice-manifests-'));
  try {
    const packages = new Set(manifests.map(({ apiVersion }) => packageOf(apiVersion)));
    const lines = manifests.map((manifest, index) => {
      const type = `I${manifest.kind}`;
      const from = `${packageOf(manifest.apiVersion)}/${manifest.apiVersion}`;
      return `import type { ${type} as T${index} } from '${from}';\nexport const m${index}: T${index} = ${JSON.stringify(manifest, undefined, 1)};\n`;
    });
    await writeFile(join(folder, 'manifests.ts'), lines.join('\n'));
    const paths = Object.fromEntries([...packages].map((name) => [`${name}/*`, [`${folderOf(name)}/*`]]));
    const compilerOptions = {
      strict: true,
      noEmit: true,
      skipLibCheck: true,
      module: 'esnext',
      moduleResolution: 'bundler',
    };
    await writeFile(
      join(folder, 'tsconfig.json'),
      JSON.stringify({ compilerOptions: { ...compilerOptions, types: [], paths }, files: ['manifests.ts'] }),
    );
    const tsc = join(import.meta.dirname, '../../node_modules/.bin/tsc');
    const { stdout } = await run(tsc, ['-p', folder, '--pretty', 'false']).catch((error: { stdout?: string }) => {
      if (error.stdout === undefined || error.stdout === '') throw error;
      return { stdout: error.stdout };
    });
    return stdout.split('\n').filter((line) => line.includes('error TS'));
  } finally {
    await rm(folder, { recursive: true });
  }
}
