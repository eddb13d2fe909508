// docker-compose.prod.yml and what `pnpm init:production` makes for it.
import { execFile, spawnSync } from 'node:child_process';
import { copyFileSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { newNatsIdentity } from '@sluice/dev';
import { connectService, provision, topology } from '@sluice/messaging';
import { knownSecrets } from '@sluice/service';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { digestFile, imagesOf, nodeImageOf, type ComposedService } from '../dev/src/production/digests.ts';
import { findCompose } from './tools/compose-command.ts';
import { findCaddy } from './tools/find-caddy.ts';
import { makeProductionSite, type ProductionSite } from './tools/production-site.ts';

const run = promisify(execFile);
const root = join(import.meta.dirname, '..');
const services = readdirSync(join(root, 'services'));

let site: ProductionSite;
let folder: string;
let env: ProductionSite['env'];
let shown: string;
beforeAll(async () => {
  site = await makeProductionSite();
  ({ folder, env, shown } = site);
});
afterAll(() => site?.remove());

const init = (...args: string[]) => site.init(...args);
const seedOf = (user: string): string => site.seedOf(user);

describe('pnpm init:production', () => {
  it('makes a secret of its own for everything, which no other user of the machine can read', () => {
    const secrets = Object.entries(env).filter(([name]) => /PASSWORD|SECRET|KEY/.test(name));
    expect(secrets.length).toBeGreaterThan(services.length + 7);
    expect(new Set(secrets.map(([, value]) => value)).size).toBe(secrets.length);
    expect(statSync(join(folder, '.env')).mode & 0o777).toBe(0o600);
    expect(statSync(join(folder, 'deploy/secrets')).mode & 0o777).toBe(0o700);
    expect(readdirSync(join(folder, 'deploy/secrets')).toSorted()).toEqual([
      'ca.crt',
      'nats',
      'nats.crt',
      'nats.key',
      's3.json',
    ]);
    const seeds = readdirSync(join(folder, 'deploy/secrets/nats')).map((file) => seedOf(file.replace('.seed', '')));
    expect(new Set(seeds).size).toBe(services.length + 1);
    // The broker and .env know who may sign, and nothing to sign with.
    for (const seed of seeds) expect(Object.values(env)).not.toContain(seed);
    for (const name of [...services, 'operator'])
      expect(env[`NATS_${name.toUpperCase()}_NKEY`]).toMatch(/^U[A-Z2-7]{55}$/);
    expect(shown).toMatch(/password {2}\S{30,}/);
    expect(Object.values(env)).not.toContain(/password {2}(\S+)/.exec(shown)?.[1]);
  });

  it('replaces nothing, and needs a host name and an address', () => {
    const before = readFileSync(join(folder, '.env'), 'utf8');
    const again = init('--domain', 'other.example.com', '--email', 'admin@example.com');
    expect(again).toMatchObject({ status: 2, stderr: expect.stringContaining('.env is there') as string });
    expect(readFileSync(join(folder, '.env'), 'utf8')).toBe(before);
    expect(init()).toMatchObject({ status: 2, stderr: expect.stringContaining('--domain and --email') as string });
    expect(init('--domain', 'https://a', '--email', 'a@b')).toMatchObject({ status: 2 });
  });

  it('makes the seeds that are missing, and puts public keys in the place of passwords', async () => {
    const kept = readFileSync(join(folder, '.env'), 'utf8');
    const seeds = join(folder, 'deploy/secrets/nats');
    const old = { gateway: seedOf('gateway'), image: seedOf('image') };
    await rm(join(seeds, 'image.seed'));
    const withPasswords = kept.replaceAll(/^NATS_([A-Z]+)_NKEY=.*$/gm, 'NATS_$1_PASSWORD=secret');
    await writeFile(join(folder, '.env'), withPasswords);
    expect(init('--nats')).toMatchObject({ status: 0, stderr: '' });
    expect(seedOf('gateway')).toBe(old.gateway);
    expect(seedOf('image')).not.toBe(old.image);
    const written = readFileSync(join(folder, '.env'), 'utf8');
    expect(written).not.toMatch(/^NATS_[A-Z]+_PASSWORD/m);
    expect(written.replace(/^NATS_IMAGE_NKEY=.*$/m, '')).toBe(kept.replace(/^NATS_IMAGE_NKEY=.*$/m, ''));
    expect(init('--nats', '--domain', 'a.example.com')).toMatchObject({ status: 2 });
    // The rest of this file goes on with what the first run made.
    await writeFile(join(seeds, 'image.seed'), `${old.image}\n`);
    await writeFile(join(folder, '.env'), kept);
  });

  it('is no part of the repository', () => {
    const ignored = readFileSync(join(root, '.gitignore'), 'utf8').split('\n');
    expect(ignored).toEqual(expect.arrayContaining(['.env', 'deploy/secrets/']));
  });
});

const compose = await findCompose();
if (compose === undefined) console.warn('docker-compose.prod.yml: not checked, no Docker Compose is to be had here');

interface Configured extends ComposedService {
  build?: { args: Record<string, string> };
  environment?: Record<string, string>;
  ports?: { published: string }[];
  profiles?: string[];
  command?: string[];
  volumes?: { source: string; target: string; read_only?: boolean }[];
  deploy?: { replicas?: number };
  depends_on?: Record<string, { condition: string }>;
  networks?: Record<string, unknown>;
  healthcheck?: { disable?: boolean };
}

describe.skipIf(compose === undefined)('docker-compose.prod.yml', () => {
  const config = (flags: readonly string[], over: readonly string[] = []) => {
    const [program, ...args] = compose ?? ['docker'];
    const { HOME, PATH } = process.env;
    const files = ['docker-compose.prod.yml', ...over].flatMap((file) => ['-f', file]);
    return run(program, [...args, ...files, 'config', ...flags], {
      cwd: folder,
      env: {
        HOME,
        PATH,
        COMPOSE_PROFILES: 'operator',
        SMTP_URLS: 'smtps://user:password@mail.example.com',
        MAIL_FROM: 'sluice@example.com',
      },
      maxBuffer: 4 * 1024 * 1024,
    });
  };
  let configured: Record<string, Configured>;
  beforeAll(async () => {
    const { stdout } = await config(['--format', 'json']);
    ({ services: configured } = JSON.parse(stdout) as { services: Record<string, Configured> });
  });

  it('publishes the proxy and nothing else, and has no catcher of mails', () => {
    const published = Object.entries(configured).flatMap(([name, { ports }]) =>
      (ports ?? []).map((port) => [name, port.published]),
    );
    expect(published).toEqual([
      ['caddy', '80'],
      ['caddy', '443'],
      ['caddy', '443'],
    ]);
    expect(Object.keys(configured)).not.toContain('mail');
  });

  it('gives each service a user of the broker and a key of the store, or none', () => {
    for (const name of services) {
      const { environment = {} } = configured[name] ?? {};
      expect(environment).toMatchObject({
        SLUICE_ENV: 'production',
        NATS_URL: 'tls://nats:4222',
        NATS_NKEY_SEED_FILE: '/run/sluice/nats.seed',
      });
      expect(Object.keys(environment).filter((variable) => /^NATS_(USER|PASSWORD)$/.test(variable))).toEqual([]);
      const mounted = configured[name]?.volumes?.find(({ target }) => target === '/run/sluice/nats.seed');
      expect(mounted).toMatchObject({ source: join(folder, `deploy/secrets/nats/${name}.seed`), read_only: true });
    }
    const { identities } = JSON.parse(readFileSync(join(folder, 'deploy/secrets/s3.json'), 'utf8')) as {
      identities: { name: string; credentials: [{ accessKey: string; secretKey: string }]; actions: string[] }[];
    };
    for (const { name, credentials, actions } of identities) {
      const { environment = {} } = configured[name] ?? {};
      expect([environment['S3_ACCESS_KEY_ID'], environment['S3_SECRET_ACCESS_KEY']]).toEqual(
        Object.values(credentials[0]),
      );
      expect(actions.join()).not.toMatch(/Admin|Write(,|$|:sluice(,|$))/);
    }
    const withoutKey = services.filter((name) => !identities.some((identity) => identity.name === name));
    for (const name of withoutKey) {
      expect(Object.keys(configured[name]?.environment ?? {}).filter((variable) => variable.startsWith('S3_'))).toEqual(
        [],
      );
    }
    expect(configured['s3']?.environment).not.toHaveProperty('AWS_ACCESS_KEY_ID');
  });

  it('answers clients and drives jobs in two processes each, so that neither waits for the other', () => {
    const { gateway, 'gateway-worker': worker } = configured;
    expect([gateway?.environment?.['ROLE'], gateway?.deploy?.replicas]).toEqual(['api', 2]);
    expect([worker?.environment?.['ROLE'], worker?.deploy?.replicas]).toEqual(['worker', 2]);
    expect(worker?.image).toBe(gateway?.image);
    // The same user of the broker and key of the store, and no file of its own.
    const secrets = gateway?.volumes?.filter(({ target }) => target.startsWith('/run/sluice/'));
    expect(secrets).toHaveLength(2);
    expect(worker?.volumes).toEqual(secrets);
    // What only an answer to a client needs stays with who gives it: the history and its password, signed links, bounces.
    const environment = Object.entries(worker?.environment ?? {});
    const left = Object.keys(gateway?.environment ?? {}).filter((name) => !(name in (worker?.environment ?? {})));
    expect(left.toSorted()).toEqual([
      'BOUNCE_SECRET',
      'BOUNCE_SMTP_PORT',
      'GRPC_PORT',
      'HOME_LINKS',
      'PORT',
      'READ_MODEL_URL',
      'UNSUBSCRIBE_SECRET',
    ]);
    // A limit, price or lifetime that one half had alone would be half a limit.
    expect(environment.filter(([name, value]) => gateway?.environment?.[name] !== value)).toEqual([['ROLE', 'worker']]);
    expect(Object.keys(worker?.depends_on ?? {}).toSorted()).toEqual(['nats', 's3', 'volumes']);
    expect(Object.keys(worker?.networks ?? {}).toSorted()).toEqual(['default', 'store']);
    expect(worker?.healthcheck?.disable ?? false).toBe(false);
  });

  it('has the proxy lead to who answers', () => {
    const routes = readFileSync(join(root, 'deploy/caddy/routes.caddy'), 'utf8');
    expect([...routes.matchAll(/dynamic a (\S+)/g)].map(([, name]) => name)).toEqual(['gateway', 'gateway']);
  });

  it('scrapes every process that is built here', () => {
    interface Scrapes {
      scrape_configs: { job_name: string; dns_sd_configs?: { names: string[]; port: number }[] }[];
      scrape_config_files?: string[];
    }
    const { prometheus, ...others } = configured;
    const files = (prometheus?.volumes ?? []).filter(({ target }) => target.endsWith('.yml'));
    const whole = parse(readFileSync(join(root, 'o11y/prometheus/prometheus.yml'), 'utf8')) as Scrapes;
    const jobs = [
      whole,
      ...files.map(({ source }) => parse(readFileSync(source.replace(folder, root), 'utf8')) as Scrapes),
    ]
      .flatMap(({ scrape_configs: found }) => found)
      .flatMap(({ job_name: name, dns_sd_configs: found = [] }) =>
        found.map(({ names, port }) => ({ name, names, port })),
      );
    const built = Object.entries(others).filter(
      ([, { build, profiles }]) => build !== undefined && profiles === undefined,
    );
    expect(jobs.toSorted((a, b) => a.name.localeCompare(b.name))).toEqual(
      built.map(([name]) => ({ name, names: [name], port: 9464 })).toSorted((a, b) => a.name.localeCompare(b.name)),
    );
    // Prometheus reads the second file by a pattern that the other Compose files have nothing for.
    for (const { target } of files) expect(whole.scrape_config_files).toContain(target.replace(/[^/]+$/, '*.yml'));
  });

  it('lets each key reach the objects that its service works with', () => {
    const { identities } = JSON.parse(readFileSync(join(folder, 'deploy/secrets/s3.json'), 'utf8')) as {
      identities: { name: string; actions: string[] }[];
    };
    const source = readFileSync(join(root, 'services/gateway/src/uploads/cleanup.ts'), 'utf8');
    const [, list = ''] = /cleanedPrefixes = \[([^\]]+)\]/.exec(source) ?? [];
    const prefixes = [...list.matchAll(/'([a-z]+)\/'/g)].map(([, prefix]) => prefix);
    expect(prefixes.length).toBeGreaterThan(2);
    const actionsOf = (name: string) => identities.find((each) => each.name === name)?.actions;
    const all = prefixes.map((prefix) => `Write:sluice/${prefix}/*`);
    // Presigned uploads are signed with the gateway's key, and its cleanup deletes.
    expect(actionsOf('gateway')).toEqual(expect.arrayContaining(all));
    expect(actionsOf('operator')).toEqual(expect.arrayContaining(all));
    expect(actionsOf('email')).toEqual(['Read:sluice/pdf/*', 'Read:sluice/attachments/*']);
  });

  it('asks for a password before Grafana', () => {
    expect(configured['grafana']?.environment).toMatchObject({
      GF_AUTH_ANONYMOUS_ENABLED: 'false',
      GF_SECURITY_ADMIN_PASSWORD: env['GRAFANA_ADMIN_PASSWORD'],
    });
  });

  it('keeps the history of both gateways in one database', () => {
    const { environment = {} } = configured['gateway'] ?? {};
    const password = configured['postgres']?.environment?.['POSTGRES_PASSWORD'];
    expect(password).toBe(env['HISTORY_PASSWORD']);
    expect(environment['READ_MODEL_URL']).toBe(`postgres://sluice:${password}@postgres:5432/sluice`);
  });

  it('does not start without its secrets', async () => {
    const kept = readFileSync(join(folder, '.env'), 'utf8');
    const without = kept.replace(/^NATS_GATEWAY_NKEY=.*$/m, '');
    await writeFile(join(folder, '.env'), without);
    await expect(config(['-q'])).rejects.toThrow(
      /NATS_GATEWAY_NKEY is missing a value: run npx pnpm init:production --nats/,
    );
    await writeFile(join(folder, '.env'), kept);
  });

  it('takes the digests of `pnpm pin:images` for every image', async () => {
    const nodeImage = nodeImageOf(readFileSync(join(root, 'Dockerfile'), 'utf8'));
    const images = imagesOf(configured, nodeImage);
    expect(images.length).toBeGreaterThan(9);
    const digests = new Map(images.map((image, n) => [image, `sha256:${String(n).padStart(64, '0')}`]));
    await writeFile(join(folder, 'digests.yml'), digestFile(configured, nodeImage, digests));
    const { stdout } = await config(['--format', 'json'], ['digests.yml']);
    const { services: pinned } = JSON.parse(stdout) as { services: Record<string, Configured> };
    for (const { image, build } of Object.values(pinned)) {
      expect(build === undefined ? image : build.args['NODE_IMAGE']).toMatch(/^[a-z].*:.*@sha256:0+\d+$/);
    }
    expect(() => digestFile(configured, nodeImage, new Map())).toThrow(/has no digest/);
  });

  it('looks at every secret of .env at its start', () => {
    const secrets = Object.keys(env).filter((name) => /PASSWORD$|SECRET$|REDACTION_KEY$/.test(name));
    expect(Object.keys(configured['volumes']?.environment ?? {}).toSorted()).toEqual(secrets.toSorted());
  });

  it('does not start with any of them that is a known password', () => {
    const { volumes } = configured;
    const [shell = '', flags = '', script = ''] = volumes?.command ?? [];
    const start = (secrets: Record<string, string>) =>
      spawnSync(shell, [flags, script.replaceAll('$$', '$')], {
        encoding: 'utf8',
        env: { PATH: process.env['PATH'], ...volumes?.environment, ...secrets },
      });
    for (const name of Object.keys(volumes?.environment ?? {})) {
      for (const known of knownSecrets) {
        const { status, stderr } = start({ [name]: known });
        expect([name, known, status, stderr]).toEqual([
          name,
          known,
          1,
          'A password in .env is a known default: run npx pnpm init:production\n',
        ]);
      }
    }
    // With its own it goes on to the volumes, which are not there.
    expect(start({}).stderr).toMatch(/^chown: .*\/volumes\//);
  });

  it('has no default of docker-compose.yml that is not known', () => {
    const base = readFileSync(join(root, 'docker-compose.yml'), 'utf8');
    const defaults = [...base.matchAll(/\$\{\w*(?:SECRET|PASSWORD|KEY)\w*:-([^}]+)\}/g)].map(([, value]) => value);
    expect(defaults.length).toBeGreaterThan(2);
    for (const value of defaults) expect(knownSecrets).toContain(value);
  });
});

describe('the broker', () => {
  let url: string;
  beforeAll(async () => {
    ({ url } = await site.startBroker('jetstream'));
  });

  const open = (
    user: string,
    settings: {
      NATS_NKEY_SEED?: string;
      NATS_USER?: string;
      NATS_PASSWORD?: string;
      NATS_CA?: string | undefined;
    } = {},
  ) => {
    const own = { NATS_NKEY_SEED: seedOf(user), NATS_CA: join(folder, 'deploy/secrets/ca.crt') };
    return connectService({ NATS_URL: url, ...own, ...settings }, user, 'test', { waitForServer: false });
  };

  it('lets each service in with its own seed, over TLS that the authority vouches for', async () => {
    for (const name of services) {
      const connection = await open(name);
      expect(connection.getServer()).toBe(url.replace('tls://', ''));
      await connection.close();
    }
    await expect(open('gateway', { NATS_NKEY_SEED: newNatsIdentity().seed })).rejects.toThrow(/[Aa]uthorization/);
    await expect(open('gateway', { NATS_CA: undefined })).rejects.toThrow();
  });

  it('takes no password, also not the public key as one', async () => {
    const withPassword = (user: string, password: string) =>
      connectService(
        { NATS_URL: url, NATS_USER: user, NATS_PASSWORD: password, NATS_CA: join(folder, 'deploy/secrets/ca.crt') },
        'gateway',
        'test',
        { waitForServer: false },
      );
    for (const password of ['', 'gateway', env['NATS_GATEWAY_NKEY'] ?? '']) {
      await expect(withPassword('gateway', password)).rejects.toThrow(/[Aa]uthorization/);
      await expect(withPassword(env['NATS_GATEWAY_NKEY'] ?? '', password)).rejects.toThrow(/[Aa]uthorization/);
    }
  });

  it('lets the gateway make the streams, and the image service none', async () => {
    const make = async (user: string): Promise<readonly string[]> => {
      const connection = await open(user);
      try {
        return (await provision(connection, topology, { replicas: 1 })).created;
      } finally {
        await connection.close();
      }
    };
    await expect(make('image')).rejects.toThrow();
    expect(await make('gateway')).toContain('JOBS');
  });

  it('lets the operator copy everything and bring it back into an empty broker, and the gateway neither', async () => {
    const command = (name: string, user: string, broker: string) => {
      const script = join(root, 'services/gateway/src/cli', `${name}.ts`);
      const parts = [join(folder, 'backup', user), '--without', 'objects', '--without', 'history'];
      const own = { NATS_URL: broker, NATS_USER: user, NATS_CA: join(folder, 'deploy/secrets/ca.crt') };
      const seed = { NATS_NKEY_SEED_FILE: join(folder, `deploy/secrets/nats/${user}.seed`) };
      return run(process.execPath, [script, ...parts], { env: { ...process.env, ...own, ...seed } });
    };
    await expect(command('backup', 'gateway', url)).rejects.toThrow(/permissions violation/i);
    expect((await command('backup', 'operator', url)).stdout).toMatch(/^stream {3}KV_api_keys, 0 messages$/m);
    const { url: other } = await site.startBroker('restored');
    expect((await command('restore', 'operator', other)).stdout).toContain('start the gateways');
    // Nothing is left to make or to set.
    const connection = await connectService(
      {
        NATS_URL: other,
        NATS_NKEY_SEED: seedOf('gateway'),
        NATS_CA: join(folder, 'deploy/secrets/ca.crt'),
      },
      'gateway',
      'test',
    );
    try {
      expect(await provision(connection, topology, { replicas: 1 })).toMatchObject({ created: [], updated: [] });
    } finally {
      await connection.close();
    }
  });
});

const caddy = await findCaddy();
if (caddy === undefined) console.warn('the proxy: not run, no Caddy 2.8 or newer is to be had here');

describe.skipIf(caddy === undefined)('the proxy', () => {
  const pages = ['/grafana/', '/jaeger/', '/prometheus/', '/nats/'];

  it('understands both files', async () => {
    for (const file of [join(root, 'Caddyfile'), join(root, 'deploy/caddy/prod.caddy')]) {
      const here = join(folder, 'deploy/caddy/Caddyfile');
      copyFileSync(file, here);
      const variables = {
        SITE_ADDRESS: 'localhost',
        ACME_EMAIL: 'a@example.com',
        OPERATOR_PASSWORD_HASH: env['OPERATOR_PASSWORD_HASH'],
      };
      const { stdout } = await run(caddy ?? '', ['adapt', '--validate', '--adapter', 'caddyfile', '--config', here], {
        env: { ...process.env, ...variables, XDG_DATA_HOME: folder },
      });
      for (const page of pages) expect(stdout).toContain(`"${page}*"`);
    }
  });
});

describe('what is published', () => {
  it('is named with its protection in deploy/README.md', () => {
    const readme = readFileSync(join(root, 'deploy/README.md'), 'utf8');
    const { services: base } = parse(readFileSync(join(root, 'docker-compose.yml'), 'utf8'), { merge: true }) as {
      services: Record<string, unknown>;
    };
    expect(Object.keys(base)).toContain('caddy');
    for (const path of ['/v1/', '/sluice/', '/grafana/', '/jaeger/', '/prometheus/', '/nats/', '/docs']) {
      expect(readme).toMatch(new RegExp(`^\\| \`${path}`, 'm'));
    }
  });
});
