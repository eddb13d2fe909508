import { access, constants, statfs } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { runningStacks } from '@sluice/cli';
import { dataOf, isProblem } from '@sluice/client';
import type { Context } from './context.ts';
import { explain } from './errors.ts';
import { bytes, duration } from './output.ts';

export interface Finding {
  readonly what: string;
  readonly state: 'ok' | 'note' | 'wrong';
  readonly says: string;
  /** The command that puts it right. */
  readonly fix?: string;
}

const ROOT = join(import.meta.dirname, '../../..');
const DATA = join(ROOT, '.data');
const LEAST_NODE = 22;
const LEAST_DISK_BYTES = 2e9;
/** Signed uploads, webhooks and TLS are refused by clocks that differ by more than minutes. */
const MOST_SKEW_MS = 30_000;

/** Everything that is looked at, one after another; what stands on something that is wrong is left out. */
export async function* diagnose(context: Context): AsyncGenerator<Finding> {
  yield node();
  yield* await disk();
  yield* stacks();
  const url = targetOf(context);
  if (typeof url !== 'string') {
    yield url;
    return;
  }
  const answer = await reach(context, url);
  if ('what' in answer) {
    yield answer;
    return;
  }
  yield { what: 'API', state: 'ok', says: `${url} answers in ${duration(answer.tookMs)}` };
  yield clock(answer);
  yield* await readiness(context, url);
  yield* await key(context);
  yield* await queues(context);
}

function node(): Finding {
  const version = process.versions.node;
  const isNew = Number(version.split('.', 1)[0]) >= LEAST_NODE;
  return isNew
    ? { what: 'Node', state: 'ok', says: version }
    : {
        what: 'Node',
        state: 'wrong',
        says: `${version} is older than ${LEAST_NODE}`,
        fix: 'npx pnpm install, which brings Node 24, and run it as `npx pnpm sluice`',
      };
}

async function disk(): Promise<Finding[]> {
  const findings: Finding[] = [];
  const folder = await access(DATA).then(
    () => DATA,
    () => ROOT,
  );
  const writable = await access(folder, constants.W_OK).then(
    () => true,
    () => false,
  );
  if (!writable)
    findings.push({
      what: 'permissions',
      state: 'wrong',
      says: `${folder} cannot be written`,
      fix: `sudo chown -R "$(id -u)" ${folder}`,
    });
  for (const each of new Set([folder, tmpdir()])) {
    const { bavail, bsize } = await statfs(each);
    const free = bavail * bsize;
    const says = `${bytes(free)} free in ${each}`;
    findings.push(
      free < LEAST_DISK_BYTES
        ? {
            what: 'disk',
            state: 'wrong',
            says: `${says}: the broker refuses messages when it is full`,
            fix: `rm -rf ${join(DATA, 'dev')}, which removes the data of \`pnpm dev\``,
          }
        : { what: 'disk', state: 'ok', says },
    );
  }
  return findings;
}

function* stacks(): Generator<Finding> {
  const all = runningStacks();
  if (all.length === 0)
    yield { what: 'stack', state: 'note', says: 'no `pnpm dev` runs from this copy of the repository' };
  for (const { command, launcher, urls, ready } of all) {
    yield ready
      ? { what: 'stack', state: 'ok', says: `\`${command}\` (pid ${launcher.pid}) at ${urls?.gateway}` }
      : { what: 'stack', state: 'note', says: `\`${command}\` (pid ${launcher.pid}) is starting` };
  }
}

function targetOf(context: Context): string | Finding {
  try {
    return context.target.url;
  } catch (error) {
    return { what: 'API', state: 'wrong', says: explain(error, undefined).message, fix: 'npx pnpm dev' };
  }
}

interface Answered {
  readonly tookMs: number;
  readonly dateMs: number;
  readonly nowMs: number;
}

async function reach({ signal }: Context, url: string): Promise<Answered | Finding> {
  const beganMs = performance.now();
  try {
    const answer = await fetch(`${url}/healthz`, { signal: AbortSignal.any([signal, AbortSignal.timeout(5_000)]) });
    const isSluice = answer.ok && ((await answer.json().catch(() => ({}))) as { status?: string }).status === 'ok';
    if (isSluice)
      return {
        tookMs: performance.now() - beganMs,
        dateMs: Date.parse(answer.headers.get('date') ?? ''),
        nowMs: Date.now(),
      };
    return {
      what: 'API',
      state: 'wrong',
      says: `something else than Sluice answers at ${url} (status ${answer.status})`,
      fix: 'npx pnpm dev --port-offset 1000, or set SLUICE_URL',
    };
  } catch (error) {
    if (signal.aborted) throw error;
    const { cause } = error as { cause?: { code?: string } };
    return {
      what: 'API',
      state: 'wrong',
      says: `no answer from ${url}: ${cause?.code ?? String(error)}`,
      fix: 'npx pnpm dev, or set SLUICE_URL',
    };
  }
}

function clock({ dateMs, nowMs }: Answered): Finding {
  // The header has whole seconds.
  const skewMs = Math.max(0, Math.abs(nowMs - dateMs) - 1_000);
  if (Number.isNaN(skewMs))
    return { what: 'clock', state: 'note', says: 'the API sends no Date header: a proxy in between removes it' };
  return skewMs <= MOST_SKEW_MS
    ? { what: 'clock', state: 'ok', says: `within ${duration(skewMs)} of that of the API` }
    : {
        what: 'clock',
        state: 'wrong',
        says: `${duration(skewMs)} off that of the API`,
        fix: 'sudo timedatectl set-ntp true',
      };
}

async function readiness({ signal }: Context, url: string): Promise<Finding[]> {
  const answer = await fetch(`${url}/readyz`, { signal });
  const { reasons = [], held = [] } = (await answer.json().catch(() => ({}))) as {
    reasons?: string[];
    held?: string[];
  };
  return [
    answer.ok
      ? { what: 'ready', state: 'ok', says: 'it takes work' }
      : {
          what: 'ready',
          state: 'wrong',
          says: reasons.join('; '),
          fix: 'see the log of the gateway and docs/runbooks',
        },
    ...held.map((says): Finding => ({ what: 'held', state: 'note', says })),
  ];
}

async function key({ sluice, signal, settings }: Context): Promise<Finding[]> {
  try {
    const { id, scopes } = await dataOf(sluice.api.GET('/v1/accounts/me', { signal }));
    return [{ what: 'key', state: 'ok', says: `account ${id} with ${scopes.join(', ')}` }];
  } catch (error) {
    if (!isProblem(error, 'unauthenticated') && !isProblem(error, 'forbidden')) throw error;
    const none = settings.env['SLUICE_API_KEY'] === undefined;
    return [
      {
        what: 'key',
        state: 'wrong',
        says: none ? 'the API wants a key, and SLUICE_API_KEY is not set' : error.message,
        fix: 'npx pnpm keys create ACCOUNT, and set SLUICE_API_KEY',
      },
    ];
  }
}

async function queues({ sluice, signal }: Context): Promise<Finding[]> {
  try {
    const { streams } = await dataOf(sluice.api.GET('/v1/stats', { signal }));
    const findings: Finding[] = [];
    for (const { name, stuck = 0, messages, maxMessages = 0, consumers } of streams) {
      if (stuck > 0)
        findings.push({
          what: name,
          state: 'wrong',
          says: `${stuck} messages are known to no consumer`,
          fix: 'sluice provision',
        });
      if (maxMessages > 0 && messages > maxMessages * 0.8)
        findings.push({
          what: name,
          state: 'wrong',
          says: `${messages} of ${maxMessages} messages: it soon refuses more`,
          fix: 'add replicas of its service',
        });
      for (const { name: consumer, pending, pulls } of consumers) {
        if (pending > 0 && pulls === 0)
          findings.push({
            what: name,
            state: 'wrong',
            says: `${pending} messages wait and no worker of ${consumer} asks for them`,
            fix: `sluice pipelines resume ${consumer}, or start its service`,
          });
      }
    }
    const dead = streams.flatMap(({ consumers }) => consumers).reduce((sum, { deadLetters }) => sum + deadLetters, 0);
    if (dead > 0)
      findings.push({ what: 'dead letters', state: 'note', says: `${dead} are kept`, fix: 'sluice dlq list' });
    return findings.length > 0
      ? findings
      : [{ what: 'queues', state: 'ok', says: 'each has a worker that asks for work, or nothing that waits' }];
  } catch (error) {
    if (isProblem(error, 'forbidden') || isProblem(error, 'unauthenticated'))
      return [{ what: 'queues', state: 'note', says: 'a key with the scope admin could look at them' }];
    throw error;
  }
}
