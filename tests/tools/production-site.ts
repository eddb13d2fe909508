// What `pnpm init:production` makes, in a folder of its own, and the parts that run with it.
import { spawn, spawnSync, type ChildProcess, type SpawnSyncReturns } from 'node:child_process';
import { copyFileSync, readdirSync, readFileSync } from 'node:fs';
import { cp, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { findNatsProgram, freePort } from '@sluice/dev';
import { expect } from 'vitest';
import { said, stop } from './started-process.ts';

const root = join(import.meta.dirname, '../..');
const main = join(root, 'dev/src/production/main.ts');

/** A copy of what docker-compose.prod.yml names, with secrets of its own. */
export interface ProductionSite {
  readonly folder: string;
  /** What stands in .env. */
  readonly env: Readonly<Record<string, string>>;
  /** What the command printed. */
  readonly shown: string;
  /** `pnpm init:production` in this folder. */
  init(...args: readonly string[]): SpawnSyncReturns<string>;
  seedOf(user: string): string;
  /** A broker with the configuration of production, whose data is in a folder of this name. */
  startBroker(name: string): Promise<{ readonly url: string; readonly monitorUrl: string }>;
  /** The proxy with a configuration file of this folder. */
  startProxy(caddy: string, file: string, address: string): Promise<ChildProcess>;
  /** Ends what was started, and deletes the folder. */
  remove(): Promise<void>;
}

export async function makeProductionSite(): Promise<ProductionSite> {
  const folder = await mkdtemp(join(tmpdir(), 'sluice-production-'));
  await cp(join(root, 'deploy'), join(folder, 'deploy'), {
    recursive: true,
    filter: (path) => !path.endsWith('secrets'),
  });
  for (const name of readdirSync(join(root, 'services')))
    await mkdir(join(folder, 'services', name), { recursive: true });
  for (const name of ['docker-compose.yml', 'docker-compose.prod.yml'])
    copyFileSync(join(root, name), join(folder, name));
  const init = (...args: readonly string[]) =>
    spawnSync(process.execPath, [main, '--root', folder, ...args], { encoding: 'utf8', timeout: 60_000 });
  const made = init('--domain', 'sluice.example.com', '--email', 'admin@example.com');
  expect(made.stderr).toBe('');
  const env = Object.fromEntries(
    readFileSync(join(folder, '.env'), 'utf8')
      .split('\n')
      .filter((line) => /^[A-Z]/.test(line))
      .map((line) => [line.slice(0, line.indexOf('=')), line.slice(line.indexOf('=') + 1).replaceAll("'", '')]),
  );
  const started: ChildProcess[] = [];
  return {
    folder,
    env,
    shown: made.stdout,
    init,
    seedOf: (user) => readFileSync(join(folder, `deploy/secrets/nats/${user}.seed`), 'utf8').trim(),
    async startBroker(name) {
      const program = await findNatsProgram();
      if (program.kind !== 'binary') throw new Error('no nats-server binary to run the configuration with');
      const [port, monitorPort] = [await freePort(), await freePort()];
      const conf = readFileSync(join(folder, 'deploy/nats/prod.conf'), 'utf8')
        .replaceAll('/etc/nats/tls/tls.', `${folder}/deploy/secrets/nats.`)
        .replace('0.0.0.0:4222', `127.0.0.1:${port}`)
        .replace('/data', join(folder, name));
      const file = join(folder, `deploy/nats/${name}.conf`);
      await writeFile(file, conf);
      const variables = { SERVER_NAME: 'sluice', MONITORING: `127.0.0.1:${monitorPort}`, ...env };
      const server = spawn(program.path, ['-c', file], {
        env: { ...process.env, ...variables },
        stdio: ['ignore', 'ignore', 'pipe'],
      });
      started.push(server);
      await said(server, 'Server is ready');
      return { url: `tls://localhost:${port}`, monitorUrl: `http://127.0.0.1:${monitorPort}` };
    },
    async startProxy(caddy, file, address) {
      const variables = { SITE_ADDRESS: address, ACME_EMAIL: 'a@example.com', XDG_DATA_HOME: folder };
      const proxy = spawn(caddy, ['run', '--adapter', 'caddyfile', '--config', file], {
        env: { ...process.env, ...env, ...variables, XDG_CONFIG_HOME: folder },
        stdio: ['ignore', 'ignore', 'pipe'],
      });
      started.push(proxy);
      await said(proxy, 'serving initial configuration');
      return proxy;
    },
    async remove() {
      for (const child of started) await stop(child);
      await rm(folder, { recursive: true, force: true });
    },
  };
}
