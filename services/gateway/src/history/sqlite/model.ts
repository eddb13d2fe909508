import type { DatabaseSync, StatementSync } from 'node:sqlite';
import { isJobStream } from '@sluice/contracts';
import { jobView } from '../../jobs/job-view.ts';
import { recipientDigest } from '../rows/terms.ts';
import { changesOf, jobsIn, rowChanges, type Known } from '../rows/changes.ts';
import { decodeEvents, decodeJobs, progressIn, snapshotOf, withoutPerson } from '../rows/decode.ts';
import type { JobRow, PositionRow } from '../rows/rows.ts';
import { countEntries, matching, rangeOf, termsOfFilter, windowEnd, type Statement } from '../rows/search.ts';
import {
  PositionMovedError,
  ReadModelUnavailableError,
  type JobCursor,
  type JobFilter,
  type JobPage,
  type ReadModel,
} from '../read-model.ts';
import { isCorrupt, isFull, MEMORY, moveAside, openFile } from './file.ts';
import { reading, writing, type Row } from './statements.ts';

/** Jobs that one transaction of an erasure rewrites. */
const ERASED_AT_ONCE = 500;
const STATEMENTS_KEPT = 200;

const placeholder = (): string => '?';

interface Opened {
  readonly db: DatabaseSync;
  readonly read: ReturnType<typeof reading>;
  readonly write: ReturnType<typeof writing>;
}

function open(path: string): Opened {
  const db = openFile(path);
  try {
    return { db, read: reading(db), write: writing(db) };
  } catch (error) {
    db.close();
    throw error;
  }
}

/**
 * The read model in a file that this process alone has open. A file that turns out broken is moved aside and made anew
 * from the streams; `onBroken` hears where it went.
 *
 * @throws {ReadModelUnavailableError}
 */
export function openSqliteModel(path: string, onBroken: (aside: string, error: unknown) => void): ReadModel {
  let { db, read, write } = openOrReplace();
  /** Filters make a few dozen statements, each of which is prepared once. */
  let prepared = new Map<string, StatementSync>();

  function openOrReplace(): Opened {
    try {
      return open(path);
    } catch (error) {
      if (!isCorrupt(error) || path === MEMORY) throw error;
      onBroken(moveAside(path), error);
      return open(path);
    }
  }

  function replace(error: unknown): void {
    db.close();
    if (path !== MEMORY) onBroken(moveAside(path), error);
    ({ db, read, write } = open(path));
    prepared = new Map();
  }

  /** Runs a step on the file; what the file cannot do is told as such. */
  function step<T>(run: () => T): T {
    try {
      return run();
    } catch (error) {
      if (isCorrupt(error)) {
        replace(error);
        throw new ReadModelUnavailableError('The read model was broken and is made anew.', { cause: error });
      }
      if (isFull(error)) {
        throw new ReadModelUnavailableError(`The disk of ${path} is full: make room, or set HISTORY_MAX_BYTES lower.`, {
          cause: error,
        });
      }
      throw error;
    }
  }

  const transaction = <T>(run: () => T): T =>
    step(() => {
      db.exec('BEGIN IMMEDIATE');
      try {
        const result = run();
        db.exec('COMMIT');
        return result;
      } catch (error) {
        // Some errors have ended the transaction already, a full disk among them.
        if (db.isTransaction) db.exec('ROLLBACK');
        throw error;
      }
    });

  function all({ sql, values }: Statement): Row[] {
    let found = prepared.get(sql);
    if (found === undefined) {
      if (prepared.size >= STATEMENTS_KEPT) prepared.clear();
      prepared.set(sql, (found = db.prepare(sql)));
    }
    return found.all(...values);
  }

  const known = (ids: readonly string[]): Map<string, Known> =>
    new Map(ids.map((id) => [id, { job: read.job(id), progress: read.progress(id) }]));

  const viewOf = (row: JobRow) => {
    const progress = row.open ? progressIn(row.kind, read.progress(row.id)) : undefined;
    return jobView(snapshotOf(row), progress);
  };

  function remove(rows: readonly JobRow[]): void {
    write.changes({ ...rowChanges(rows.map((row) => [row, undefined])), progress: [], messages: [] });
    for (const { id } of rows) write.deleteJob(id);
  }

  function pageOf(filter: JobFilter): JobPage {
    const range = rangeOf(filter);
    const terms = termsOfFilter(filter);
    // The term with the fewest entries leads: the others are then looked up, once per entry.
    const ordered =
      terms.length === 1
        ? terms
        : terms
            .map((each) => ({ each, found: Number(all(countEntries(each, range, placeholder))[0]?.['found']) }))
            .sort((a, b) => a.found - b.found)
            .map(({ each }) => each);
    const found = all(matching(ordered, range, filter.limit + 1, placeholder)).map(cursorOf);
    const rows = found.slice(0, filter.limit).flatMap(({ id }) => read.job(id) ?? []);
    const jobs = rows.filter(({ account }) => account === filter.account).map(viewOf);
    if (found.length > filter.limit) return { jobs, next: found[filter.limit - 1]! };
    if (ordered.length === 1) return { jobs };
    const [end] = all(windowEnd(ordered[0]!, range, placeholder));
    return end === undefined ? { jobs } : { jobs, next: cursorOf(end) };
  }

  return {
    follow: async (stream, { created, lastSequence }) =>
      transaction(() => {
        const before = read.position(stream);
        if (before?.created === created && before.sequence <= lastSequence) {
          return { after: before.sequence, leads: true };
        }
        const generation = (before?.generation ?? 0) + 1;
        write.position({ stream, created, generation, sequence: 0 });
        return { after: 0, leads: true };
      }),
    apply: async ({ stream, after, messages }) =>
      transaction(() => {
        const position: PositionRow | undefined = read.position(stream);
        if (position?.sequence !== after) {
          throw new PositionMovedError(`the read model stands at ${position?.sequence} of ${stream}, not at ${after}`);
        }
        const decode = isJobStream(stream) ? decodeJobs : decodeEvents;
        const decoded = decode(messages, position.generation);
        write.changes(changesOf(decoded, known(jobsIn(decoded))));
        write.position({ ...position, sequence: messages.sequences.at(-1) ?? after });
        return { unreadable: decoded.unreadable };
      }),
    jobs: async (filter) => step(() => pageOf(filter)),
    job: async (account, id) =>
      step(() => {
        const row = read.job(id);
        return row?.account === account ? row.snapshot : undefined;
      }),
    counts: async (account, kind) => step(() => read.counts(account, kind)),
    incomplete: async (appId, expected, limit, after) => step(() => read.incomplete(appId, expected, limit, after)),
    seen: async (appId, messageId, expected) => step(() => read.seen(appId, messageId, expected)),
    open: async () => step(() => read.open()),
    openJobs: async (beforeMs, limit, after) => step(() => read.openJobs(beforeMs, limit, after)),
    forget: async (jobId) =>
      transaction(() => {
        const row = read.job(jobId);
        if (row !== undefined) remove([row]);
      }),
    async eraseRecipient(address) {
      const digest = recipientDigest(address);
      let erased = 0;
      for (;;) {
        const count = transaction(() => {
          const rows = read.jobsFor(digest, ERASED_AT_ONCE);
          const pairs = rows.map((row): [JobRow, JobRow] => [row, withoutPerson(row)]);
          write.changes({ ...rowChanges(pairs), progress: [], messages: [] });
          return rows.length;
        });
        erased += count;
        if (count < ERASED_AT_ONCE) return erased;
        // Questions that came meanwhile are answered first.
        await new Promise((resolve) => setImmediate(resolve));
      }
    },
    prune: async (beforeMs, limit) =>
      transaction(() => {
        const ended = read.ended(beforeMs, limit);
        remove(ended);
        const left = limit - ended.length;
        return ended.length + (left === 0 ? 0 : write.pruneOthers(beforeMs, left));
      }),
    usage: async () => step(() => read.usage()),
    close: async () => db.close(),
  };
}

const cursorOf = (row: Row): JobCursor => ({ createdMs: Number(row['created_ms']), id: String(row['job_id']) });
