// docker-compose.prod.yml and what `pnpm init:production` makes for it.
import { execFile, spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { copyFileSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { cp, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { findNatsProgram, freePort, newNatsIdentity } from '@sluice/dev';
import { connectService, provision, topology } from '@sluice/messaging';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { findCompose } from './tools/compose-command.ts';
import { findCaddy } from './tools/find-caddy.ts';

const run = promisify(execFile);
const root = join(import.meta.dirname, '..');
const services = readdirSync(join(root, 'services'));
const main = join(root, 'dev/src/production/main.ts');

/** A copy of what the files name, with secrets of its own. */
let folder: string;
let env: Record<string, string>;
let shown: string;
const init = (...args: string[]) =>
  spawnSync(process.execPath, [main, '--root', folder, ...args], { encoding: 'utf8', timeout: 60_000 });

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'sluice-production-'));
  await cp(join(root, 'deploy'), join(folder, 'deploy'), {
    recursive: true,
    filter: (path) => !path.endsWith('secrets'),
  });
  for (const name of services) await mkdir(join(folder, 'services', name), { recursive: true });
  for (const name of ['docker-compose.yml', 'docker-compose.prod.yml'])
    copyFileSync(join(root, name), join(folder, name));
  const made = init('--domain', 'sluice.example.com', '--email', 'admin@example.com');
  expect(made.stderr).toBe('');
  shown = made.stdout;
  env = Object.fromEntries(
    readFileSync(join(folder, '.env'), 'utf8')
      .split('\n')
      .filter((line) => /^[A-Z]/.test(line))
      .map((line) => [line.slice(0, line.indexOf('=')), line.slice(line.indexOf('=') + 1).replaceAll("'", '')]),
  );
});
afterAll(() => rm(folder, { recursive: true, force: true }));

const seedOf = (user: string): string => readFileSync(join(folder, `deploy/secrets/nats/${user}.seed`), 'utf8').trim();

/** Resolves when a process has written this to its standard error, and goes on reading it. */
function said(child: ChildProcess, text: string): Promise<void> {
  let log = '';
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('exit', () => reject(new Error(`it ended:\n${log}`)));
    child.stderr?.on('data', (chunk: Buffer) => {
      if (log.includes(text)) return;
      log += chunk.toString();
      if (log.includes(text)) resolve();
    });
  });
}

async function stop(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const ended = once(child, 'exit');
  child.kill();
  await ended;
}

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

interface Configured {
  environment?: Record<string, string>;
  ports?: { published: string }[];
  profiles?: string[];
  command?: string[];
  volumes?: { source: string; target: string; read_only?: boolean }[];
}

describe.skipIf(compose === undefined)('docker-compose.prod.yml', () => {
  const config = (...flags: string[]) => {
    const [program, ...args] = compose ?? ['docker'];
    const { HOME, PATH } = process.env;
    return run(program, [...args, '-f', 'docker-compose.prod.yml', 'config', ...flags], {
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
    const { stdout } = await config('--format', 'json');
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
    await expect(config('-q')).rejects.toThrow(
      /NATS_GATEWAY_NKEY is missing a value: run npx pnpm init:production --nats/,
    );
    await writeFile(join(folder, '.env'), kept);
  });

  it.each(['sluice-dev', 'sluice-dev-secret', 'admin', 'password'])(
    'does not start with the known password %s',
    async (known) => {
      const { volumes } = configured;
      const [shell = '', flags = '', script = ''] = volumes?.command ?? [];
      const start = (secrets: Record<string, string>) =>
        spawnSync(shell, [flags, script.replaceAll('$$', '$')], {
          encoding: 'utf8',
          env: { PATH: process.env['PATH'], ...volumes?.environment, ...secrets },
        });
      for (const name of Object.keys(volumes?.environment ?? {})) {
        const { status, stderr } = start({ [name]: known });
        expect([status, stderr]).toEqual([1, 'A password in .env is a known default: run npx pnpm init:production\n']);
      }
      // With its own it goes on to the volumes, which are not there.
      expect(start({}).stderr).toMatch(/^chown: .*\/volumes\//);
    },
  );
});

describe('the broker', () => {
  const servers: ChildProcess[] = [];
  let url: string;
  const start = async (name: string): Promise<string> => {
    const program = await findNatsProgram();
    if (program.kind !== 'binary') throw new Error('no nats-server binary to run the configuration with');
    const port = await freePort();
    const conf = readFileSync(join(folder, 'deploy/nats/prod.conf'), 'utf8')
      .replaceAll('/etc/nats/tls/tls.', `${folder}/deploy/secrets/nats.`)
      .replace('0.0.0.0:4222', `127.0.0.1:${port}`)
      .replace('/data', join(folder, name));
    const file = join(folder, `deploy/nats/${name}.conf`);
    await writeFile(file, conf);
    const variables = { SERVER_NAME: 'sluice', MONITORING: '127.0.0.1:-1', ...env };
    const server = spawn(program.path, ['-c', file], {
      env: { ...process.env, ...variables },
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    servers.push(server);
    await said(server, 'Server is ready');
    return `tls://localhost:${port}`;
  };
  beforeAll(async () => {
    url = await start('jetstream');
  });
  afterAll(async () => {
    for (const server of servers) await stop(server);
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
  }, 60_000);

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
    const other = await start('restored');
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
  }, 60_000);
});

const caddy = await findCaddy();
if (caddy === undefined) console.warn('the proxy: not run, no Caddy 2.8 or newer is to be had here');

describe.skipIf(caddy === undefined)('the proxy', () => {
  const start = async (file: string, address: string): Promise<ChildProcess> => {
    const password = { OPERATOR_PASSWORD_HASH: env['OPERATOR_PASSWORD_HASH'], ACME_EMAIL: 'a@example.com' };
    const proxy = spawn(caddy ?? '', ['run', '--adapter', 'caddyfile', '--config', file], {
      env: { ...process.env, ...password, SITE_ADDRESS: address, XDG_DATA_HOME: folder, XDG_CONFIG_HOME: folder },
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    await said(proxy, 'serving initial configuration');
    return proxy;
  };
  const pages = ['/grafana/', '/jaeger/', '/prometheus/', '/nats/'];

  it('asks for a password before every page of an operator, and for none before the API', async () => {
    const port = await freePort();
    const file = join(folder, 'deploy/caddy/here.caddy');
    // Its own port has no place beside other tests.
    const text = readFileSync(join(folder, 'deploy/caddy/prod.caddy'), 'utf8').replace(/^:2020 \{[\s\S]*?^\}/m, '');
    await writeFile(file, text);
    const proxy = await start(file, `http://127.0.0.1:${port}`);
    try {
      const ask = async (path: string, password?: string): Promise<number> => {
        const headers = password ? { authorization: `Basic ${btoa(`operator:${password}`)}` } : {};
        return (await fetch(`http://127.0.0.1:${port}${path}`, { headers })).status;
      };
      const operator = /password {2}(\S+)/.exec(shown)?.[1];
      for (const page of [...pages, '/grafana/api/x', '/prometheus/api/v1/query', '/nats/connz']) {
        expect([page, await ask(page)]).toEqual([page, 401]);
        expect([page, await ask(page, 'sluice-dev')]).toEqual([page, 401]);
        // Let through: and nothing is behind the proxy here.
        expect([page, await ask(page, operator)]).toEqual([page, 502]);
      }
      for (const path of ['/v1/jobs', '/', '/docs', '/sluice/pdf/x'])
        expect(await ask(path)).toBeGreaterThanOrEqual(502);
    } finally {
      await stop(proxy);
    }
  }, 60_000);

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
