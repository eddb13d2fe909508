// The Helm chart, and the manifests that are rendered from it. What needs helm says so where there is none.
import { execFile } from 'node:child_process';
import { cpSync, mkdtempSync, readdirSync, readFileSync, realpathSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { Ajv2020 } from 'ajv/dist/2020.js';
import { jobKindEntries } from '@sluice/contracts';
import {
  chartDigest,
  chartFolder,
  findHelm,
  MANIFEST_FLAGS,
  manifestFiles,
  newNatsIdentity,
  renderChart,
} from '@sluice/dev';
import { topology } from '@sluice/messaging';
import { natsFields, serviceFields, storeFields } from '@sluice/service';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { parse } from 'yaml';
import type { z } from 'zod';
import { manifestsOf, workloadsOf, type Manifest } from './manifests.ts';
import { policies, problemsOf } from './policies.ts';
import { schemaProblems } from './schema.ts';

const run = promisify(execFile);
const root = join(import.meta.dirname, '../..');
const read = (path: string): string => readFileSync(join(root, path), 'utf8');

interface Service {
  readonly image?: string;
  readonly secret: string;
  readonly secretKeys: readonly string[];
  readonly store: boolean;
  readonly env: Readonly<Record<string, string>>;
  readonly egress: readonly string[];
  readonly resources: { readonly limits: { readonly memory: string } };
  readonly scale?: { readonly consumers: readonly { readonly stream: string; readonly consumer: string }[] };
}
interface Values {
  readonly services: Readonly<Record<string, Service>>;
  readonly env: Readonly<Record<string, string>>;
  readonly network: { readonly peers: Readonly<Record<string, unknown>> };
}
const values = parse(read('deploy/helm/sluice/values.yaml')) as Values;
const services = Object.entries(values.services);
/** Whose program a service runs: `gateway-worker` is the gateway's, in another role. */
const imageOf = (name: string): string => values.services[name]?.image ?? name;
const kept = (): Manifest[] =>
  ['sluice.yaml', 'operators.yaml'].flatMap((file) => manifestsOf(read(`deploy/kubernetes/${file}`)));

describe('the values of the chart', () => {
  test('have every service, and what each may reach', () => {
    const images = new Set(services.map(([name]) => imageOf(name)));
    expect([...images].toSorted()).toEqual(readdirSync(join(root, 'services')).toSorted());
    for (const [, { egress }] of services) {
      for (const peer of egress) expect(Object.keys(values.network.peers)).toContain(peer);
    }
  });

  test.each(services)('give %s the settings that it reads, and all that it needs', async (name) => {
    const config = (await import(join(root, `services/${imageOf(name)}/src/config.ts`))) as Record<
      string,
      Record<string, z.ZodType>
    >;
    const own = config[`${imageOf(name)}Fields`] ?? {};
    const known: Record<string, z.ZodType> = { ...serviceFields, ...natsFields, ...own };
    const pod = workloadsOf(kept()).find(({ object }) => object.metadata.name === `sluice-${name}`)?.pod;
    const given = (pod?.containers[0]?.env ?? []).map((variable) => variable.name.replace(/_FILE$/, ''));
    const settings = given.filter((variable) => variable !== 'NODE_OPTIONS');
    expect(settings.filter((variable) => !(variable in known))).toEqual([]);
    const needed = Object.entries(known).filter(([, schema]) => !schema.safeParse(undefined).success);
    expect(needed.map(([variable]) => variable).filter((variable) => !given.includes(variable))).toEqual([]);
    // Without these a service would go on with what fits one machine.
    const placed = Object.keys(storeFields).some((variable) => variable in own)
      ? ['S3_ENDPOINT', 'S3_PUBLIC_ENDPOINT']
      : [];
    expect(given).toEqual(expect.arrayContaining(['SLUICE_ENV', 'NATS_URL', 'NATS_NKEY_SEED', 'INSTANCE', ...placed]));
  });

  test.each(services)('give %s the memory that it has in Compose', (name, { resources }) => {
    const limitIn = (file: string): string | undefined => {
      const text = read(file).replaceAll(/!(?:reset|override)\b/g, '');
      const { services: all } = parse(text, { merge: true }) as {
        services: Record<string, { mem_limit?: string } | null>;
      };
      return all[name]?.mem_limit;
    };
    const limit = limitIn('deploy/compose/prod.yml') ?? limitIn('docker-compose.yml') ?? '';
    const [, number, unit] = /^(\d+)([mg])$/.exec(limit) ?? [];
    expect(resources.limits.memory).toBe(`${number}${unit === 'g' ? 'Gi' : 'Mi'}`);
  });

  test('split the gateway by role: one half is reached by clients, both have its Secret', async () => {
    const { gateway, 'gateway-worker': worker } = values.services;
    expect([gateway?.env['ROLE'], worker?.env['ROLE'], worker?.image]).toEqual(['api', 'worker', 'gateway']);
    expect(worker?.secret).toBe(gateway?.secret);
    // What signs links and where the history lies is for answers.
    expect(gateway?.secretKeys.filter((key) => !worker?.secretKeys.includes(key))).toEqual([
      'READ_MODEL_URL',
      'UNSUBSCRIBE_SECRET',
    ]);
    expect(gateway?.egress.filter((peer) => !worker?.egress.includes(peer))).toEqual(['history']);
    const env = (name: string) =>
      workloadsOf(kept()).find(({ object }) => object.metadata.name === name)?.pod.containers[0]?.env ?? [];
    const of = (name: string) => new Map(env(name).map((each) => [each.name, each.value]));
    const [answering, driving] = [of('sluice-gateway'), of('sluice-gateway-worker')];
    expect(driving.size).toBeGreaterThan(15);
    // A limit, price or lifetime that one half had alone would be half a limit.
    const differing = [...driving].filter(([variable, value]) => answering.get(variable) !== value);
    expect(differing).toEqual([['ROLE', 'worker']]);
    const left = [...answering.keys()].filter((variable) => !driving.has(variable));
    expect(left.toSorted()).toEqual(['GRPC_PORT', 'PORT', 'READ_MODEL_URL_FILE', 'UNSUBSCRIBE_SECRET_FILE']);
    const ports = kept().filter(({ kind }) => kind === 'Service');
    expect(ports.map(({ metadata }) => metadata.name)).toEqual(['sluice-gateway']);
  });

  test('scale on every consumer that a service takes work from', () => {
    const scaledOn = services.flatMap(([name, { scale }]) =>
      (scale?.consumers ?? []).map(({ stream, consumer }) => `${name} ${stream} ${consumer}`),
    );
    const streamsOf: readonly (readonly [service: string, streams: readonly string[]])[] = [
      ...jobKindEntries.map(([, { service, lanes }]) => [service, Object.values(lanes)] as const),
      ['client', ['CLIENTS']],
    ];
    const wanted = streamsOf.flatMap(([service, streams]) =>
      topology.streams
        .filter(({ name }) => streams.includes(name))
        .flatMap(({ name, consumers }) => consumers.map((consumer) => `${service} ${name} ${consumer.name}`)),
    );
    expect(scaledOn.toSorted()).toEqual(wanted.toSorted());
  });

  test('fit their schema, which refuses what is wrong', () => {
    const schema = JSON.parse(read('deploy/helm/sluice/values.schema.json')) as object;
    const fits = new Ajv2020({ allErrors: true, strict: false }).compile(schema);
    expect(fits(values), JSON.stringify(fits.errors)).toBe(true);
    const faults: readonly (readonly [path: string, value: unknown])[] = [
      ['nats.replicas', 2],
      ['publicUrl', 'http://sluice.example.com'],
      ['services.image.env.S3_SECRET_ACCESS_KEY', 'in the clear'],
      ['autoscaling.mode', 'sometimes'],
      ['services.gateway.resources.limits', undefined],
      ['nats.publicKeys.gateway', newNatsIdentity().seed],
      ['replica', 3],
    ];
    for (const [path, value] of faults) {
      const changed = structuredClone(values) as unknown as Record<string, unknown>;
      const names = path.split('.');
      const last = names.pop() ?? '';
      const parent = names.reduce((at, name) => at[name] as Record<string, unknown>, changed);
      if (value === undefined) delete parent[last];
      else parent[last] = value;
      expect(fits(changed), path).toBe(false);
    }
  });

  test('have dashboards, rules and users from where they are written, with no copy', () => {
    const source = {
      dashboards: 'o11y/grafana/dashboards',
      rules: 'o11y/prometheus/rules',
      'users.conf': 'deploy/nats/users.conf',
    };
    for (const [name, path] of Object.entries(source)) {
      expect(realpathSync(join(chartFolder, 'files', name))).toBe(realpathSync(join(root, path)));
    }
  });
});

describe('the manifests of deploy/kubernetes', () => {
  test('are of the chart as it is: `pnpm gen:manifests`', () => {
    for (const file of readdirSync(join(root, 'deploy/kubernetes'))) {
      expect(read(`deploy/kubernetes/${file}`)).toContain(`${chartDigest()}.`);
    }
    expect(kept().length).toBeGreaterThan(25);
  });

  test('hold every policy', () => expect(problemsOf(kept())).toEqual([]));

  const pod = (manifests: Manifest[], name = 'sluice-image') =>
    workloadsOf(manifests).find(({ object }) => object.metadata.name === name)!.pod;
  const object = (manifests: Manifest[], kind: string) => manifests.find((one) => one.kind === kind)!;
  const faults: readonly (readonly [policy: string, what: string, change: (manifests: Manifest[]) => void])[] = [
    [
      'restricted',
      'a writable root filesystem',
      (all) => (pod(all).containers[0]!.securityContext!['readOnlyRootFilesystem'] = false),
    ],
    ['restricted', 'a pod that may be root', (all) => (pod(all)['securityContext'] = {})],
    [
      'restricted',
      'a path of the node',
      (all) => Object.assign(pod(all), { volumes: [{ name: 'a', hostPath: { path: '/' } }] }),
    ],
    ['pinned', 'an image of no one version', (all) => (pod(all).containers[0]!.image = 'ghcr.io/sluice/image:latest')],
    ['bounded', 'no limit of memory', (all) => delete pod(all).containers[0]!.resources!.limits],
    ['probed', 'no readiness probe', (all) => delete pod(all).containers[0]!.readinessProbe],
    ['disruptable', 'a grace shorter than the work', (all) => (pod(all)['terminationGracePeriodSeconds'] = 20)],
    ['disruptable', 'no disruption budget', (all) => all.splice(all.indexOf(object(all, 'PodDisruptionBudget')), 1)],
    ['closed', 'a policy for every peer', (all) => (object(all, 'NetworkPolicy').spec['egress'] = [{}])],
    [
      'closed',
      'pods that no policy selects',
      (all) => {
        for (const one of all.filter(({ kind }) => kind === 'NetworkPolicy'))
          one.spec['podSelector'] = { matchLabels: { a: 'b' } };
      },
    ],
    [
      'secretsByReference',
      'a secret in the environment',
      (all) => pod(all).containers[0]!.env!.push({ name: 'S3_SECRET_ACCESS_KEY', value: 'x' }),
    ],
    [
      'scaled',
      'no error for a missing consumer',
      (all) =>
        ((object(all, 'ScaledObject').spec['triggers'] as { metadata: Record<string, string> }[])[0]!.metadata[
          'ignoreNullValues'
        ] = 'true'),
    ],
    [
      'scaled',
      'two that say how many there are',
      (all) => {
        for (const one of all) if (one.kind === 'Deployment') one.spec['replicas'] = 2;
      },
    ],
    ['selecting', 'a service without pods', (all) => (object(all, 'Service').spec['selector'] = { a: 'b' })],
  ];
  test.each(faults)('break the policy `%s` with %s', (policy, _, change) => {
    const broken = structuredClone(kept());
    change(broken);
    expect(policies[policy]?.(broken)).not.toEqual([]);
  });

  test('fit the schemas of Kubernetes, KEDA and the Prometheus operator, which refuse what is wrong', async () => {
    expect(await schemaProblems(kept())).toEqual([]);
    const broken = structuredClone(kept());
    pod(broken)['terminationGracePeriod'] = 5;
    pod(broken, 'sluice-email').containers[0]!.image = 7 as unknown as string;
    object(broken, 'ScaledObject').spec['pollingIntervall'] = 10;
    expect((await schemaProblems(broken)).length).toBeGreaterThanOrEqual(3);
  });
});

const helm = await findHelm();
if (helm === undefined) console.warn('helm lint and helm template: not run, there is no helm here (HELM names one)');

describe.skipIf(helm === undefined)('helm', () => {
  let folder: string;
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'sluice-chart-'));
    cpSync(chartFolder, folder, { recursive: true, dereference: true });
  });
  afterAll(() => rmSync(folder, { recursive: true, force: true }));
  const render = (...flags: string[]) => renderChart(helm ?? '', chartFolder, flags);
  const lint = (chart: string) => run(helm ?? '', ['lint', '--strict', '--kube-version', '1.34.0', chart]);

  test('renders the manifests of deploy/kubernetes', async () => {
    const files = manifestFiles(await render(...MANIFEST_FLAGS), chartDigest());
    for (const [name, text] of Object.entries(files)) expect(read(`deploy/kubernetes/${name}`), name).toBe(text);
  });

  const keys = readdirSync(join(root, 'services'))
    .concat('operator')
    .map((user) => `nats.publicKeys.${user}=${newNatsIdentity().publicKey}`);
  const modes: readonly (readonly [what: string, ...flags: string[]])[] = [
    ['everything', '--set', ['externalSecrets.enabled=true', ...keys].join()],
    ['without KEDA', '--set', 'autoscaling.mode=hpa'],
    ['without scaling or monitoring', '--set', 'autoscaling.mode=off,monitoring.podMonitors=false', ...MANIFEST_FLAGS],
    ['a gateway in one process', '--set', 'services.gateway-worker=null,services.gateway.env.ROLE=all'],
    ['by digest', '--set', `image.tag=@sha256:${'a'.repeat(64)}`],
  ];
  test.each(modes)('renders what holds policies and schemas: %s', async (_, ...flags) => {
    const manifests = manifestsOf(await render(...flags));
    expect(problemsOf(manifests)).toEqual([]);
    expect(await schemaProblems(manifests)).toEqual([]);
  });

  test('takes every rule and dashboard, and the public keys of users', async () => {
    const text = await render('--set', keys.join());
    const manifests = manifestsOf(text) as (Manifest & { data?: Record<string, string> })[];
    const rules = manifests.filter(({ kind }) => kind === 'PrometheusRule').map(({ spec }) => spec);
    const files = readdirSync(join(root, 'o11y/prometheus/rules')).toSorted();
    expect(rules).toEqual(files.map((file) => parse(read(`o11y/prometheus/rules/${file}`)) as object));
    const dashboards = Object.assign({}, ...manifests.map(({ data }) => data)) as Record<string, string>;
    for (const file of readdirSync(join(root, 'o11y/grafana/dashboards'))) {
      expect(JSON.parse(dashboards[file] ?? '')).toEqual(JSON.parse(read(`o11y/grafana/dashboards/${file}`)));
    }
    expect(dashboards['users.conf']).not.toMatch(/\$NATS_/);
    for (const key of keys) expect(dashboards['users.conf']).toContain(key.split('=')[1]);
  });

  test('asks for each Secret once, with the keys of all that mount it', async () => {
    const secrets = manifestsOf(await render('--set', 'externalSecrets.enabled=true'))
      .filter(({ kind }) => kind === 'ExternalSecret')
      .map(({ spec }) => spec as { target: { name: string }; data: { secretKey: string }[] });
    const names = secrets.map(({ target }) => target.name);
    expect(new Set(names).size).toBe(names.length);
    for (const [, { secret, secretKeys }] of services) {
      const data = secrets.find(({ target }) => target.name === secret)?.data ?? [];
      expect(data.map(({ secretKey }) => secretKey)).toEqual(expect.arrayContaining([...secretKeys]));
    }
  });

  test('makes another Job for another version, and the same one again for the same', async () => {
    const names = async (...flags: string[]) =>
      manifestsOf(await render(...flags))
        .filter(({ kind }) => kind === 'Job')
        .map(({ metadata }) => metadata.name);
    const before = await names();
    expect(before).toHaveLength(2);
    expect(await names('--set', 'monitoring.rules=false')).toEqual(before);
    expect((await names('--set', 'image.tag=9.9.9')).filter((name) => before.includes(name))).toEqual([]);
  });

  test('refuses values that do not fit', async () => {
    await expect(render('--set', 'nats.replicas=2')).rejects.toThrow(/values don't meet the specifications/);
    await expect(render('--set', 'services.image.env.S3_SECRET_ACCESS_KEY=x')).rejects.toThrow(/services/);
    await expect(render('--set', 'services.gateway-worker=null')).rejects.toThrow(/no gateway drives jobs/);
    await expect(render('--set', 'services.gateway.env.ROLE=worker')).rejects.toThrow(/no gateway answers clients/);
  });

  test('lints the chart, and finds a template that is broken', async () => {
    await lint(folder);
    writeFileSync(join(folder, 'templates/broken.yaml'), '{{ .Values.nothing.there }}\n');
    await expect(lint(folder)).rejects.toThrow();
  });
});
