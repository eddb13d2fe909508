// `pnpm test:containers [FILTER ...]`: the suites on the images that docker-compose.yml names, instead of on the
// launcher's nats-server and the embedded S3. Needs a Docker engine and its command line; images are pulled if missing.
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { parse } from 'yaml';

interface ComposeService {
  image: string;
  command?: string[];
}

const root = join(import.meta.dirname, '..');
const { services } = parse(readFileSync(join(root, 'docker-compose.yml'), 'utf8'), { merge: true }) as {
  services: Record<'nats' | 's3', ComposeService>;
};
/** Suites whose every server comes through startNats; those of the launcher itself look into its files. */
const NATS_SUITES = ['libs', 'services'];
const S3_KEYS = { accessKeyId: 'containers', secretAccessKey: 'containers-secret' };

function docker(...args: string[]): string {
  const { status, stdout, stderr, error } = spawnSync('docker', args, { encoding: 'utf8' });
  if (error) throw new Error(`docker: ${error.message}`);
  if (status !== 0) throw new Error(`docker ${args[0] ?? ''}: ${stderr.trim()}`);
  return stdout.trim();
}

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
  const keys = [
    '-e',
    `AWS_ACCESS_KEY_ID=${S3_KEYS.accessKeyId}`,
    '-e',
    `AWS_SECRET_ACCESS_KEY=${S3_KEYS.secretAccessKey}`,
  ];
  // The name it registers its volumes under has to be one that it can resolve itself.
  const id = docker(
    'run',
    '-d',
    '--rm',
    '--hostname',
    's3',
    '-p',
    '127.0.0.1::8333',
    ...keys,
    '-e',
    'S3_BUCKET=sluice',
    image,
    ...command,
  );
  try {
    const endpoint = `http://${docker('port', id, '8333/tcp').split('\n')[0] ?? ''}`;
    const deadline = Date.now() + 60_000;
    while (
      !(await fetch(`${endpoint}/healthz`).then(
        (answer) => answer.ok,
        () => false,
      ))
    ) {
      if (Date.now() > deadline)
        throw new Error(`${image} was not healthy after 60 s\n${docker('logs', '--tail', '20', id)}`);
      await sleep(200);
    }
    return runSuites(['dev/src/s3/conformance'], {
      S3_CONFORMANCE_ENDPOINT: endpoint,
      S3_ACCESS_KEY_ID: S3_KEYS.accessKeyId,
      S3_SECRET_ACCESS_KEY: S3_KEYS.secretAccessKey,
    });
  } finally {
    docker('rm', '-f', id);
  }
}

let engine: string;
try {
  engine = docker('version', '--format', '{{.Server.Version}}');
} catch (error) {
  console.error(`no Docker engine answers: ${error instanceof Error ? error.message : String(error)}`);
  process.exit(1);
}
const filters = process.argv.slice(2);
console.log(`Docker ${engine}: suites on ${services.nats.image}`);
const natsPassed = runSuites(filters.length > 0 ? filters : NATS_SUITES, { NATS_SERVER_IMAGE: services.nats.image });
console.log(`\nS3 conformance on ${services.s3.image}`);
const s3Passed = await s3Conformance();
process.exitCode = natsPassed && s3Passed ? 0 : 1;
