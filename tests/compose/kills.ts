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
