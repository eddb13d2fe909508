// Attacks of one account, or of someone without a key, on the system under the memory limits of its containers, with a
// second, well-behaved account beside them and an upload over a slow line: what the second account sees must stay near
// what it sees alone, and no process restarts. pnpm bench attacks [--quick] [--only ATTACK]
import { execFile } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { startStack, WORK_NICENESS, type Stack } from '@sluice/dev';
import sharp from 'sharp';
import { startAttack } from './attacks/attacker.ts';
import { attacks, type Target } from './attacks/attacks.ts';
import { containerEnv, holdToLimits, type MemoryUse } from './attacks/memory-limits.ts';
import { MAILS_PER_SECOND, startNeighbour, WEBHOOK_LIMIT_MS, type Neighbour, type Seen } from './attacks/neighbour.ts';
import { uploadSlowly } from './attacks/slow-upload.ts';
import type { BenchOptions, BenchResult, Row } from './run.ts';

const ROOT = join(import.meta.dirname, '..');
/** How much slower the neighbour may get. */
const FACTOR = 3;
/** Below this a difference is that of a collection of garbage. */
const LEAST_MS = 25;
const MIB = 2 ** 20;
/** What an operator who lets strangers in sets: a rate that two accounts together do not overload two cores with. */
const REQUESTS_PER_SECOND = 2 * MAILS_PER_SECOND;
const AHEAD_MS = 500;

export const endsOnSignal = true;

/** `only` names one attack. */
export async function run({ quick, only, signal }: BenchOptions): Promise<BenchResult> {
  const directory = mkdtempSync(join(tmpdir(), 'sluice-bench-attacks-'));
  const stopping: (() => unknown)[] = [() => rmSync(directory, { recursive: true, force: true })];
  const containers = containerEnv();
  try {
    const stack = await startStack({
      dataDirectory: directory,
      workNiceness: WORK_NICENESS,
      // As docker-compose.prod.yml runs it for strangers.
      splitGateway: true,
      env: {
        ...containers,
        '*': { LOG_LEVEL: 'error', TRACE_SAMPLE_RATIO: '0' },
        gateway: { ...containers['gateway'], AUTH: 'keys', RATE_LIMIT_ACCOUNT_PER_SECOND: String(REQUESTS_PER_SECOND) },
      },
      signal,
      onProgress: (text) => console.error(`attacks: ${text}`),
    });
    stopping.push(() => stack.stop());
    const neighbour = await startNeighbour({ gatewayUrl: stack.urls.gateway, key: await keyOf(stack, 'neighbour') });
    stopping.push(() => neighbour.stop());
    const limits = holdToLimits(stack);
    stopping.push(() => limits.stop());
    const key = await keyOf(stack, 'attacker');
    const slowKey = await keyOf(stack, 'slow');

    const seconds = quick ? 4 : 12;
    await neighbour.send(2); // warm
    const alone = await neighbour.send(seconds);
    const photo = readFileSync(join(ROOT, 'samples/photo.jpg'));
    const bytes = quick ? 16 * MIB : 128 * MIB;
    const upload = uploadSlowly(stack.urls.gateway, { key: slowKey, picture: photo, bytes, signal });
    const create = { width: 16, height: 16, channels: 3 as const, background: '#357' };
    const picture = await sharp({ create }).png().toBuffer();

    const rows: Row[] = [{ id: 'attacks.alone', value: alone.p99Ms, unit: 'ms p99 of the neighbour', pass: true }];
    for (const name of Object.keys(attacks)) {
      if (only !== undefined && only !== name) continue;
      const target = { urls: stack.urls, key, account: 'attacker', picture };
      console.error(`attacks: ${name}`);
      const seen = await under(name, target, { neighbour, seconds });
      signal.throwIfAborted();
      rows.push(...rowsOf(name, seen, alone));
    }
    const { status, seconds: took } = await upload;
    const unit = `s for ${bytes / MIB} MiB at 9 Mbit/s beside them, answered ${status}`;
    rows.push({ id: 'attacks.slow_upload', value: took, unit, pass: status === 202 });
    const restarts = stack.services.reduce((sum, service) => sum + service.restarts, 0);
    rows.push({ id: 'attacks.restarts', value: restarts, unit: 'restarts of services', pass: restarts === 0 });
    rows.push(...limits.use().map(memoryRow));
    return {
      rows,
      notes: [
        'The gateway is two processes, one for clients and one for jobs, as in docker-compose.prod.yml.',
        'Memory limits: the mem_limit of docker-compose.yml, held by a watch that kills what uses more.',
        `The neighbour: ${MAILS_PER_SECOND} mails a second, p99 at most ${FACTOR} times that alone, or ${LEAST_MS} ms, and a webhook within ${WEBHOOK_LIMIT_MS / 1_000} s.`,
        `Every account may send ${REQUESTS_PER_SECOND} requests a second. The attackers share this machine's cores with the system, behind everything else.`,
      ],
    };
  } finally {
    for (const stop of stopping.toReversed()) await stop();
  }
}

/** What the neighbour sees while an attack runs. */
async function under(
  name: string,
  target: Omit<Target, 'signal'>,
  { neighbour, seconds }: { neighbour: Neighbour; seconds: number },
): Promise<Seen> {
  const attack = startAttack(name, target);
  await sleep(AHEAD_MS);
  const seen = await neighbour.send(seconds);
  await attack.stop();
  return seen;
}

function rowsOf(name: string, seen: Seen, alone: Seen): readonly Row[] {
  const others = Object.entries(seen.statuses).filter(([status]) => status !== '202');
  const inTime = seen.p99Ms <= Math.max(LEAST_MS, FACTOR * alone.p99Ms);
  return [
    {
      id: `attacks.${name}`,
      value: seen.p99Ms,
      unit: `ms p99${others.map(([status, count]) => `, ${count} x ${status}`).join('')}`,
      ratio: seen.p99Ms / alone.p99Ms,
      pass: inTime && others.length === 0,
    },
    {
      id: `attacks.${name}_webhook`,
      value: seen.webhookMs,
      unit: 'ms until its webhook is called',
      pass: seen.webhookMs <= WEBHOOK_LIMIT_MS,
    },
  ];
}

const memoryRow = ({ name, mostBytes, limitBytes, killed }: MemoryUse): Row => ({
  id: `attacks.memory_${name}`,
  value: mostBytes / MIB,
  unit: `MiB at most, of ${limitBytes / MIB}`,
  ratio: mostBytes / limitBytes,
  pass: killed === 0,
});

async function keyOf(stack: Stack, account: string): Promise<string> {
  const script = join(ROOT, 'services/gateway/src/cli/keys.ts');
  const { stdout } = await promisify(execFile)(
    process.execPath,
    [script, 'create', account, 'jobs:write', 'jobs:read', 'events:write'],
    { env: { ...process.env, NATS_URL: stack.urls.nats, SLUICE_ENV: 'dev' } },
  );
  return stdout.split('\n', 1)[0] ?? '';
}
