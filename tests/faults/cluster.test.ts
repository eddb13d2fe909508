import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { startNatsCluster, startStack, type NatsCluster, type Stack } from '@sluice/dev';
import { connectNats, createBus } from '@sluice/messaging';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { drained, settled, violations } from './invariants.ts';
import { load, type LoadReport } from './load.ts';
import { mixedRequests } from './requests.ts';

/**
 * How long the leader of JOBS is killed every 5 s, in seconds: two kills show that nothing is broken,
 * `CLUSTER_SECONDS=60` is the proof.
 */
const SECONDS = Number(process.env['CLUSTER_SECONDS'] ?? 10);
const KILL_EVERY_MS = 5_000;
/** Two nats-server binaries: the upgrade goes from one to the other. */
const FROM = process.env['NATS_UPGRADE_FROM'];
const TO = process.env['NATS_UPGRADE_TO'];
/** In which the reconciler has looked at every open job. */
const RECONCILED_MS = 300_000;
const ROOT = join(import.meta.dirname, '../..');

let directory: string;
let cluster: NatsCluster;
let stack: Stack;
let image: Buffer;

/** The system on a cluster of three, with every stream on each of them. */
async function start(program: { env?: NodeJS.ProcessEnv } = {}): Promise<void> {
  cluster = await startNatsCluster(program);
  const url = cluster.urls.join();
  const started = await startStack({
    dataDirectory: directory,
    mail: { maxMails: 100_000 },
    restartAfterMs: 50,
    env: { '*': { NATS_URL: url, LOG_LEVEL: 'error', TRACE_SAMPLE_RATIO: '0' }, gateway: { NATS_REPLICAS: '3' } },
  });
  // What reads the streams afterwards asks the cluster, not the server that the stack has besides.
  stack = { ...started, nats: { ...started.nats, url } };
}

/** The longest time between two requests that were accepted. */
function pauses(): { readonly onAttempt: (became: 'accepted' | 'turned away') => void; longestMs(): number } {
  let lastMs = performance.now();
  let longestMs = 0;
  return {
    onAttempt(became) {
      if (became !== 'accepted') return;
      longestMs = Math.max(longestMs, performance.now() - lastMs);
      lastMs = performance.now();
    },
    longestMs: () => longestMs,
  };
}

const seconds = (ms: number): string => `${(ms / 1000).toFixed(1)} s`;

/** Load through the gateway while something happens to the cluster; then nothing may be lost. */
async function underLoad(what: string, happens: () => Promise<string>): Promise<LoadReport> {
  const end = new AbortController();
  const watch = pauses();
  const loading = load(stack.urls.gateway, mixedRequests(20, image, end.signal), {
    atOnce: 4,
    pauseMs: 20,
    onAttempt: watch.onAttempt,
  });
  let happened: string;
  try {
    happened = await happens();
  } finally {
    end.abort();
  }
  const report = await loading;
  const acceptedMs = performance.now();
  let lost: readonly string[];
  do {
    try {
      await drained(stack, 180_000);
      await settled(stack, 180_000);
      lost = await violations(stack, report.accepted);
    } catch (error) {
      // A question to the brokers that an election left without an answer.
      lost = [String(error)];
    }
    // Work that its stream did not take is published by the reconciler, once no stream remembers its message id.
  } while (lost.length > 0 && performance.now() - acceptedMs < RECONCILED_MS);
  console.log(
    `${what}: ${happened}; ${report.accepted.length} jobs accepted, ${lost.length} lost or wrong, ` +
      `${report.refused} requests told to come back; longest pause between two that were accepted ${seconds(watch.longestMs())}, all ended ` +
      `${seconds(performance.now() - acceptedMs)} after the last was accepted`,
  );
  expect(lost).toEqual([]);
  expect(report.unexpected).toEqual({});
  return report;
}

/** Who leads a stream; undefined during an election. */
async function leaderOf(stream: string): Promise<string | undefined> {
  const connection = await connectNats({ url: cluster.urls.join(), name: 'leader' });
  try {
    const bus = await createBus(connection);
    return (await bus.jsm.streams.info(stream)).cluster?.leader;
  } catch {
    return undefined;
  } finally {
    await connection.close();
  }
}

/** Resolves when every replica of every stream has what its leader has. */
async function allCurrent(): Promise<void> {
  const bus = await createBus(await connectNats({ url: cluster.urls.join(), name: 'current' }));
  try {
    for (;;) {
      const infos = await bus.jsm.streams
        .list()
        .next()
        .catch(() => []);
      const replicas = infos.flatMap(({ cluster: group }) => group?.replicas ?? []);
      if (infos.length > 0 && replicas.every(({ current, offline }) => current && !(offline ?? false))) return;
      await sleep(250);
    }
  } finally {
    await bus.close();
  }
}

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'sluice-cluster-test-'));
  image = await readFile(join(ROOT, 'samples/screenshot.png'));
});
afterEach(async () => {
  await stack?.stop();
  await cluster?.stop();
  await rm(directory, { recursive: true, force: true });
});

describe('three brokers', { timeout: 900_000 }, () => {
  test('lose no accepted job while the leader of JOBS is killed every 5 s', async () => {
    await start();
    await underLoad(`leader killed every ${KILL_EVERY_MS / 1000} s`, async () => {
      let kills = 0;
      for (const endMs = performance.now() + SECONDS * 1000; performance.now() < endMs;) {
        const againMs = performance.now() + KILL_EVERY_MS;
        const node = cluster.nodes.get((await leaderOf('JOBS')) ?? '');
        if (node !== undefined) {
          await node.kill();
          kills += 1;
          await node.restart();
        }
        await sleep(Math.max(0, againMs - performance.now()));
      }
      expect(kills).toBeGreaterThan(0);
      return `${kills} kills in ${SECONDS} s`;
    });
  });

  test.skipIf(FROM === undefined || TO === undefined)(
    'are upgraded one by one without a loss (skipped without NATS_UPGRADE_FROM and NATS_UPGRADE_TO)',
    async () => {
      const program = (path: string | undefined) => ({ env: { ...process.env, NATS_SERVER_BIN: path } });
      await start(program(FROM));
      const before = [...cluster.nodes.values()].map(({ version }) => version);
      await underLoad('rolling upgrade', async () => {
        for (const name of cluster.nodes.keys()) {
          await cluster.replace(name, program(TO));
          await allCurrent();
        }
        const after = [...cluster.nodes.values()].map(({ version }) => version);
        expect(after).not.toEqual(before);
        return `${before.join(', ')} to ${after.join(', ')}`;
      });
    },
  );
});
