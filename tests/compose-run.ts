// `pnpm test:compose FILE`: the system of a Compose file on a Docker engine, from `up --wait` to `down`. Every container is
// killed in turn while requests come in through the proxy, all of them are stopped and started again, and every job that
// was accepted has to end as it should.
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { parseCommand } from '@sluice/cli';
import { composedClient } from './compose/client.ts';
import { composedSystem, killedAtStop } from './compose/engine.ts';
import { kills, leaderKills, stopAndStart } from './compose/kills.ts';
import { loseEverything } from './compose/loss.ts';
import { portDifferences } from './compose/ports.ts';
import { shares } from './compose/shares.ts';

const { values, positionals: files } = parseCommand({
  name: 'pnpm test:compose',
  usage: `usage: pnpm test:compose FILE... [options]   runs Compose files, kills each container under load, stops them

Needs a Docker engine on this machine, and root: a process that is killed from outside is what a restart policy is for.
Every job that was accepted has to succeed, its PDF to be served, and its mail to be in the catcher, where there is one.

  --services A,B   only these services and what they need (default all)
  --scale A=N      as Compose takes it
  --images N       convert so many before the kills, and print the share of each replica (default 200)
  --skip A,B       services whose containers are not killed
  --leader N       in a cluster: kill the broker that leads JOBS every 5 s for N seconds
  --url URL        of the proxy (default http://localhost:8080)
  --key KEY        an API key; where one is asked for and none is given, the service operator makes one
  --ports          compare what listens and is published with docs/exposure.md
  --backup         where there is an operator: make a backup, lose every volume, restore it; with CREDITS=on in .env
                   credits are compared too
  --keep           leave it running`,
  options: {
    services: { type: 'string', default: '' },
    scale: { type: 'string' },
    images: { type: 'string', default: '200' },
    skip: { type: 'string', default: '' },
    leader: { type: 'string', default: '0' },
    url: { type: 'string', default: 'http://localhost:8080' },
    key: { type: 'string' },
    ports: { type: 'boolean', default: false },
    backup: { type: 'boolean', default: false },
    keep: { type: 'boolean', default: false },
  },
  maxPositionals: 8,
});
if (files.length === 0) {
  process.stderr.write('pnpm test:compose: FILE is wanted; see pnpm test:compose --help\n');
  process.exit(2);
}
const root = join(import.meta.dirname, '..');
const url = values.url.replace(/\/$/, '');
const names = (list: string): readonly string[] => list.split(',').filter((name) => name !== '');
const seconds = (sinceMs: number): string => `${((performance.now() - sinceMs) / 1000).toFixed(1)} s`;

const system = composedSystem(root, files);
const start = (): Promise<void> =>
  system.run(
    'up',
    '--wait',
    ...(values.scale === undefined ? [] : ['--scale', values.scale]),
    ...names(values.services),
  );

const failures: string[] = [];
const image = await readFile(join(root, 'samples/screenshot.png'));
const upMs = performance.now();
try {
  await start();
  const running = system.containers().filter(({ State }) => State === 'running');
  console.log(`\nup --wait: ${seconds(upMs)}, ${running.length} containers`);
  const client = await composedClient(system, url, values.key);
  if (values.ports) failures.push(...(await portDifferences(system)));
  const replicas = running.filter(({ Service }) => Service === 'image').length;
  if (Number(values.images) > 0) failures.push(...(await shares(client, image, Number(values.images), replicas)));
  failures.push(...(await kills(system, client, image, new Set(names(values.skip)))));
  if (Number(values.leader) > 0) failures.push(...(await leaderKills(system, client, image, Number(values.leader))));
  failures.push(...(await stopAndStart(system, client, image, start)));
  if (values.backup) {
    const connect = (): ReturnType<typeof composedClient> => composedClient(system, url, client.key);
    failures.push(...(await loseEverything(system, client, image, { start, connect })));
  }
} finally {
  if (!values.keep) {
    const downMs = performance.now();
    await system.run('stop');
    for (const name of killedAtStop(system.states())) failures.push(`${name} was killed at the end of its grace`);
    await system.run('down');
    console.log(`\ndown: ${seconds(downMs)}`);
  }
}
for (const failure of failures) console.log(failure);
console.log(`\n${failures.length === 0 ? '1 passed, 0 failed' : '0 passed, 1 failed'}`);
process.exitCode = failures.length === 0 ? 0 : 1;
