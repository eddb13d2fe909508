// `pnpm test:compose FILE`: the system of a Compose file on a Docker engine, from `up --wait` to `down`. Every container is
// killed in turn while requests come in through the proxy, and every job that was accepted has to end as it should.
import { execFileSync, spawnSync } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseCommand } from '@sluice/cli';
import { load, type Accepted } from './faults/load.ts';
import { first, imageRequest, mixedRequests, type JobRequest } from './faults/requests.ts';

const { values, positionals } = parseCommand({
  name: 'pnpm test:compose',
  usage: `usage: pnpm test:compose FILE [options]   runs a Compose file, kills each container under load, stops it

Needs a Docker engine on this machine, and root: a process that is killed from outside is what a restart policy is for.

  --services A,B   only these services and what they need (default all)
  --scale A=N      as Compose takes it
  --images N       convert so many before the kills, and print the share of each replica (default 200)
  --skip A,B       services whose containers are not killed
  --url URL        of the proxy (default http://localhost:8080)
  --key KEY        an API key, where one is asked for
  --keep           leave it running`,
  options: {
    services: { type: 'string', default: '' },
    scale: { type: 'string' },
    images: { type: 'string', default: '200' },
    skip: { type: 'string', default: '' },
    url: { type: 'string', default: 'http://localhost:8080' },
    key: { type: 'string' },
    keep: { type: 'boolean', default: false },
  },
  maxPositionals: 1,
});
const [file] = positionals;
if (file === undefined) {
  process.stderr.write('pnpm test:compose: FILE is wanted; see pnpm test:compose --help\n');
  process.exit(2);
}
const root = join(import.meta.dirname, '..');
const url = values.url.replace(/\/$/, '');
const names = (list: string): readonly string[] => list.split(',').filter((name) => name !== '');
const headers = values.key === undefined ? {} : { authorization: `Bearer ${values.key}` };
const STATES = { ended: ['succeeded', 'failed', 'cancelled'], restartMs: 120_000, endMs: 300_000 };
const seconds = (sinceMs: number): string => `${((performance.now() - sinceMs) / 1000).toFixed(1)} s`;

const compose = (...args: readonly string[]): void => {
  const { status } = spawnSync('docker', ['compose', '-f', file, ...args], { cwd: root, stdio: 'inherit' });
  if (status !== 0) throw new Error(`docker compose ${args.join(' ')} ended with ${status}`);
};

interface Container {
  readonly Name: string;
  readonly Service: string;
  readonly State: string;
  readonly Health: string;
}
function containers(): readonly Container[] {
  const args = ['compose', '-f', file!, 'ps', '--all', '--format', 'json'];
  const lines = execFileSync('docker', args, { cwd: root, encoding: 'utf8', stdio: ['ignore', 'pipe', 'inherit'] });
  return lines
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as Container);
}
const isUp = ({ State, Health }: Container): boolean => State === 'running' && (Health === '' || Health === 'healthy');

const inspect = (name: string, field: string): string =>
  execFileSync('docker', ['inspect', '-f', `{{.State.${field}}}`, name], { encoding: 'utf8' }).trim();

/** The process of a container dies as by a crash: `docker kill` would count as a stop on request. */
function crash(name: string): { isBack(): boolean } {
  const startedAt = inspect(name, 'StartedAt');
  process.kill(Number(inspect(name, 'Pid')), 'SIGKILL');
  return {
    isBack: () =>
      inspect(name, 'StartedAt') !== startedAt && containers().some((each) => each.Name === name && isUp(each)),
  };
}

/** How a job ended, or undefined; a gateway that is restarted does not answer. */
async function endOf(id: string): Promise<string | undefined> {
  const answer = await fetch(`${url}/v1/jobs/${id}`, { headers, signal: AbortSignal.timeout(10_000) }).catch(
    () => undefined,
  );
  if (answer?.ok !== true) return undefined;
  const { state } = (await answer.json()) as { state: string };
  return STATES.ended.includes(state) ? state : undefined;
}

/** Those of these jobs that have not succeeded when their time is over. */
async function notDone(accepted: readonly Accepted[]): Promise<readonly string[]> {
  const open = new Map(accepted.map(({ jobId }) => [jobId, 'open']));
  for (const deadline = performance.now() + STATES.endMs; performance.now() < deadline; await sleep(250)) {
    for (const [id, state] of open) {
      if (state !== 'open') continue;
      const end = await endOf(id);
      if (end === 'succeeded') open.delete(id);
      else if (end !== undefined) open.set(id, end);
    }
    if (![...open.values()].includes('open')) break;
  }
  return [...open].map(([id, state]) => `${id} ${state}`);
}

async function shares(count: number, image: Buffer): Promise<void> {
  const startedMs = performance.now();
  const images = (function* (): Generator<JobRequest, void> {
    for (;;) yield imageRequest(image, { headers });
  })();
  const { accepted } = await load(url, first(count, images), { atOnce: 8 });
  const wrong = await notDone(accepted);
  const took = seconds(startedMs);
  const byReplica = new Map<string, number>();
  for (const { jobId } of accepted) {
    const answer = await fetch(`${url}/v1/jobs/${jobId}/events`, { headers });
    const { events } = (await answer.json()) as { events: readonly { app: string; instance?: string }[] };
    const name = events.find(({ app, instance }) => app === 'image' && instance !== undefined)?.instance ?? 'unknown';
    byReplica.set(name, (byReplica.get(name) ?? 0) + 1);
  }
  console.log(`\n${accepted.length} images in ${took}, ${wrong.length} not done\n\n| replica | images | share |`);
  console.log('| --- | ---: | ---: |');
  for (const [name, done] of byReplica)
    console.log(`| ${name} | ${done} | ${Math.round((100 * done) / accepted.length)} % |`);
  failures.push(...wrong);
}

/** Kills each container in turn; the next one when this one is back. */
async function kills(image: Buffer): Promise<void> {
  const skipped = new Set(['volumes', ...names(values.skip)]);
  const victims = containers().filter(({ Service }) => !skipped.has(Service));
  console.log(
    '\n| killed | back after | accepted meanwhile | longest pause | lost |\n| --- | ---: | ---: | ---: | ---: |',
  );
  for (const { Name, Service } of victims) {
    const end = new AbortController();
    let lastMs = performance.now();
    let pauseMs = 0;
    const loading = load(url, withHeaders(mixedRequests(20, image, end.signal)), {
      atOnce: 3,
      pauseMs: 50,
      onAttempt(became) {
        if (became !== 'accepted') return;
        pauseMs = Math.max(pauseMs, performance.now() - lastMs);
        lastMs = performance.now();
      },
    });
    await sleep(1_000);
    const killedMs = performance.now();
    const killed = crash(Name);
    let isBack = false;
    while (!isBack && performance.now() - killedMs < STATES.restartMs) {
      await sleep(250);
      isBack = killed.isBack();
    }
    const back = isBack ? seconds(killedMs) : 'never';
    end.abort();
    const { accepted, unexpected } = await loading;
    const lost = await notDone(accepted);
    console.log(
      `| ${Service} (${Name}) | ${back} | ${accepted.length} | ${(pauseMs / 1000).toFixed(1)} s | ${lost.length} |`,
    );
    failures.push(...lost, ...Object.keys(unexpected).map((status) => `${Service}: HTTP ${status}`));
    if (back === 'never') failures.push(`${Service} did not come back`);
  }
}

function* withHeaders(requests: Iterable<JobRequest>): Generator<JobRequest, void> {
  for (const request of requests) yield { ...request, headers: { ...request.headers, ...headers } };
}

const failures: string[] = [];
const image = await readFile(join(root, 'samples/screenshot.png'));
const upMs = performance.now();
try {
  const scale = values.scale === undefined ? [] : ['--scale', values.scale];
  compose('up', '--wait', ...scale, ...names(values.services));
  console.log(`\nup --wait: ${seconds(upMs)}, ${containers().length} containers`);
  if (Number(values.images) > 0) await shares(Number(values.images), image);
  await kills(image);
} finally {
  if (!values.keep) {
    const downMs = performance.now();
    compose('down');
    console.log(`\ndown: ${seconds(downMs)}`);
  }
}
for (const failure of failures) console.log(failure);
console.log(`\n${failures.length === 0 ? '1 passed, 0 failed' : '0 passed, 1 failed'}`);
process.exitCode = failures.length === 0 ? 0 : 1;
