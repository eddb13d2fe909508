import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { load } from '../faults/load.ts';
import { emailRequest, first, imageRequest, mixedRequests, type JobRequest } from '../faults/requests.ts';
import type { ComposedClient } from './client.ts';
import type { ComposedSystem } from './engine.ts';

/** Jobs that have ended when the backup is made, and jobs that wait then. */
const ENDED = 20;
const WAITING = 4;

interface Job {
  readonly id: string;
  readonly state: string;
}
/** What a client sees of its account. */
interface Seen {
  readonly jobs: readonly Job[];
  readonly events: Readonly<Record<string, unknown>>;
  readonly account: unknown;
  /** Undefined where credits are off. */
  readonly transactions: unknown;
}

async function seenBy(client: ComposedClient): Promise<Seen> {
  const jobs: Job[] = [];
  for (let cursor: string | undefined = ''; cursor !== undefined;) {
    const from = cursor === '' ? '' : `&cursor=${encodeURIComponent(cursor)}`;
    const page: { jobs: readonly Job[]; next?: string } = await client.json(`/v1/jobs?limit=200${from}`);
    jobs.push(...page.jobs);
    cursor = page.next;
  }
  const events: Record<string, unknown> = {};
  for (const { id } of jobs) events[id] = (await client.json<{ events: unknown }>(`/v1/jobs/${id}/events`)).events;
  const transactions = '/v1/accounts/me/transactions';
  const areOff = (await client.get(transactions))?.status === 404;
  return {
    jobs,
    events,
    account: await client.json('/v1/accounts/me'),
    transactions: areOff ? undefined : await client.json(transactions),
  };
}

/**
 * Backup, loss of every volume, and restore, with the commands of docs/operations.md: what a client sees of its jobs,
 * their history and its credits is as it was, and jobs that waited are done. Returns what went wrong.
 */
export async function loseEverything(
  system: ComposedSystem,
  client: ComposedClient,
  image: Buffer,
  { start, connect }: { readonly start: () => Promise<void>; readonly connect: () => Promise<ComposedClient> },
): Promise<readonly string[]> {
  const folder = await mkdtemp(join(tmpdir(), 'sluice-compose-backup-'));
  const asOperator = ['--rm', '-T', '--user', '0', '-v', `${folder}:/backups`, 'operator'];
  const what = ['/backups/today', '--without', 'history'];
  const { headers } = client;
  const withKey = function* (requests: Iterable<JobRequest>): Generator<JobRequest, void> {
    for (const request of requests) yield { ...request, headers: { ...request.headers, ...headers } };
  };
  try {
    const ended = await load(
      client.url,
      first(ENDED, withKey(mixedRequests(ENDED, image, new AbortController().signal))),
    );
    const failures = [...(await client.missing(ended.accepted))];
    await system.run('stop', 'image', 'email');
    const open = Array.from({ length: WAITING }, (_, n) => (n % 2 === 0 ? imageRequest(image) : emailRequest()));
    const waiting = await load(client.url, withKey(open));
    // The history follows the streams: a job is listed a moment after it is accepted.
    const listed = (seen: Seen): boolean =>
      waiting.accepted.every(({ jobId }) => seen.jobs.some(({ id }) => id === jobId));
    let before = await seenBy(client);
    while (!listed(before)) before = await seenBy(client);

    await system.run('run', ...asOperator, 'src/cli/backup.ts', ...what);
    const dump = system.pipe(undefined, 'exec', '-T', 'postgres', 'pg_dump', '-U', 'sluice', '-Fc', 'sluice');
    await system.run('down', '--volumes');

    await system.run('up', '-d', '--wait', 'nats', 's3', 'postgres');
    await system.run('run', '--no-deps', ...asOperator, 'src/cli/restore.ts', ...what);
    system.pipe(dump, 'exec', '-T', 'postgres', 'pg_restore', '-U', 'sluice', '-d', 'sluice', '--no-owner');
    await start();
    const again = await connect();

    // What waited goes on as soon as it can, and with it its history.
    const lost = await again.missing([...ended.accepted, ...waiting.accepted]);
    const after = await seenBy(again);
    const settled = new Set(before.jobs.filter(({ state }) => state === 'succeeded').map(({ id }) => id));
    const differing = before.jobs
      .filter(({ id }) => settled.has(id))
      .filter((job) => {
        const restored = after.jobs.find(({ id }) => id === job.id);
        return !isDeepStrictEqual(restored, job) || !isDeepStrictEqual(after.events[job.id], before.events[job.id]);
      });
    console.log(
      `\nbackup, loss of all volumes, restore: ${before.jobs.length} jobs, ${settled.size} had ended: ` +
        `${differing.length} differ; ${waiting.accepted.length} waited: ${lost.length} lost; ` +
        `credits ${before.transactions === undefined ? 'are off' : 'compared'}`,
    );
    failures.push(...lost.map((line) => `restored: ${line}`));
    failures.push(...differing.map(({ id }) => `restored: job ${id} or its history differs`));
    if (settled.size < ENDED) failures.push(`restored: ${settled.size} jobs had ended, of ${ENDED}`);
    if (after.jobs.length !== before.jobs.length) failures.push(`restored: ${after.jobs.length} jobs are listed`);
    for (const part of ['account', 'transactions'] as const) {
      if (isDeepStrictEqual(after[part], before[part])) continue;
      failures.push(`restored: ${part} ${JSON.stringify(after[part])}, before ${JSON.stringify(before[part])}`);
    }
    return failures;
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}
