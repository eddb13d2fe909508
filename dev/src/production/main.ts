// `pnpm init:production`: the secrets of docker-compose.prod.yml, made once.
import { readdirSync } from 'node:fs';
import { access, mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { errorText, parseCommand, UsageError } from '@sluice/cli';
import { makeBrokerCertificates } from './certificates.ts';
import { makeNatsUsers, withPublicKeys } from './nats-users.ts';
import { productionFiles } from './settings.ts';

const usage = `usage: pnpm init:production --domain HOST --email ADDRESS [--root DIR]
       pnpm init:production --nats [--root DIR]

Makes what docker-compose.prod.yml needs: .env with a fresh password for everything, and deploy/secrets/
with the broker's certificate, a seed for each of its users (NKeys) and the users of the object store.
Both are in .gitignore: keep a copy where you keep secrets. Nothing that is there is replaced.

  --domain HOST     the host name under which the system will be reached
  --email ADDRESS   where the certificate authority writes to
  --nats            makes the seeds that deploy/secrets/nats/ lacks and writes the public keys of all into
                    .env: for a new service, for a seed that was deleted to be replaced, and for an
                    installation whose services still have passwords
  --root DIR        the repository; this one when absent
  --help            this`;

const { values } = parseCommand({
  name: 'pnpm init:production',
  usage,
  options: {
    domain: { type: 'string' },
    email: { type: 'string' },
    nats: { type: 'boolean', default: false },
    root: { type: 'string' },
  },
});

const usersOf = (root: string): readonly string[] => [...readdirSync(join(root, 'services')).toSorted(), 'operator'];

async function renewNatsUsers(root: string): Promise<void> {
  const env = join(root, '.env');
  const before = await readFile(env, 'utf8').catch(() => {
    throw new UsageError(`${env} is not there: make it with --domain and --email`);
  });
  const keys = await makeNatsUsers(join(root, 'deploy/secrets/nats'), usersOf(root));
  await writeFile(env, withPublicKeys(before, keys));
  process.stdout.write(`Wrote the public keys of ${Object.keys(keys).join(', ')} into .env. Start again what uses them:
  docker compose -f docker-compose.prod.yml up --build --wait
`);
}

async function initialise(root: string, domain: string, email: string): Promise<void> {
  const secrets = join(root, 'deploy/secrets');
  const env = join(root, '.env');
  for (const path of [env, secrets]) {
    const taken = await access(path).then(
      () => true,
      () => false,
    );
    if (taken) throw new UsageError(`${path} is there: what runs uses it. Move it away to make another`);
  }
  await mkdir(secrets, { mode: 0o700 });
  let operatorPassword: string;
  try {
    const keys = await makeNatsUsers(join(secrets, 'nats'), usersOf(root));
    const files = await productionFiles({ domain, email }, keys);
    ({ operatorPassword } = files);
    await makeBrokerCertificates(secrets, ['nats', 'nats-2', 'nats-3', 'localhost']);
    await writeFile(join(secrets, 's3.json'), files.s3, { mode: 0o644 });
    await writeFile(env, files.env, { mode: 0o600, flag: 'wx' });
  } catch (error) {
    await rm(secrets, { recursive: true });
    throw error;
  }
  process.stdout.write(`Made .env and deploy/secrets/.
The pages of operators (https://${domain}/grafana/, /jaeger/, /prometheus/, /nats/) ask for
  user      operator
  password  ${operatorPassword}
It is shown this once. Now fill in SMTP_URLS and MAIL_FROM in .env, then:
  docker compose -f docker-compose.prod.yml up --build --wait
  docker compose -f docker-compose.prod.yml run --rm operator src/cli/keys.ts create NAME
`);
}

try {
  const { domain, email } = values;
  const root = values.root ?? join(import.meta.dirname, '../../..');
  if (values.nats) {
    if (domain !== undefined || email !== undefined) throw new UsageError('--nats takes neither --domain nor --email');
    await renewNatsUsers(root);
    process.exit(0);
  }
  if (domain === undefined || email === undefined) throw new UsageError('--domain and --email are needed');
  if (!/^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$/i.test(domain)) throw new UsageError(`${domain} is no host name`);
  if (!/^[^\s@]+@[^\s@]+$/.test(email)) throw new UsageError(`${email} is no e-mail address`);
  await initialise(root, domain, email);
} catch (error) {
  process.stderr.write(`pnpm init:production: ${errorText(error)}; see pnpm init:production --help\n`);
  process.exit(error instanceof UsageError ? 2 : 1);
}
