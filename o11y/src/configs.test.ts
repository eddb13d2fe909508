import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { parse } from 'yaml';
import { dashboards } from './dashboards/index.ts';

const read = (path: string): unknown => parse(readFileSync(new URL(`../${path}`, import.meta.url), 'utf8'));

interface CollectorConfig {
  readonly receivers: Record<string, unknown>;
  readonly processors?: Record<string, unknown>;
  readonly exporters: Record<string, unknown>;
  readonly connectors?: Record<string, unknown>;
  readonly extensions: Record<string, unknown>;
  readonly service: {
    readonly extensions: readonly string[];
    readonly pipelines: Record<
      string,
      {
        readonly receivers: readonly string[];
        readonly processors?: readonly string[];
        readonly exporters: readonly string[];
      }
    >;
  };
}

// The collector itself refuses a configuration that names what is not defined, or defines what nothing uses. Neither
// image runs in this test, so the same is checked here.
describe.each(['collector/config.yaml', 'jaeger/config.yaml'])('%s', (path) => {
  const config = read(path) as CollectorConfig;
  const pipelines = Object.values(config.service.pipelines);

  test.each(['receivers', 'processors', 'exporters'] as const)(
    'defines the %s it uses and uses those it defines',
    (part) => {
      const connectors = part === 'processors' ? [] : Object.keys(config.connectors ?? {});
      const used = new Set(pipelines.flatMap((pipeline) => pipeline[part] ?? []));
      const defined = Object.keys(config[part] ?? {});
      expect([...used].filter((name) => !defined.includes(name) && !connectors.includes(name))).toEqual([]);
      expect(defined.filter((name) => !used.has(name))).toEqual([]);
    },
  );

  test('starts the extensions it defines', () => {
    expect([...config.service.extensions].sort()).toEqual(Object.keys(config.extensions).sort());
  });

  test('listens for others than itself: receivers default to localhost', () => {
    const otlp = config.receivers['otlp'] as { protocols: Record<string, { endpoint: string }> };
    for (const protocol of Object.values(otlp.protocols)) expect(protocol.endpoint).toMatch(/^0\.0\.0\.0:/);
  });
});

describe('the collector', () => {
  const { service } = read('collector/config.yaml') as CollectorConfig;

  test('protects its memory first in every pipeline', () => {
    for (const pipeline of Object.values(service.pipelines)) expect(pipeline.processors?.[0]).toBe('memory_limiter');
  });

  test('redacts what goes to storage, and counts spans before any are dropped', () => {
    expect(service.pipelines['traces']?.processors).toEqual([
      'memory_limiter',
      'redaction',
      'resource/service_tag',
      'tail_sampling',
    ]);
    expect(service.pipelines['logs']?.processors).toContain('redaction');
    expect(service.pipelines['traces/metrics']?.processors).toEqual(['memory_limiter']);
  });
});

test('the overlay for containers adds a pipeline of its own, since layers replace lists', () => {
  const base = read('collector/config.yaml') as CollectorConfig;
  const layer = read('collector/container-logs.yaml') as Pick<CollectorConfig, 'receivers' | 'service'>;
  for (const [name, pipeline] of Object.entries(layer.service.pipelines)) {
    expect(Object.keys(base.service.pipelines)).not.toContain(name);
    expect(Object.keys(layer.receivers)).toEqual(pipeline.receivers);
    expect(Object.keys(base.processors ?? {})).toEqual(expect.arrayContaining([...(pipeline.processors ?? [])]));
    expect(Object.keys(base.exporters)).toEqual(expect.arrayContaining([...pipeline.exporters]));
  }
});

test('links from a span use a tag that Jaeger lists: the one that the collector adds', () => {
  const { processors } = read('collector/config.yaml') as CollectorConfig;
  const added = processors?.['resource/service_tag'] as { attributes: readonly { key: string }[] } | undefined;
  const { datasources } = read('grafana/provisioning/datasources/datasources.yaml') as {
    datasources: readonly { uid: string; jsonData: Record<string, { tags?: readonly { key: string }[] }> }[];
  };
  const jaeger = datasources.find(({ uid }) => uid === 'jaeger')?.jsonData;
  for (const links of ['tracesToLogsV2', 'tracesToMetrics']) {
    expect(jaeger?.[links]?.tags?.map(({ key }) => key)).toEqual(added?.attributes.map(({ key }) => key));
  }
});

test('data sources have the uids that dashboards and links name', () => {
  const { datasources } = read('grafana/provisioning/datasources/datasources.yaml') as {
    datasources: readonly { uid: string; type: string }[];
  };
  expect(datasources.map(({ uid, type }) => [uid, type])).toEqual([
    ['prometheus', 'prometheus'],
    ['loki', 'loki'],
    ['jaeger', 'jaeger'],
  ]);
});

test('links between dashboards lead somewhere', () => {
  const uids = dashboards.map(({ uid }) => uid);
  for (const panel of dashboards.flatMap((each) => each.rows.flatMap((row) => row.panels))) {
    for (const link of ('links' in panel && panel.links) || []) expect(uids).toContain(link.url.replace('/d/', ''));
  }
});
