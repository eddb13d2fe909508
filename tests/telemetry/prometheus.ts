import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { freePort, type Stack } from '@sluice/dev';
import { prometheusFolder } from '@sluice/o11y';
import { until } from '../e2e/gateway-client.ts';

export interface Series {
  readonly metric: Readonly<Record<string, string>>;
  readonly value: readonly [number, string];
}

export interface Prometheus {
  readonly url: string;
  /** The instant value of an expression. Throws when Prometheus does not understand it. */
  query(expr: string): Promise<readonly Series[]>;
  stop(): Promise<void>;
}

/** A real Prometheus with our rules, scraping the services of a stack every second. */
export async function startPrometheus(program: string, stack: Stack): Promise<Prometheus> {
  const folder = await mkdtemp(join(tmpdir(), 'sluice-prometheus-'));
  const jobs = Map.groupBy(stack.services, ({ name }) => name.replace(/-\d+$/, ''));
  // The same jobs as in o11y/prometheus/prometheus.yml; there DNS finds the replicas. JSON is YAML.
  const config = {
    global: { scrape_interval: '1s', scrape_timeout: '1s', evaluation_interval: '5s' },
    rule_files: [`${fileURLToPath(prometheusFolder)}rules/*.yml`],
    scrape_configs: [...jobs].map(([job_name, services]) => ({
      job_name,
      static_configs: [{ targets: services.map(({ opsUrl }) => new URL(opsUrl).host) }],
    })),
  };
  await writeFile(join(folder, 'prometheus.yml'), JSON.stringify(config));
  const address = `127.0.0.1:${await freePort()}`;
  const url = `http://${address}`;
  const child = spawn(
    program,
    [
      `--config.file=${join(folder, 'prometheus.yml')}`,
      `--storage.tsdb.path=${join(folder, 'data')}`,
      `--web.listen-address=${address}`,
      '--enable-feature=exemplar-storage',
      '--log.level=error',
    ],
    { stdio: ['ignore', 'ignore', 'inherit'] },
  );
  await until('Prometheus is ready', async () => {
    if (child.exitCode !== null) throw new Error(`Prometheus ended with ${child.exitCode}`);
    return await fetch(`${url}/-/ready`).then(
      ({ ok }) => ok,
      () => false,
    );
  });
  return {
    url,
    async query(expr) {
      const answer = await fetch(`${url}/api/v1/query`, { method: 'POST', body: new URLSearchParams({ query: expr }) });
      const body = (await answer.json()) as { status: string; error?: string; data: { result: readonly Series[] } };
      if (body.status !== 'success') throw new Error(`${expr}: ${body.error}`);
      return body.data.result;
    },
    async stop() {
      child.kill('SIGTERM');
      if (child.exitCode === null) await once(child, 'exit');
      await rm(folder, { recursive: true, force: true });
    },
  };
}
