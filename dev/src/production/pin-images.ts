// `pnpm pin:images`: the images of a Compose file by digest.
import { execFile } from 'node:child_process';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { errorText, parseCommand } from '@sluice/cli';
import { digestFile, imagesOf, nodeImageOf, type ComposedService } from './digests.ts';

const run = promisify(execFile);
const root = join(import.meta.dirname, '../../..');

const { values, positionals } = parseCommand({
  name: 'pnpm pin:images',
  usage: `usage: pnpm pin:images [FILE] [--out FILE]   asks the registries which digest each image has now

Writes a Compose file that names each image of FILE (default docker-compose.prod.yml) by digest, those of
the services by the digest of the Node image that they are built on. Start both:

  docker compose -f docker-compose.prod.yml -f deploy/compose/digests.yml up --build --wait

Needs docker with compose and buildx, and the registries.

  --out FILE   where to write (default deploy/compose/digests.yml)`,
  options: { out: { type: 'string', default: join(root, 'deploy/compose/digests.yml') } },
  maxPositionals: 1,
});
const docker = async (...args: readonly string[]): Promise<string> =>
  (await run('docker', args, { cwd: root, maxBuffer: 4 * 2 ** 20 })).stdout.trim();

try {
  const [file = 'docker-compose.prod.yml'] = positionals;
  const config = ['compose', '-f', file, '--profile', '*', 'config', '--no-interpolate', '--format', 'json'];
  const { services } = JSON.parse(await docker(...config)) as { services: Record<string, ComposedService> };
  const nodeImage = nodeImageOf(await readFile(join(root, 'Dockerfile'), 'utf8'));
  const digests = new Map<string, string>();
  for (const image of imagesOf(services, nodeImage)) {
    // The digest of the list of architectures, where an image has several. Without `json` buildx prints the whole text.
    const said = await docker('buildx', 'imagetools', 'inspect', '--format', '{{json .Manifest.Digest}}', image);
    digests.set(image, JSON.parse(said) as string);
    console.log(`${image} ${digests.get(image)}`);
  }
  await writeFile(values.out, digestFile(services, nodeImage, digests));
  console.log(`wrote ${values.out}`);
} catch (error) {
  console.error(`pnpm pin:images: ${errorText(error)}`);
  process.exit(1);
}
