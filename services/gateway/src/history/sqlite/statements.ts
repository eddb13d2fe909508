import type { DatabaseSync, SQLOutputValue } from 'node:sqlite';
import type { IncompletePage, JobCursor, MessageCursor, OpenJobs, ProjectedStream, Usage } from '../read-model.ts';
import { incompletePage } from '../rows/incomplete.ts';
import { MESSAGES_WINDOW } from '../rows/search.ts';
import type { Changes, JobRow, PositionRow, ProgressRow } from '../rows/rows.ts';

export type Row = Record<string, SQLOutputValue>;

const NOWHERE = { createdMs: -1, id: '' };
const BEGINNING = { firstMs: -1, messageId: '' };

/** What is read from a file, each statement prepared once. */
export function reading(db: DatabaseSync) {
  const position = db.prepare('SELECT * FROM position WHERE stream = ?');
  const job = db.prepare('SELECT * FROM job WHERE id = ?');
  const progress = db.prepare('SELECT * FROM progress WHERE job_id = ?');
  const jobsFor = db.prepare('SELECT * FROM job WHERE recipient = ? LIMIT ?');
  const ended = db.prepare('SELECT * FROM job WHERE open = 0 AND updated_ms < ? ORDER BY updated_ms LIMIT ?');
  const counts = db.prepare('SELECT state, jobs FROM job_count WHERE account = ?1 AND (?2 IS NULL OR kind = ?2)');
  const open = db.prepare(
    'SELECT kind, count(*) AS count, min(created_ms) AS oldest FROM job WHERE open = 1 GROUP BY kind',
  );
  const openJobs = db.prepare(`SELECT created_ms, id FROM job WHERE open = 1 AND created_ms < ?
    AND (created_ms, id) > (?, ?) ORDER BY created_ms, id LIMIT ?`);
  const pages = db.prepare(`SELECT (page_count - freelist_count) * page_size AS bytes
    FROM pragma_page_count(), pragma_freelist_count(), pragma_page_size()`);
  // All events of a message, and not only the expected ones: the statement is prepared once for every flow.
  const messagesOf = db.prepare(`SELECT id, first_ms, last_ms,
    (SELECT group_concat(event, char(31)) FROM seen WHERE seen.app = message.app AND seen.id = message.id) AS events
    FROM message WHERE app = ? AND (first_ms, id) > (?, ?) ORDER BY first_ms, id LIMIT ?`);
  const total = db.prepare('SELECT sum(jobs) AS jobs FROM job_count');
  return {
    position(stream: ProjectedStream): PositionRow | undefined {
      const row = position.get(stream);
      if (row === undefined) return undefined;
      const { created, generation, sequence } = row;
      return { stream, created: String(created), generation: Number(generation), sequence: Number(sequence) };
    },
    job(id: string): JobRow | undefined {
      const row = job.get(id);
      return row === undefined ? undefined : jobOf(row);
    },
    progress: (jobId: string): ProgressRow[] => progress.all(jobId).map(progressOf),
    jobsFor: (recipient: Uint8Array, limit: number): JobRow[] => jobsFor.all(recipient, limit).map(jobOf),
    ended: (beforeMs: number, limit: number): JobRow[] => ended.all(Math.min(beforeMs, MOST), limit).map(jobOf),
    counts(account: string, kind: string | undefined): Record<string, number> {
      const found: Record<string, number> = {};
      for (const { state, jobs } of counts.all(account, kind ?? null)) {
        found[String(state)] = (found[String(state)] ?? 0) + Number(jobs);
      }
      return found;
    },
    open: (): OpenJobs[] =>
      open
        .all()
        .map((row) => ({ kind: String(row['kind']), count: Number(row['count']), oldestMs: Number(row['oldest']) })),
    openJobs: (beforeMs: number, limit: number, { createdMs, id }: JobCursor = NOWHERE): JobCursor[] =>
      openJobs
        .all(Math.min(beforeMs, MOST), createdMs, id, limit)
        .map((row) => ({ createdMs: Number(row['created_ms']), id: String(row['id']) })),
    incomplete(
      appId: string,
      expected: readonly string[],
      limit: number,
      after: MessageCursor = BEGINNING,
    ): IncompletePage {
      if (expected.length === 0) return { messages: [] };
      const window = messagesOf.all(appId, after.firstMs, after.messageId, MESSAGES_WINDOW).map((row) => ({
        messageId: String(row['id']),
        firstMs: Number(row['first_ms']),
        lastMs: Number(row['last_ms']),
        had: new Set(String(row['events'] ?? '').split('\u001f')),
      }));
      return incompletePage(appId, expected, limit, window);
    },
    seen(appId: string, messageId: string, expected: readonly string[]): string[] {
      if (expected.length === 0) return [];
      return db
        .prepare(`SELECT event FROM seen WHERE app = ? AND id = ? AND event IN (${placeholders(expected)})`)
        .all(appId, messageId, ...expected)
        .map((row) => String(row['event']));
    },
    usage: (): Usage => ({ bytes: Number(pages.get()?.['bytes']), jobs: Number(total.get()?.['jobs'] ?? 0) }),
  };
}

/** What is written to a file. Transactions are the caller's. */
export function writing(db: DatabaseSync) {
  const putPosition = db.prepare('INSERT OR REPLACE INTO position VALUES (?, ?, ?, ?)');
  const putJob = db.prepare(`INSERT INTO job VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT (id) DO UPDATE SET generation = excluded.generation, sequence = excluded.sequence,
    account = excluded.account, kind = excluded.kind, state = excluded.state, open = excluded.open,
    updated_ms = excluded.updated_ms, recipient = excluded.recipient, erased = excluded.erased,
    terms = excluded.terms, snapshot = excluded.snapshot`);
  const deleteJob = db.prepare('DELETE FROM job WHERE id = ?');
  const deleteProgress = db.prepare('DELETE FROM progress WHERE job_id = ?');
  const putProgress = db.prepare('INSERT OR REPLACE INTO progress VALUES (?, ?, ?, ?, ?, ?, ?)');
  const putTerm = db.prepare('INSERT OR IGNORE INTO job_term VALUES (?, ?, ?)');
  const deleteTerm = db.prepare('DELETE FROM job_term WHERE term = ? AND created_ms = ? AND job_id = ?');
  const count = db.prepare(`INSERT INTO job_count VALUES (?, ?, ?, ?)
    ON CONFLICT (account, kind, state) DO UPDATE SET jobs = jobs + excluded.jobs`);
  const uncounted = db.prepare('DELETE FROM job_count WHERE account = ? AND kind = ? AND state = ? AND jobs = 0');
  const putMessage = db.prepare(`INSERT INTO message VALUES (?, ?, ?, ?) ON CONFLICT (app, id) DO UPDATE SET
    first_ms = min(first_ms, excluded.first_ms), last_ms = max(last_ms, excluded.last_ms)`);
  const putSeen = db.prepare('INSERT OR IGNORE INTO seen VALUES (?, ?, ?)');
  // The progress of an open job stays as long as the job, however long it waits.
  const pruneProgress = db.prepare(`DELETE FROM progress WHERE (job_id, app) IN (SELECT job_id, app FROM progress
    WHERE at_ms < ? AND NOT EXISTS (SELECT 1 FROM job WHERE job.id = progress.job_id) LIMIT ?)`);
  const oldMessages = db.prepare('SELECT app, id FROM message WHERE last_ms < ? ORDER BY last_ms LIMIT ?');
  const deleteMessage = db.prepare('DELETE FROM message WHERE app = ? AND id = ?');
  const deleteSeen = db.prepare('DELETE FROM seen WHERE app = ? AND id = ?');
  return {
    position: ({ stream, created, generation, sequence }: PositionRow): void =>
      void putPosition.run(stream, created, generation, sequence),
    changes({ jobs, progress, messages, termsRemoved, termsAdded, counts }: Changes): void {
      for (const row of jobs) {
        putJob.run(
          row.id,
          row.generation,
          row.sequence,
          row.account,
          row.kind,
          row.state,
          row.open ? 1 : 0,
          row.createdMs,
          row.updatedMs,
          row.recipient,
          row.erased ? 1 : 0,
          row.terms,
          row.snapshot,
        );
      }
      for (const { term, createdMs, jobId } of termsRemoved) deleteTerm.run(term, createdMs, jobId);
      for (const { term, createdMs, jobId } of termsAdded) putTerm.run(term, createdMs, jobId);
      for (const { account, kind, state, change } of counts) {
        count.run(account, kind, state, change);
        if (change < 0) uncounted.run(account, kind, state);
      }
      for (const { jobId, app, generation, sequence, state, attempt, atMs } of progress) {
        putProgress.run(jobId, app, generation, sequence, state, attempt, atMs);
      }
      for (const { app, id, firstMs, lastMs, events } of messages) {
        putMessage.run(app, id, firstMs, lastMs);
        for (const event of events) putSeen.run(app, id, event);
      }
    },
    deleteJob(id: string): void {
      deleteJob.run(id);
      deleteProgress.run(id);
    },
    /** Deletes what belongs to no job, and returns how much. */
    pruneOthers(beforeMs: number, limit: number): number {
      const before = Math.min(beforeMs, MOST);
      const { changes } = pruneProgress.run(before, limit);
      const old = oldMessages.all(before, Math.max(0, limit - Number(changes)));
      for (const { app, id } of old) {
        deleteMessage.run(app!, id!);
        deleteSeen.run(app!, id!);
      }
      return Number(changes) + old.length;
    },
  };
}

/** The largest time there is: SQLite would compare an infinite one as a float. */
const MOST = Number.MAX_SAFE_INTEGER;

const placeholders = (values: readonly string[]): string => values.map(() => '?').join(', ');

function jobOf(row: Row): JobRow {
  return {
    id: String(row['id']),
    generation: Number(row['generation']),
    sequence: Number(row['sequence']),
    account: String(row['account']),
    kind: String(row['kind']),
    state: String(row['state']),
    open: row['open'] === 1,
    createdMs: Number(row['created_ms']),
    updatedMs: Number(row['updated_ms']),
    recipient: row['recipient'] as Uint8Array | null,
    erased: row['erased'] === 1,
    terms: row['terms'] as Uint8Array,
    snapshot: row['snapshot'] as Uint8Array,
  };
}

const progressOf = (row: Row): ProgressRow => ({
  jobId: String(row['job_id']),
  app: String(row['app']),
  generation: Number(row['generation']),
  sequence: Number(row['sequence']),
  state: row['state'] as ProgressRow['state'],
  attempt: Number(row['attempt']),
  atMs: Number(row['at_ms']),
});
