import { setTimeout as sleep } from 'node:timers/promises';
import { load, type LoadReport } from '../faults/load.ts';
import { mixedRequests, type JobRequest } from '../faults/requests.ts';
import type { ComposedClient } from './client.ts';
import { killedAtStop, troubles, type ComposedSystem } from './engine.ts';

/** Against hanging alone. */
const BACK_MS = 300_000;
/** Each look starts a process of `docker`. */
const POLL_MS = 500;
/** Jobs that are asked for at least while something is away. */
const AT_LEAST = 20;
/** Load before the fault, so that work is under way when it comes. */
const BEFORE_MS = 1_000;

interface UnderLoad extends LoadReport {
  /** The longest time in which no request was accepted. */
  readonly pauseMs: number;
}

/** Images and mails from three clients, until `fault` has ended and its traces are gone. */
async function underLoad(client: ComposedClient, image: Buffer, fault: () => Promise<void>): Promise<UnderLoad> {
  const end = new AbortController();
  let lastMs = performance.now();
  let pauseMs = 0;
  const requests = (function* (): Generator<JobRequest, void> {
    for (const request of mixedRequests(AT_LEAST, image, end.signal))
      yield { ...request, headers: { ...request.headers, ...client.headers } };
  })();
  const loading = load(client.url, requests, {
    atOnce: 3,
    pauseMs: 50,
    onAttempt(became) {
      if (became !== 'accepted') return;
      pauseMs = Math.max(pauseMs, performance.now() - lastMs);
      lastMs = performance.now();
    },
  });
  await sleep(BEFORE_MS);
  await fault().finally(() => end.abort());
  return { ...(await loading), pauseMs };
}

const seconds = (ms: number): string => `${(ms / 1000).toFixed(1)} s`;
const unexpectedOf = (what: string, { unexpected }: LoadReport): readonly string[] =>
  Object.entries(unexpected).map(([status, times]) => `${what}: HTTP ${status}, ${times} times`);

const KILL_EVERY_MS = 5_000;

/** The broker that leads JOBS, by the name of its service, which is its server's too; undefined during an election. */
function leaderOfJobs(system: ComposedSystem): string | undefined {
  const brokers = system
    .containers()
    .filter(({ Service, State }) => /^nats(-\d+)?$/.test(Service) && State === 'running');
  interface Monitoring {
    account_details?: { stream_detail?: { name: string; cluster?: { leader?: string } }[] }[];
  }
  for (const { Service } of brokers) {
    try {
      const url = 'http://127.0.0.1:8222/jsz?acc=$G&streams=true';
      const said = JSON.parse(system.read('exec', '-T', Service, 'wget', '-qO-', url)) as Monitoring;
      const streams = said.account_details?.flatMap(({ stream_detail: found = [] }) => found) ?? [];
      const leader = streams.find(({ name }) => name === 'JOBS')?.cluster?.leader;
      if (leader !== undefined && leader !== '') return leader;
    } catch {
      // It is just started again; the next one knows.
    }
  }
  return undefined;
}

/** Kills the broker that leads JOBS every 5 s for so long, under load. Returns what went wrong. */
export async function leaderKills(
  system: ComposedSystem,
  client: ComposedClient,
  image: Buffer,
  forSeconds: number,
): Promise<readonly string[]> {
  const times = new Map<string, number>();
  const before = system.states();
  const report = await underLoad(client, image, async () => {
    for (const endMs = performance.now() + forSeconds * 1000; performance.now() < endMs;) {
      const againMs = performance.now() + KILL_EVERY_MS;
      const leader = leaderOfJobs(system);
      const victim = system.containers().find(({ Service, State }) => Service === leader && State === 'running');
      if (victim !== undefined) {
        system.crash(victim.Name);
        times.set(victim.Name, (times.get(victim.Name) ?? 0) + 1);
      }
      await sleep(Math.max(0, againMs - performance.now()));
    }
  });
  const lost = await client.missing(report.accepted);
  const killed = [...times.values()].reduce((sum, count) => sum + count, 0);
  console.log(
    `\nleader of JOBS killed every ${KILL_EVERY_MS / 1000} s: ${killed} kills in ${forSeconds} s; ` +
      `${report.accepted.length} accepted, ${lost.length} lost; longest pause ${seconds(report.pauseMs)}`,
  );
  // Each kill is a start that is expected.
  const expected = [...before].map(([name, state]) => {
    const restarts = state.restarts + (times.get(name) ?? 0);
    return [name, { ...state, restarts }] as const;
  });
  const ended = troubles(new Map(expected), system.states());
  return [
    ...(killed === 0 ? ['no broker led JOBS'] : []),
    ...lost.map((line) => `leader: ${line}`),
    ...unexpectedOf('leader', report),
    ...ended.map((line) => `leader killed: ${line}`),
  ];
}

/** Kills each container in turn; the next one when this one is back. Returns what went wrong. */
export async function kills(
  system: ComposedSystem,
  client: ComposedClient,
  image: Buffer,
  skipped: ReadonlySet<string>,
): Promise<readonly string[]> {
  const failures: string[] = [];
  const victims = system.containers().filter(({ Service, State }) => State === 'running' && !skipped.has(Service));
  console.log('\n| killed | back after | accepted meanwhile | longest pause | lost |');
  console.log('| --- | ---: | ---: | ---: | ---: |');
  for (const { Name, Service } of victims) {
    const before = system.states();
    let back = 'never';
    const report = await underLoad(client, image, async () => {
      const killedMs = performance.now();
      const killed = system.crash(Name);
      while (back === 'never' && performance.now() - killedMs < BACK_MS) {
        await sleep(POLL_MS);
        if (killed.isBack()) back = seconds(performance.now() - killedMs);
      }
    });
    const lost = await client.missing(report.accepted);
    const counts = `${back} | ${report.accepted.length} | ${seconds(report.pauseMs)} | ${lost.length}`;
    console.log(`| ${Service} (${Name}) | ${counts} |`);
    failures.push(
      ...lost.map((line) => `${Service}: ${line}`),
      ...unexpectedOf(Service, report),
      ...troubles(before, system.states(), Name).map((line) => `${Service} killed: ${line}`),
      ...(back === 'never' ? [`${Service} did not come back`] : []),
    );
  }
  return failures;
}

/** Stops everything under load and starts it again: what was accepted before is done after. Returns what went wrong. */
export async function stopAndStart(
  system: ComposedSystem,
  client: ComposedClient,
  image: Buffer,
  start: () => Promise<void>,
): Promise<readonly string[]> {
  let stopMs = 0;
  let late: readonly string[] = [];
  const report = await underLoad(client, image, async () => {
    const startedMs = performance.now();
    await system.run('stop');
    stopMs = performance.now() - startedMs;
    late = killedAtStop(system.states());
    await start();
  });
  const lost = await client.missing(report.accepted);
  const ended = late.length === 0 ? 'every container within its grace' : `${late.join(', ')} not within the grace`;
  console.log(`\nstop under load: ${seconds(stopMs)}, ${ended}`);
  console.log(`started again: ${report.accepted.length} accepted before and after, ${lost.length} lost`);
  return [
    ...late.map((name) => `${name} was killed at the end of its grace`),
    ...lost.map((line) => `stop and start: ${line}`),
    ...unexpectedOf('stop and start', report),
  ];
}
