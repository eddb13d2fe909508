import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { freePort, type Stack } from '@sluice/dev';
import { prometheusFolder } from '@sluice/o11y';
import { parse } from 'yaml';
import { composeService, relocated, startPart, type Part } from './part.ts';

/** Address of a port of this machine. */
const local = (port: number): string => `127.0.0.1:${port}`;

export interface Jaeger extends Part {
  /** With the path that the proxy shows it under. */
  readonly url: string;
  /** Host and port that take OTLP over gRPC. */
  readonly otlp: string;
  /** Host and port of its own metrics. */
  readonly metrics: string;
}

/** Jaeger with o11y/jaeger/config.yaml. Its Monitor tab asks Prometheus, which may start later. */
export async function startJaeger(program: string, folder: string, prometheusUrl: string): Promise<Jaeger> {
  const [health, http, grpc, otlpGrpc, otlpHttp, metrics] = await ports(6);
  const config = relocated('o11y/jaeger/config.yaml', {
    '0.0.0.0:13133': local(health),
    '0.0.0.0:16686': local(http),
    '0.0.0.0:16685': local(grpc),
    '0.0.0.0:4317': local(otlpGrpc),
    '0.0.0.0:4318': local(otlpHttp),
    'host: 0.0.0.0': 'host: 127.0.0.1',
    'port: 8888': `port: ${metrics}`,
    'http://prometheus:9090': prometheusUrl,
    '/etc/jaeger/ui.json': fileURLToPath(new URL('../jaeger/ui.json', prometheusFolder)),
  });
  const part = await startPart({
    program,
    args: [`--config=${await written(folder, 'config.yaml', config)}`],
    folder,
    readyUrl: `http://${local(health)}/status`,
  });
  return { ...part, url: `http://${local(http)}/jaeger`, otlp: local(otlpGrpc), metrics: local(metrics) };
}

export interface Loki extends Part {
  readonly url: string;
}

/** Loki with o11y/loki/config.yaml. */
export async function startLoki(program: string, folder: string): Promise<Loki> {
  const [http, grpc] = await ports(2);
  const config = relocated('o11y/loki/config.yaml', {
    'http_listen_port: 3100': `http_listen_port: ${http}\n  grpc_listen_port: ${grpc}\n  http_listen_address: 127.0.0.1\n  grpc_listen_address: 127.0.0.1`,
    ': /loki': `: ${folder}/data`,
  });
  const url = `http://${local(http)}`;
  const args = [`-config.file=${await written(folder, 'config.yaml', config)}`];
  return { ...(await startPart({ program, args, folder, readyUrl: `${url}/ready` })), url };
}

export interface Collector extends Part {
  /** Takes OTLP over HTTP. */
  readonly url: string;
  /** Host and port of its own metrics. */
  readonly metrics: string;
  /** Host and port of the metrics it makes of spans. */
  readonly spanMetrics: string;
}

/** The collector with o11y/collector/config.yaml. */
export async function startCollector(
  program: string,
  folder: string,
  to: { readonly jaeger: Pick<Jaeger, 'otlp'>; readonly loki: Pick<Loki, 'url'> | undefined },
  env: Readonly<Record<string, string>> = {},
): Promise<Collector> {
  const [health, otlpGrpc, otlpHttp, spanMetrics, metrics] = await ports(5);
  const config = relocated('o11y/collector/config.yaml', {
    '0.0.0.0:13133': local(health),
    '0.0.0.0:4317': local(otlpGrpc),
    '0.0.0.0:4318': local(otlpHttp),
    '0.0.0.0:8889': local(spanMetrics),
    'host: 0.0.0.0': 'host: 127.0.0.1',
    'port: 8888': `port: ${metrics}`,
    'jaeger:4317': to.jaeger.otlp,
    // Without Loki, a port that nothing listens on.
    'http://loki:3100': to.loki?.url ?? 'http://127.0.0.1:1',
  });
  const part = await startPart({
    program,
    args: [`--config=${await written(folder, 'config.yaml', config)}`],
    folder,
    readyUrl: `http://${local(health)}/`,
    env: { ...composeService('collector').env, ...env },
  });
  return { ...part, url: `http://${local(otlpHttp)}`, metrics: local(metrics), spanMetrics: local(spanMetrics) };
}

export interface NatsExporter extends Part {
  readonly metrics: string;
}

/** The broker's exporter, with the flags of docker-compose.yml. */
export async function startNatsExporter(program: string, folder: string, monitorUrl: string): Promise<NatsExporter> {
  const [port] = await ports(1);
  const flags = composeService('nats-exporter').command.filter((arg) => !arg.startsWith('http'));
  const args = [...flags, '-addr', '127.0.0.1', '-port', String(port), monitorUrl];
  const part = await startPart({ program, args, folder, readyUrl: `http://${local(port)}/metrics` });
  return { ...part, metrics: local(port) };
}

export interface PrometheusPart extends Part {
  readonly url: string;
}

/** How the targets of a job are found in Compose: by name. */
const FOUND_BY = ['static_configs', 'dns_sd_configs'];

interface PrometheusConfig {
  readonly rule_files: readonly string[];
  readonly scrape_configs: readonly { readonly job_name: string; readonly [key: string]: unknown }[];
}

/** Prometheus with o11y/prometheus/prometheus.yml; `targets` are the addresses that each of its jobs scrapes. */
export async function startPrometheusPart(
  program: string,
  folder: string,
  port: number,
  targets: ReadonlyMap<string, readonly string[]>,
): Promise<PrometheusPart> {
  const { rule_files, scrape_configs, ...rest } = parse(
    relocated('o11y/prometheus/prometheus.yml', {}),
  ) as PrometheusConfig;
  const jobs = scrape_configs.map(({ job_name, ...settings }) => {
    const job = Object.fromEntries(Object.entries(settings).filter(([key]) => !FOUND_BY.includes(key)));
    const of = targets.get(job_name);
    if (of === undefined) throw new Error(`prometheus.yml scrapes ${job_name}, which does not run here`);
    return { job_name, ...job, static_configs: [{ targets: of }] };
  });
  const rules = rule_files.map((pattern) => fileURLToPath(new URL(pattern, prometheusFolder)));
  const config = JSON.stringify({ ...rest, rule_files: rules, scrape_configs: jobs });
  const url = `http://${local(port)}`;
  const part = await startPart({
    program,
    args: [
      `--config.file=${await written(folder, 'prometheus.yml', config)}`,
      `--storage.tsdb.path=${join(folder, 'data')}`,
      `--web.listen-address=${local(port)}`,
      // As docker-compose.yml has it.
      '--enable-feature=exemplar-storage',
    ],
    folder,
    readyUrl: `${url}/-/ready`,
  });
  return { ...part, url };
}

/** The addresses of the metrics of every replica of a stack, by service. */
export function serviceTargets(stack: Stack): readonly (readonly [string, readonly string[]])[] {
  const services = Map.groupBy(stack.services, ({ service }) => service);
  return [...services].map(([name, replicas]) => [name, replicas.map(({ opsUrl }) => new URL(opsUrl).host)]);
}

async function written(folder: string, name: string, text: string): Promise<string> {
  await mkdir(folder, { recursive: true });
  const file = join(folder, name);
  await writeFile(file, text);
  return file;
}

async function ports(count: 1): Promise<[number]>;
async function ports(count: 2): Promise<[number, number]>;
async function ports(count: 5): Promise<[number, number, number, number, number]>;
async function ports(count: 6): Promise<[number, number, number, number, number, number]>;
async function ports(count: number): Promise<number[]> {
  return Promise.all(Array.from({ length: count }, () => freePort()));
}
