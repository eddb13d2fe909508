import { isJobId, reopen, type JobLog } from '@sluice/jobs';
import type { Bus } from '@sluice/messaging';
import { DEAD_LETTER } from '@sluice/pipeline';
import type { ObjectStore } from '@sluice/storage';
import { linkTo, publishSpan } from '@sluice/telemetry';
import { audit } from '../audit/audit.ts';
import { GatewayError } from '../errors.ts';
import { isJobStream, lanes } from '@sluice/contracts';
import { uploadsOf } from '../jobs/kinds/index.ts';
import { deadLetterOf, type DeadLetter } from './record.ts';

export interface DeadLetterDeps {
  readonly bus: Bus;
  readonly jobs: JobLog;
  readonly store: ObjectStore;
  readonly now: () => number;
}

/** Which dead letters are meant. */
export interface DeadLetterFilter {
  readonly stream?: string | undefined;
  readonly consumer?: string | undefined;
  readonly reason?: string | undefined;
  /** The code of the error, or its name. */
  readonly error?: string | undefined;
  /** Stored before this time. */
  readonly before?: Date | undefined;
}

/** Who acts. */
export interface Operator {
  readonly account: string;
  readonly traceId: string;
}

const STREAM = 'DLQ';
const LOOKED_AT_ONCE = 50;
/** A page may have to step over what was purged and what the filter leaves out. */
const LOOKED_PER_PAGE = 2_000;

/** One dead letter, or undefined. */
export async function findDeadLetter({ bus }: DeadLetterDeps, sequence: number): Promise<DeadLetter | undefined> {
  const found = await bus.jsm.streams.getMessage(STREAM, { seq: sequence });
  return found === null ? undefined : deadLetterOf(found);
}

/** Dead letters that match, newest first, from below `before`. `next` is where the page after begins. */
export async function listDeadLetters(
  deps: DeadLetterDeps,
  filter: DeadLetterFilter,
  limit: number,
  before?: number,
): Promise<{ readonly letters: readonly DeadLetter[]; readonly next: number | undefined }> {
  const { state } = await deps.bus.jsm.streams.info(STREAM);
  const letters: DeadLetter[] = [];
  let sequence = Math.min(before ?? Infinity, state.last_seq + 1) - 1;
  const lowest = Math.max(state.first_seq, sequence - LOOKED_PER_PAGE + 1, 1);
  while (sequence >= lowest && letters.length < limit) {
    const size = Math.min(LOOKED_AT_ONCE, sequence - lowest + 1);
    const wanted = Array.from({ length: size }, (_, i) => sequence - i);
    for (const found of await Promise.all(wanted.map((seq) => findDeadLetter(deps, seq)))) {
      if (letters.length === limit) break;
      sequence -= 1;
      if (found !== undefined && matches(found, filter)) letters.push(found);
    }
  }
  return { letters, next: sequence >= state.first_seq && sequence > 0 ? sequence + 1 : undefined };
}

/**
 * Sends a dead letter on its way again: a job's work through the job, which is reopened and dispatched as a run of its
 * own; anything else to the subject it came from, under a new id. What cannot be replayed leaves no trace; otherwise it is
 * written down first and removed from the dead letters last.
 *
 * @throws {GatewayError} `not_replayable`.
 */
export async function replayDeadLetter(deps: DeadLetterDeps, letter: DeadLetter, by: Operator): Promise<void> {
  const stream = letter.header(DEAD_LETTER.stream);
  const { jobId } = letter;
  const throughJob = jobId !== undefined && movesJobs(stream);
  if (throughJob) await assertReopenable(deps, jobId);
  else assertRepublishable(letter);
  await audit(
    deps.bus.port,
    {
      action: 'dead-letter.replay',
      by: by.account,
      target: String(letter.sequence),
      traceId: by.traceId,
      detail: about(letter),
    },
    deps.now,
  );
  if (throughJob) await reopenJob(deps, jobId);
  else await publishAgain(deps, letter);
  await removeFromDlq(deps, letter);
}

/** A dead letter that was left where it is, and why. */
export interface Skipped {
  readonly id: string;
  readonly code: string;
  readonly detail: string;
}

/** What a replay of many did. */
export interface BulkReplay {
  readonly matched: number;
  readonly replayed: number;
  readonly skipped: readonly Skipped[];
  /** Where the next call goes on; undefined at the end. */
  readonly next: number | undefined;
}

/** Those that can be replayed must be reached however many others are newer; the answer must stay of a size. */
const SKIPPED_PER_CALL = 1_000;
const PAGE = 200;

/**
 * Replays dead letters that match, newest first, until `limit` were replayed. Those that cannot be replayed are stepped
 * over and reported. A dry run only counts.
 */
export async function replayDeadLetters(
  deps: DeadLetterDeps,
  filter: DeadLetterFilter,
  { limit, cursor, dryRun }: { readonly limit: number; readonly cursor?: number | undefined; readonly dryRun: boolean },
  by: Operator,
): Promise<BulkReplay> {
  const skipped: Skipped[] = [];
  let matched = 0;
  let replayed = 0;
  let before = cursor;
  do {
    const room = Math.min(PAGE, dryRun ? limit - matched : limit - replayed);
    const { letters, next } = await listDeadLetters(deps, filter, room, before);
    before = next;
    matched += letters.length;
    for (const letter of dryRun ? [] : letters) {
      try {
        await replayDeadLetter(deps, letter, by);
        replayed += 1;
      } catch (error) {
        if (!(error instanceof GatewayError)) throw error;
        skipped.push({ id: String(letter.sequence), code: error.code, detail: error.message });
      }
    }
  } while (before !== undefined && (dryRun ? matched : replayed) < limit && skipped.length < SKIPPED_PER_CALL);
  return { matched, replayed, skipped, next: before };
}

/** What a purge of many did, or would do. */
export interface BulkPurge {
  readonly matched: number;
  readonly purged: number;
  /** The matched ones by where they come from and why they are there, as `STREAM/consumer reason`. */
  readonly groups: Readonly<Record<string, number>>;
  readonly next: number | undefined;
}

/**
 * Removes dead letters that match for good, newest first, `limit` of them at most. One entry in the audit says which,
 * before the first is removed. A dry run only counts.
 */
export async function purgeDeadLetters(
  deps: DeadLetterDeps,
  filter: DeadLetterFilter,
  { limit, cursor, dryRun }: { readonly limit: number; readonly cursor?: number | undefined; readonly dryRun: boolean },
  by: Operator,
): Promise<BulkPurge> {
  const { letters, next } = await listDeadLetters(deps, filter, limit, cursor);
  const groups: Record<string, number> = {};
  for (const { header } of letters) {
    const group = `${header(DEAD_LETTER.stream)}/${header(DEAD_LETTER.consumer)} ${header(DEAD_LETTER.reason)}`;
    groups[group] = (groups[group] ?? 0) + 1;
  }
  if (dryRun || letters.length === 0) return { matched: letters.length, purged: 0, groups, next };
  await audit(
    deps.bus.port,
    {
      action: 'dead-letter.purge-many',
      by: by.account,
      target: `${letters.length} dead letters`,
      traceId: by.traceId,
      detail: { filter: { ...filter }, groups, ids: letters.map(({ sequence }) => sequence) },
    },
    deps.now,
  );
  for (const letter of letters) await removeFromDlq(deps, letter);
  return { matched: letters.length, purged: letters.length, groups, next };
}

/** Takes a dead letter out for good. Written down first. */
export async function purgeDeadLetter(deps: DeadLetterDeps, letter: DeadLetter, by: Operator): Promise<void> {
  await audit(
    deps.bus.port,
    {
      action: 'dead-letter.purge',
      by: by.account,
      target: String(letter.sequence),
      traceId: by.traceId,
      detail: about(letter),
    },
    deps.now,
  );
  await removeFromDlq(deps, letter);
}

const removeFromDlq = ({ bus }: DeadLetterDeps, { sequence }: DeadLetter): Promise<void> => bus.erase(STREAM, sequence);

async function assertReopenable({ jobs, store }: DeadLetterDeps, jobId: string): Promise<void> {
  const record = await jobs.read(jobId, 'leader');
  if (record === undefined) throw new GatewayError('not_replayable', 'The job is no longer known.', { jobId });
  for (const key of uploadsOf(record.job)) {
    if ((await store.head(key)) === undefined) {
      throw new GatewayError('not_replayable', 'The pictures of this job are gone.', { jobId });
    }
  }
  if (reopen(record.job) === undefined) throw notFailed(jobId);
  if ((await jobs.request(record.job)) === undefined) {
    throw new GatewayError('not_replayable', 'What the job was asked for is not kept any more.', { jobId });
  }
}

async function reopenJob({ jobs }: DeadLetterDeps, jobId: string): Promise<void> {
  const moved = await jobs.transition(jobId, reopen);
  if (moved?.moved !== true) throw notFailed(jobId);
}

const notFailed = (jobId: string): GatewayError =>
  new GatewayError('not_replayable', 'The job has not failed, or runs again already.', { jobId });

function assertRepublishable(letter: DeadLetter): void {
  if (letter.header(DEAD_LETTER.fullBytes) !== '') {
    throw new GatewayError('not_replayable', 'The message was too large to be kept whole.');
  }
  // A log is not a queue: what is published there again would be a second fact, not a second try.
  if (!/^(image|email|user|client|webhook)\./.test(letter.header(DEAD_LETTER.subject))) {
    throw new GatewayError('not_replayable', 'Messages of this stream are facts, which do not happen twice.');
  }
}

async function publishAgain({ bus }: DeadLetterDeps, letter: DeadLetter): Promise<void> {
  const subject = letter.header(DEAD_LETTER.subject);
  const replays = (Number(letter.header(DEAD_LETTER.redrives)) || 0) + 1;
  const original = letter.header(DEAD_LETTER.messageId).replace(/\.r\d+$/, '');
  const id = isJobId(original.split('.')[0] ?? '') ? `${original}.r${replays}` : `${original}:r${replays}`;
  // The second life belongs to the operator's trace, and is linked to the one in which the message died.
  const died = linkTo(letter.headers['traceparent']?.[0]);
  const publication = { destination: subject, id, bytes: letter.data.length, links: died === undefined ? [] : [died] };
  await publishSpan(publication, (traced) =>
    bus.port.publish(subject, letter.data, {
      id,
      headers: { ...letter.headers, ...traced, [DEAD_LETTER.redrives]: String(replays) },
    }),
  );
}

const matches = (letter: DeadLetter, { stream, consumer, reason, error, before }: DeadLetterFilter): boolean =>
  (stream === undefined || letter.header(DEAD_LETTER.stream) === stream) &&
  (consumer === undefined || letter.header(DEAD_LETTER.consumer) === consumer) &&
  (reason === undefined || letter.header(DEAD_LETTER.reason) === reason) &&
  (error === undefined || [DEAD_LETTER.errorCode, DEAD_LETTER.errorName].some((of) => letter.header(of) === error)) &&
  (before === undefined || letter.storedAt < before);

const about = (letter: DeadLetter): Record<string, unknown> => ({
  messageId: letter.header(DEAD_LETTER.messageId),
  stream: letter.header(DEAD_LETTER.stream),
  consumer: letter.header(DEAD_LETTER.consumer),
  reason: letter.header(DEAD_LETTER.reason),
});

const workStreams: ReadonlySet<string> = new Set(lanes);

/** Whether a message of the stream moves a job on. */
const movesJobs = (stream: string): boolean => isJobStream(stream) || workStreams.has(stream);
