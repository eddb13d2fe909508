import { execFile } from 'node:child_process';
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { findNatsProgram, newNatsIdentity } from '@sluice/dev';
import { natsFields, serviceFields, storeFields } from '@sluice/service';
import { describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { findCompose } from './tools/compose-command.ts';
import { defaultBodies } from '../services/gateway/src/http/bodies.ts';

const run = promisify(execFile);
const root = join(import.meta.dirname, '..');
const read = (path: string): string => readFileSync(join(root, path), 'utf8');

interface ComposeService {
  image?: string;
  build?: { args: { SERVICE: string } };
  user?: string;
  read_only?: boolean;
  cap_drop?: string[];
  cap_add?: string[];
  security_opt?: string[];
  privileged?: boolean;
  network_mode?: string;
  mem_limit?: string;
  restart?: string;
  pids_limit?: number;
  logging?: { options: Record<string, string> };
  ports?: string[];
  volumes?: string[];
  environment?: Record<string, string>;
  depends_on?: Record<string, { condition: string }>;
  healthcheck?: { test: string[] };
  stop_grace_period?: string;
  container_name?: string;
  networks?: string[];
  command?: string[];
}

const compose = parse(read('docker-compose.yml'), { merge: true }) as {
  services: Record<string, ComposeService>;
  volumes: Record<string, null>;
  networks: Record<string, { internal?: boolean }>;
};
const all = Object.entries(compose.services);
const own = all.filter(([, service]) => service.build !== undefined);
const thirdParty = all.filter(([, service]) => service.build === undefined);
const watchers = ['collector', 'jaeger', 'prometheus', 'nats-exporter', 'loki', 'grafana'];
const sourceOf = (mount: string): string => mount.split(':')[0] ?? '';

function workspaceManifests(): string[] {
  const { packages } = parse(read('pnpm-workspace.yaml')) as { packages: string[] };
  return packages.flatMap((entry) => {
    if (!entry.endsWith('/*')) return [`${entry}/package.json`];
    const folder = entry.slice(0, -2);
    const names = readdirSync(join(root, folder), { withFileTypes: true }).filter((one) => one.isDirectory());
    return names.map((one) => `${folder}/${one.name}/package.json`);
  });
}

describe('every container', () => {
  it.each(all)('%s is locked down', (_, service) => {
    expect(service.read_only).toBe(true);
    expect(service.cap_drop).toEqual(['ALL']);
    expect(service.security_opt).toContain('no-new-privileges:true');
    expect(service.privileged ?? false).toBe(false);
    expect(['none', undefined]).toContain(service.network_mode);
    expect(service.volumes?.join() ?? '').not.toContain('docker.sock');
  });

  it.each(all)('%s runs as an unprivileged user', (name, service) => {
    // The one exception gives fresh volumes to their users: without a network, with one capability, for a moment.
    if (name === 'volumes') {
      expect(service).toMatchObject({ network_mode: 'none', cap_add: ['CHOWN'], restart: 'no' });
      return;
    }
    expect(service.user).toMatch(/^(node|[1-9]\d*:\d+)$/);
    expect(service.cap_add ?? []).toEqual(name === 'caddy' ? ['NET_BIND_SERVICE'] : []);
  });

  it.each(all)('%s cannot take the machine with it', (_, service) => {
    expect(service.mem_limit).toMatch(/^\d+[mg]$/);
    expect(service.pids_limit).toBeGreaterThan(0);
    expect(service.logging?.options).toMatchObject({ 'max-size': '10m', 'max-file': '3' });
  });

  it.each(all.filter(([name]) => name !== 'volumes'))('%s is started again when it dies', (_, service) => {
    expect(service.restart).toBe('unless-stopped');
  });

  // Go collects by its own growth otherwise: five large uploads at once had the kernel end the object store.
  it.each(thirdParty.filter(([name]) => name !== 'volumes'))(
    '%s, a Go program, knows its memory limit',
    (name, service) => {
      // Prometheus reads that of its container by itself, from version 3 on.
      if (name === 'prometheus') return;
      const [, mib] = /^(\d+)MiB$/.exec(service.environment?.['GOMEMLIMIT'] ?? '') ?? [];
      const limitMib =
        Number.parseInt(service.mem_limit ?? '', 10) * (service.mem_limit?.endsWith('g') === true ? 1024 : 1);
      expect(Number(mib) / limitMib).toBeGreaterThan(0.5);
      expect(Number(mib) / limitMib).toBeLessThan(0.85);
    },
  );

  it.each(all)('%s is reachable from this machine only, and changes none of its files', (_, service) => {
    for (const port of service.ports ?? []) expect(port).toMatch(/^127\.0\.0\.1:/);
    for (const mount of service.volumes ?? []) {
      if (mount.startsWith('.')) expect(mount).toMatch(/:ro$/);
      else expect(Object.keys(compose.volumes)).toContain(sourceOf(mount));
    }
  });

  it.each(thirdParty)('%s is of one version', (_, service) => {
    expect(service.image).toMatch(/:v?\d+\.\d+(\.\d+)?(-alpine)?$/);
  });

  it.each(all)('%s mounts files that exist', (_, service) => {
    const mounted = (service.volumes ?? []).map(sourceOf).filter((source) => source.startsWith('.'));
    for (const source of mounted) expect(() => statSync(join(root, source)), source).not.toThrow();
  });
});

describe('a volume that is given to the user of its store', () => {
  const files = ['docker-compose.yml', 'deploy/compose/cluster.yml', 'deploy/compose/prod.yml'];
  const mounts = files.flatMap((file) => {
    const { services } = parse(read(file).replaceAll(/!(?:reset|override)\b/g, ''), { merge: true }) as {
      services: Record<string, ComposeService | null>;
    };
    return Object.entries(services).flatMap(([name, service]) =>
      (service?.volumes ?? []).map((mount) => ({ file, name, mount })),
    );
  });
  const given = new Set(mounts.filter(({ name }) => name === 'volumes').map(({ mount }) => sourceOf(mount)));

  // Docker copies what the image has at the place into an empty volume, with its owner: Caddy could not write to its own.
  it('is mounted without what the image has at that place', () => {
    expect(given.size).toBeGreaterThan(8);
    const stores = mounts.filter(({ name, mount }) => name !== 'volumes' && given.has(sourceOf(mount)));
    expect(new Set(stores.map(({ mount }) => sourceOf(mount)))).toEqual(given);
    expect(stores.filter(({ mount }) => !mount.endsWith(':nocopy'))).toEqual([]);
  });
});

describe('health', () => {
  const withoutCheck = all.filter(([, service]) => !service.healthcheck && !service.build).map(([name]) => name);

  it('is asked of everything that can answer', () => {
    // The first is a moment's work, the others are images with one binary that asks nothing.
    expect(withoutCheck).toEqual(['volumes', 'collector', 'nats-exporter']);
    expect(read('Dockerfile')).toMatch(/^HEALTHCHECK .*\n\s+CMD \["node"/m);
  });

  it.each(thirdParty)('of %s is asked at 127.0.0.1: localhost may be ::1, where nothing listens', (_, service) => {
    expect(service.healthcheck?.test.join(' ') ?? '').not.toContain('localhost');
  });

  it.each(all)('is what %s waits for', (_, service) => {
    for (const [dependency, { condition }] of Object.entries(service.depends_on ?? {})) {
      if (condition === 'service_healthy') expect(withoutCheck).not.toContain(dependency);
    }
  });
});

/** Settings that Compose passes to no service, and why. */
const NOT_CHOSEN: readonly RegExp[] = [
  // Of the image: where it lies in its container.
  /^CONSOLE_DIRECTORY$/,
  // deploy/compose/prod.yml has users by seed, deploy/compose/cluster.yml three brokers.
  /^NATS_(USER|PASSWORD|NKEY_SEED|CREDENTIALS|CA|REPLICAS)$/,
  // The store is the one of this file.
  /^S3_REGION$/,
  // Every replica has the same environment.
  /^ROLE$/,
  // Derived from mem_limit.
  /^(BODY_BUDGET|DECODER_MEMORY)_BYTES$/,
  // Of pipelines: their defaults fit the containers, and several services know some of them by the same name.
  /^(\w+_)?(CONCURRENCY|HANDLER_TIMEOUT_MS|RETRY_ATTEMPTS|RETRY_BASE_MS|RETRY_MAX_MS)$/,
];

describe('the services', () => {
  it('are the folders of services/', () => {
    expect(own.map(([name]) => name).toSorted()).toEqual(readdirSync(join(root, 'services')).toSorted());
    for (const [name, service] of own) expect(service.build?.args.SERVICE).toBe(name);
  });

  it.each(own)('%s starts without what watches it', (_, service) => {
    for (const dependency of Object.keys(service.depends_on ?? {})) expect(watchers).not.toContain(dependency);
  });

  it.each(['nats', 's3'])('%s may write what it has before it is killed', (name) => {
    expect(Number.parseInt(compose.services[name]?.stop_grace_period ?? '0', 10)).toBeGreaterThanOrEqual(30);
  });

  it.each(own)('%s may end its work before it is killed', (_, service) => {
    const graceMs = Number.parseInt(service.stop_grace_period ?? '0', 10) * 1000;
    expect(graceMs).toBeGreaterThan(Number(service.environment?.['DRAIN_TIMEOUT_MS']));
  });

  it.each(own)('%s can be scaled', (_, service) => {
    expect(service.container_name).toBeUndefined();
    expect(service.ports).toBeUndefined();
  });

  const ownFields = async (name: string): Promise<readonly string[]> => {
    const config = (await import(join(root, `services/${name}/src/config.ts`))) as Record<string, object>;
    return Object.keys(config[`${name}Fields`] ?? {});
  };
  const settingsOf = ({ environment = {} }: ComposeService): readonly string[] =>
    Object.keys(environment)
      .filter((variable) => variable !== 'NODE_OPTIONS')
      .map((variable) => variable.replace(/_FILE$/, ''));

  it.each(own)('%s is given settings that it reads', async (name, service) => {
    const shared = [serviceFields, natsFields, storeFields].flatMap((fields) => Object.keys(fields));
    const known = [...shared, ...(await ownFields(name))];
    expect(settingsOf(service).filter((variable) => !known.includes(variable))).toEqual([]);
  });

  it.each(own)("%s can be given every setting that is its owner's to choose", async (name, service) => {
    const left = (await ownFields(name)).filter((variable) => !settingsOf(service).includes(variable));
    expect(left.filter((variable) => !NOT_CHOSEN.some((pattern) => pattern.test(variable)))).toEqual([]);
  });

  it('leave the gateway a quarter of its memory beside its heap and the bodies that it may hold', () => {
    const { environment = {}, mem_limit: limit } = compose.services['gateway']!;
    const heapMib = Number(/--max-old-space-size=(\d+)/.exec(String(environment['NODE_OPTIONS']))?.[1]);
    expect(heapMib + defaultBodies.totalBytes / 2 ** 20).toBeLessThanOrEqual(0.75 * Number.parseInt(String(limit), 10));
  });
});

describe('what watches the services', () => {
  it('is told how many traces to keep', () => {
    const wanted = [...read('o11y/collector/config.yaml').matchAll(/\$\{env:(\w+)/g)].map(([, name]) => name ?? '');
    expect(wanted).toEqual(['TRACE_KEEP_PERCENT']);
    expect(compose.services['collector']?.environment?.['TRACE_KEEP_PERCENT']).toBe('${TRACE_KEEP_PERCENT:-100}');
  });

  it('links to the port that the proxy is published on', () => {
    const addresses = read('docker-compose.yml').match(/http:\/\/localhost:\S+/g) ?? [];
    const [, ...used] = addresses;
    // The first is in the comment at the top.
    expect(used.length).toBeGreaterThan(2);
    for (const address of used) expect(address).toMatch(/^http:\/\/localhost:\$\{HTTP_PORT:-8080\}/);
  });
});

describe('the store', () => {
  it('is near those who store objects, and to no other service: half of it asks for no key', () => {
    const near = all.filter(([, service]) => service.networks?.includes('store')).map(([name]) => name);
    expect(near.toSorted()).toEqual(['caddy', 'email', 'gateway', 'image', 's3']);
    expect(compose.services['s3']?.networks).toEqual(['store']);
    expect(compose.networks['store']?.internal).toBe(true);
  });

  it('is closed without a key', () => {
    expect(Object.keys(compose.services['s3']?.environment ?? {})).toEqual(
      expect.arrayContaining(['AWS_ACCESS_KEY_ID', 'AWS_SECRET_ACCESS_KEY']),
    );
    expect(compose.services['s3']?.command?.join(' ')).not.toMatch(/allowedOrigins=\*/);
  });
});

describe('the proxy', () => {
  it('leads to services that exist', () => {
    const files = read('Caddyfile') + read('deploy/caddy/routes.caddy');
    const upstreams = [...files.matchAll(/(?:reverse_proxy|dynamic a) ([a-z0-9]+)[ :]\d+/g)].map(([, name]) => name);
    expect(upstreams).toContain('gateway');
    for (const upstream of upstreams) expect(Object.keys(compose.services)).toContain(upstream);
  });
});

describe('the image', () => {
  const dockerfile = read('Dockerfile');

  it('installs from the manifest of every workspace package', () => {
    for (const manifest of workspaceManifests()) {
      expect(dockerfile).toContain(`COPY ${manifest} ${manifest.replace('package.json', '')}\n`);
    }
  });

  it('has what the tsconfig.json of the console extends: Vite reads it and stops where it is not', () => {
    const { extends: base = '' } = JSON.parse(read('apps/console/tsconfig.json')) as { extends?: string };
    const name = base.replace('../../', '');
    expect(dockerfile).toMatch(new RegExp(`^COPY ${name} \\./$`, 'm'));
    expect(read('.dockerignore').split('\n')).toContain(`!${name}`);
  });

  it('is of one Node version, runs as node and is not built from more than is named', () => {
    expect(dockerfile).toMatch(/^ARG NODE_IMAGE=node:\d+\.\d+\.\d+-bookworm-slim$/m);
    expect(dockerfile).toMatch(/^USER node$/m);
    expect(dockerfile).not.toMatch(/^# *syntax/m);
    const ignored = read('.dockerignore')
      .split('\n')
      .filter((line) => !line.startsWith('#'));
    expect(ignored[0]).toBe('*');
    expect(ignored).toContain('**/node_modules');
  });
});

describe('the broker', () => {
  it.each(['dev.conf', 'prod.conf', 'cluster.conf'])('accepts %s', async (name) => {
    const program = await findNatsProgram();
    if (program.kind !== 'binary') throw new Error('no nats-server binary to check the file with');
    const folder = await mkdtemp(join(tmpdir(), 'sluice-conf-'));
    const file = join(folder, name);
    // Certificates are the deployment's; everything else of the file is checked as it is.
    await writeFile(file, read(`deploy/nats/${name}`).replace(/^tls \{[\s\S]*?^\}/m, ''));
    await writeFile(join(folder, 'users.conf'), read('deploy/nats/users.conf'));
    const keys = Object.fromEntries(
      [...readdirSync(join(root, 'services')), 'operator'].map((user) => [
        `NATS_${user.toUpperCase()}_NKEY`,
        newNatsIdentity().publicKey,
      ]),
    );
    const env = { ...process.env, SERVER_NAME: 'a', MONITORING: '127.0.0.1:0', ...keys };
    const check = (environment: NodeJS.ProcessEnv) => run(program.path, ['-t', '-c', file], { env: environment });
    // No number in the file fits every disk.
    await expect(check(env)).rejects.toThrow(/NATS_STORE_BYTES/);
    const { stderr } = await check({ ...env, NATS_STORE_BYTES: '1000000000' });
    expect(stderr).toContain('is valid');
    await rm(folder, { recursive: true });
  });

  it.each(['prod.conf', 'cluster.conf'])('syncs before it acknowledges in %s', (name) => {
    expect(read(`deploy/nats/${name}`)).toMatch(/^\s*sync_interval: always$/m);
  });
});

const command = await findCompose();
const reason = 'no Docker Compose on this machine, and none to be had from Debian';
if (command === undefined) console.warn(`docker compose config: not run, ${reason}`);

async function composeConfig(file: string, ...flags: string[]): Promise<{ stdout: string; stderr: string }> {
  const [program, ...args] = command ?? ['docker', 'compose'];
  return await run(program, [...args, '-f', join(root, file), 'config', ...flags], { maxBuffer: 4 * 1024 * 1024 });
}

describe.skipIf(command === undefined)('docker compose config', () => {
  it.each(['docker-compose.yml', 'docker-compose.lb-image.yml', 'docker-compose.cluster.yml'])(
    'accepts %s',
    async (file) => {
      const { stderr } = await composeConfig(file, '-q');
      expect(stderr).toBe('');
    },
  );

  it('makes two replicas of the image service out of one definition', async () => {
    const { stdout } = await composeConfig('docker-compose.lb-image.yml', '--format', 'json');
    const { services } = JSON.parse(stdout) as { services: Record<string, { deploy?: { replicas?: number } }> };
    expect(services['image']?.deploy?.replicas).toBe(2);
    expect(Object.keys(services).toSorted()).toEqual(Object.keys(compose.services).toSorted());
  });

  it('makes a cluster of three brokers, everything on all of them, and two of each service', async () => {
    const { stdout } = await composeConfig('docker-compose.cluster.yml', '--format', 'json');
    const { services } = JSON.parse(stdout) as {
      services: Record<
        string,
        {
          deploy?: { replicas?: number };
          environment: Record<string, string>;
          ports?: unknown[];
          volumes?: { source: string; target: string }[];
        }
      >;
    };
    const brokers = ['nats', 'nats-2', 'nats-3'];
    for (const [name] of own) {
      expect(services[name]?.deploy?.replicas).toBe(2);
      expect(services[name]?.environment['NATS_URL']).toBe(brokers.map((broker) => `nats://${broker}:4222`).join());
    }
    expect(services['gateway']?.environment['NATS_REPLICAS']).toBe('3');
    for (const broker of brokers) {
      expect(services[broker]?.environment['SERVER_NAME']).toBe(broker);
      expect(read('deploy/nats/cluster.conf')).toContain(`nats://${broker}:6222`);
      expect(services[broker]?.ports?.length ?? 0).toBe(broker === 'nats' ? 1 : 0);
    }
    // A server that joins a cluster deletes what it stored as a single one, so none has the volume of the other file.
    const stores = brokers.map((broker) => services[broker]?.volumes?.find(({ target }) => target === '/data')?.source);
    const single = compose.services['nats']?.volumes?.find((mount) => mount.includes(':/data'));
    expect(new Set([...stores, sourceOf(single ?? '')]).size).toBe(4);
    const given = services['volumes']?.volumes?.map(({ source }) => source);
    expect(given).toEqual(expect.arrayContaining(stores));
  });
});
