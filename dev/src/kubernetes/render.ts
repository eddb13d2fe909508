// `pnpm gen:manifests`: deploy/kubernetes out of the chart, for who has no helm.
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { errorText, parseCommand } from '@sluice/cli';
import { chartDigest, chartFolder, findHelm, MANIFEST_FLAGS, manifestFiles, renderChart } from './chart.ts';

parseCommand({
  name: 'pnpm gen:manifests',
  usage: `usage: pnpm gen:manifests   writes deploy/kubernetes from the chart in deploy/helm/sluice

Needs helm 3 or newer: HELM, on PATH, or by Go: go install helm.sh/helm/v3/cmd/helm@latest`,
  options: {},
});
try {
  const helm = await findHelm();
  if (helm === undefined) throw new Error('there is no helm: see pnpm gen:manifests --help');
  const files = manifestFiles(await renderChart(helm, chartFolder, MANIFEST_FLAGS), chartDigest());
  for (const [name, text] of Object.entries(files)) {
    await writeFile(join(chartFolder, '../../kubernetes', name), text);
    console.log(`wrote deploy/kubernetes/${name}`);
  }
} catch (error) {
  console.error(`pnpm gen:manifests: ${errorText(error)}`);
  process.exit(1);
}
