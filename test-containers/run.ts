// `pnpm test:containers [FILTER ...]`: the suites on the images that docker-compose.yml names, instead of on the
// launcher's nats-server and the embedded S3. Needs a Docker engine; images are pulled if missing.
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { GenericContainer, getContainerRuntimeClient, Wait } from 'testcontainers';
import { parse } from 'yaml';

interface ComposeService {
  readonly image: string;
  readonly command?: string[];
}

const root = join(import.meta.dirname, '..');
const { services } = parse(readFileSync(join(root, 'docker-compose.yml'), 'utf8'), { merge: true }) as {
  services: Record<'nats' | 's3', ComposeService>;
};
/** Suites whose every server comes through startNats; those of the launcher itself look into its files. */
const NATS_SUITES = ['libs', 'services'];
const S3_PORT = 8333;
const S3_KEYS = { accessKeyId: 'containers', secretAccessKey: 'containers-secret' };

function runSuites(filters: readonly string[], env: Record<string, string>): boolean {
  const { status } = spawnSync(process.execPath, [join(root, 'tests/run.ts'), ...filters], {
    cwd: root,
    stdio: 'inherit',
    env: { ...process.env, ...env },
  });
  return status === 0;
}

/** The S3 conformance on the store's image, started as docker-compose.yml starts it. */
async function s3Conformance(): Promise<boolean> {
  const { image, command = [] } = services.s3;
  const container = await new GenericContainer(image)
    // The name it registers its volumes under has to be one that it can resolve itself.
    .withHostname('s3')
    .withCommand(command)
    .withEnvironment({
      AWS_ACCESS_KEY_ID: S3_KEYS.accessKeyId,
      AWS_SECRET_ACCESS_KEY: S3_KEYS.secretAccessKey,
      S3_BUCKET: 'sluice',
    })
    .withExposedPorts(S3_PORT)
    .withWaitStrategy(Wait.forHttp('/healthz', S3_PORT))
    .start();
  try {
    return runSuites(['dev/src/s3/conformance'], {
      // By number: a test asks by the name localhost for what was signed for another host.
      S3_CONFORMANCE_ENDPOINT: `http://${container.getHost().replace('localhost', '127.0.0.1')}:${container.getMappedPort(S3_PORT)}`,
      S3_ACCESS_KEY_ID: S3_KEYS.accessKeyId,
      S3_SECRET_ACCESS_KEY: S3_KEYS.secretAccessKey,
    });
  } finally {
    await container.stop();
  }
}

try {
  const { info } = await getContainerRuntimeClient();
  console.log(`Docker ${info.containerRuntime.serverVersion}: suites on ${services.nats.image}`);
} catch (error) {
  console.error(`no Docker engine answers: ${error instanceof Error ? error.message : String(error)}`);
  process.exit(1);
}
const filters = process.argv.slice(2);
const natsPassed = runSuites(filters.length > 0 ? filters : NATS_SUITES, { NATS_SERVER_IMAGE: services.nats.image });
console.log(`\nS3 conformance on ${services.s3.image}`);
const s3Passed = await s3Conformance().catch((error: unknown) => {
  console.error(`${services.s3.image} cannot be used: ${error instanceof Error ? error.message : String(error)}`);
  return false;
});
process.exitCode = natsPassed && s3Passed ? 0 : 1;
