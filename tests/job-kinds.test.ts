// What a kind of job needs outside of TypeScript. Each failure names the file and the entry that is missing there.
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { jobKindEntries, jobKindNames, jobKinds } from '@sluice/contracts';
import { describe, expect, test } from 'vitest';
import { parse } from 'yaml';

const root = join(import.meta.dirname, '..');
const read = (path: string): string => readFileSync(join(root, path), 'utf8');
const yaml = (path: string): unknown => parse(read(path), { merge: true });

interface Compose {
  readonly services: Readonly<Record<string, { readonly build?: { readonly args: { readonly SERVICE: string } } }>>;
}
interface Scrapes {
  readonly scrape_configs: readonly { readonly job_name: string }[];
}
interface Rules {
  readonly groups: readonly { readonly rules: readonly { readonly alert?: string; readonly expr: string }[] }[];
}

function alert(file: string, name: string): string {
  const { groups } = yaml(`o11y/prometheus/rules/${file}`) as Rules;
  return groups.flatMap(({ rules }) => rules).find((rule) => rule.alert === name)?.expr ?? '';
}

describe.each(jobKindEntries)('the kind %s', (name, kind) => {
  const { service, lanes, sources, result } = kind;

  test('has a service, and the image recipe copies its manifest', () => {
    expect(existsSync(join(root, `services/${service}/src/main.ts`)), `services/${service}/src/main.ts`).toBe(true);
    expect(read('Dockerfile'), 'Dockerfile').toContain(`COPY services/${service}/package.json services/${service}/`);
  });

  test('has a container in docker-compose.yml', () => {
    const { services } = yaml('docker-compose.yml') as Compose;
    expect(services[service]?.build?.args.SERVICE, `docker-compose.yml: services.${service}`).toBe(service);
  });

  // Beside `pnpm dev`, the running stack tells Prometheus its targets: o11y/prometheus/dev.yml.
  test('is scraped by o11y/prometheus/prometheus.yml', () => {
    const { scrape_configs: jobs } = yaml('o11y/prometheus/prometheus.yml') as Scrapes;
    expect(jobs.map(({ job_name: job }) => job)).toContain(service);
  });

  test('is missed by the alerts ServiceMissing and OldestMessageTooOld', () => {
    expect(alert('services.yml', 'ServiceMissing')).toContain(`absent(up{job="${service}"} == 1)`);
    const named = alert('pipelines.yml', 'OldestMessageTooOld').matchAll(/stream=~"([A-Z_|]+)"/g);
    const streams = [...named].flatMap(([, names = '']) => names.split('|'));
    expect(streams, 'OldestMessageTooOld').toContain(lanes.normal);
    expect(lanes.express, 'matched by .*_EXPRESS').toMatch(/_EXPRESS$/);
  });

  test('has a NATS user that may read its lanes and send its result, in deploy/nats/users.conf', () => {
    const users = read('deploy/nats/users.conf');
    const may = `MAY_${service.toUpperCase()}`;
    expect(users).toMatch(new RegExp(`\\{ nkey: \\$NATS_${service.toUpperCase()}_NKEY, .*\\$${may} `));
    const block = users.slice(users.indexOf(`${may} = {`)).split('\n}\n')[0] ?? '';
    expect(block, may).toContain(`"${result.channel.template}"`);
    for (const lane of [lanes.normal, lanes.express]) {
      expect(block, may).toContain(`"$JS.API.CONSUMER.MSG.NEXT.${lane}.*"`);
      expect(block, may).toContain(`"dlq.${lane}.*"`);
    }
  });

  test('has a dashboard or is on one', () => {
    const boards = ['email', 'image', service].map((each) => `o11y/src/dashboards/${each}.ts`);
    const text = boards.filter((file) => existsSync(join(root, file))).map(read);
    expect(
      text.some((board) => board.includes(service)),
      boards.join(),
    ).toBe(true);
  });

  test('takes its work from consumers on both lanes', () => {
    for (const source of sources) {
      expect(source.normal.stream).toBe(lanes.normal);
      expect(source.express.stream).toBe(lanes.express);
    }
    expect(kind.callback.template).toMatch(/^client\./);
    expect(result.channel.stream, name).toBe('RESULTS');
  });
});

test('kinds share neither number, lanes nor consumers', () => {
  const distinct = (values: readonly unknown[]): void => expect(new Set(values).size).toBe(values.length);
  distinct(jobKindNames.map((name) => jobKinds[name].value));
  distinct(jobKindEntries.flatMap(([, { lanes }]) => [lanes.normal, lanes.express]));
  distinct(jobKindEntries.flatMap(([, { sources, result }]) => [...sources.map((s) => s.consumer), result.consumer]));
});
