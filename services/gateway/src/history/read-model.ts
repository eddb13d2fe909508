import { createHash } from 'node:crypto';
import { DatabaseSync } from 'node:sqlite';
import { fromBinary, toBinary } from '@bufbuild/protobuf';
import { timestampMs } from '@bufbuild/protobuf/wkt';
import {
  jobKindName,
  JobSchema,
  type Job,
  type JobEvent,
  type JobKindName,
  type LifecycleEvent,
} from '@sluice/contracts';
import { isJobId, stateName } from '@sluice/jobs';
import { recipientOf as addressOf } from '../jobs/kinds/index.ts';
import { ownApps } from '../jobs/timeline/timeline.ts';
import { jobView, progressOf, type JobView, type Progress } from '../jobs/job-view.ts';

/** One message of a stream, as the projection hands it in. */
export interface Projected<T> {
  readonly data: T;
  readonly sequence: number;
  readonly storedMs: number;
}

export interface JobFilter {
  readonly account: string;
  readonly state?: string | undefined;
  readonly kind?: JobKindName | undefined;
  readonly recipient?: string | undefined;
  readonly sinceMs?: number | undefined;
  readonly untilMs?: number | undefined;
  readonly limit: number;
  readonly cursor?: JobCursor | undefined;
}

/** The last job of a page: the next one begins behind it. */
export interface JobCursor {
  readonly createdMs: number;
  readonly id: string;
}

/** A message of an app that has not gone through everything its flow declares. */
export interface IncompleteMessage {
  readonly appId: string;
  readonly messageId: string;
  readonly firstMs: number;
  readonly lastMs: number;
  readonly missing: readonly string[];
}

/** A place in the list of incomplete messages. */
export interface MessageCursor {
  readonly firstMs: number;
  readonly messageId: string;
}

/**
 * What the streams hold, arranged for questions that a subject cannot answer: lists and filters. A cache: every row
 * derives from `JOBS` and `EVENTS` alone, so a deleted file is rebuilt by replaying them, to the same answers.
 */
export interface ReadModel {
  /** The last sequence taken in, per stream. */
  checkpoint(stream: 'JOBS' | 'EVENTS'): number;
  /** Takes a batch in as one transaction, checkpoint included: a crash repeats it, and a repeat changes nothing. */
  apply(jobs: readonly Projected<JobEvent>[], events: readonly Projected<LifecycleEvent>[]): void;
  /** Jobs of an account, newest first. One more than `limit` when there is another page. */
  jobs(filter: JobFilter): { readonly job: JobView; readonly cursor: JobCursor }[];
  /** Messages that lack declared events, oldest first, from behind a place. */
  incomplete(appId: string, expected: readonly string[], limit: number, after?: MessageCursor): IncompleteMessage[];
  /** Which of these events a message of a client's app has seen. */
  seen(appId: string, messageId: string, expected: readonly string[]): readonly string[];
  /** Jobs that have not ended, by kind, and when the oldest of them was accepted. */
  open(): { readonly kind: string; readonly count: number; readonly oldestMs: number }[];
  /** Jobs that have not ended and were accepted before a time, oldest first, from behind a place. */
  openJobs(acceptedBeforeMs: number, limit: number, after?: JobCursor): JobCursor[];
  /** Forgets a job. */
  forget(jobId: string): void;
  /** Forgets what the streams have forgotten. A job that has not ended is written down again before it expires. */
  prune(beforeMs: number): void;
  close(): void;
}

const own: ReadonlySet<string> = new Set(ownApps);

const SCHEMA = `
  CREATE TABLE IF NOT EXISTS checkpoint (stream TEXT PRIMARY KEY, sequence INTEGER NOT NULL) WITHOUT ROWID;
  CREATE TABLE IF NOT EXISTS job (
    id TEXT PRIMARY KEY, sequence INTEGER NOT NULL, account TEXT NOT NULL, kind TEXT NOT NULL, state TEXT NOT NULL,
    recipient TEXT, created_ms INTEGER NOT NULL, updated_ms INTEGER NOT NULL, snapshot BLOB NOT NULL
  ) WITHOUT ROWID;
  CREATE INDEX IF NOT EXISTS job_by_account ON job (account, created_ms DESC, id DESC);
  CREATE INDEX IF NOT EXISTS job_by_recipient ON job (account, recipient, created_ms DESC, id DESC);
  CREATE INDEX IF NOT EXISTS job_open ON job (kind, created_ms) WHERE state NOT IN ('succeeded', 'failed', 'cancelled');
  CREATE INDEX IF NOT EXISTS job_open_by_time ON job (created_ms, id)
    WHERE state NOT IN ('succeeded', 'failed', 'cancelled');
  CREATE TABLE IF NOT EXISTS progress (
    job_id TEXT, app TEXT, sequence INTEGER NOT NULL, state TEXT NOT NULL, attempt INTEGER NOT NULL, at_ms INTEGER NOT NULL,
    PRIMARY KEY (job_id, app)
  ) WITHOUT ROWID;
  CREATE TABLE IF NOT EXISTS message (
    app TEXT, id TEXT, first_ms INTEGER NOT NULL, last_ms INTEGER NOT NULL, PRIMARY KEY (app, id)
  ) WITHOUT ROWID;
  CREATE INDEX IF NOT EXISTS message_by_time ON message (app, first_ms, id);
  CREATE TABLE IF NOT EXISTS seen (app TEXT, id TEXT, event TEXT, PRIMARY KEY (app, id, event)) WITHOUT ROWID;
`;

// A state that a worker reports counts until the job itself has moved on; a failed job ends everything said before.
const STATE = `CASE WHEN job.state NOT IN ('succeeded', 'failed', 'cancelled') AND progress.at_ms >= job.updated_ms
  THEN progress.state ELSE job.state END`;

/** Opens the read model in a file, or in memory with `:memory:`. */
export function openReadModel(path: string): ReadModel {
  const db = new DatabaseSync(path);
  // A cache needs no fsync: what a power cut takes, the streams still have.
  db.exec('PRAGMA journal_mode = WAL; PRAGMA synchronous = OFF;');
  db.exec(SCHEMA);
  const putJob = db.prepare(`INSERT INTO job VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET
    sequence = excluded.sequence, account = excluded.account, kind = excluded.kind, state = excluded.state,
    recipient = excluded.recipient, created_ms = excluded.created_ms, updated_ms = excluded.updated_ms,
    snapshot = excluded.snapshot WHERE excluded.sequence > job.sequence`);
  const putProgress = db.prepare(`INSERT INTO progress VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (job_id, app) DO UPDATE SET
    sequence = excluded.sequence, state = excluded.state, attempt = excluded.attempt, at_ms = excluded.at_ms
    WHERE excluded.sequence > progress.sequence`);
  const putMessage = db.prepare(`INSERT INTO message VALUES (?, ?, ?, ?) ON CONFLICT (app, id) DO UPDATE SET
    first_ms = min(first_ms, excluded.first_ms), last_ms = max(last_ms, excluded.last_ms)`);
  const putSeen = db.prepare('INSERT OR IGNORE INTO seen VALUES (?, ?, ?)');
  const putCheckpoint = db.prepare('INSERT OR REPLACE INTO checkpoint VALUES (?, ?)');
  const getCheckpoint = db.prepare('SELECT sequence FROM checkpoint WHERE stream = ?');

  const storeJob = ({ data, sequence, storedMs }: Projected<JobEvent>): void => {
    const { job } = data;
    if (job === undefined) return;
    const createdMs = job.createdAt === undefined ? storedMs : timestampMs(job.createdAt);
    // Compared with the broker's time of a worker's progress: the earlier of two clocks hides none of it.
    const updatedMs = Math.min(storedMs, job.updatedAt === undefined ? storedMs : timestampMs(job.updatedAt));
    const { request: _, ...rest } = job;
    const kind = jobKindName(job.kind) ?? 'unknown';
    const snapshot = toBinary(JobSchema, rest as Job);
    putJob.run(
      job.id,
      sequence,
      job.account,
      kind,
      stateName(job.state),
      recipientOf(job),
      createdMs,
      updatedMs,
      snapshot,
    );
  };

  const storeEvents = (events: readonly Projected<LifecycleEvent>[]): void => {
    // Aggregated first: a message has a handful of events, and they tend to come together.
    const messages = new Map<
      string,
      { app: string; id: string; firstMs: number; lastMs: number; names: Set<string> }
    >();
    for (const { data, sequence, storedMs } of events) {
      const progress = isJobId(data.messageId) ? progressOf(data, storedMs) : undefined;
      if (progress !== undefined) {
        putProgress.run(data.messageId, data.appId, sequence, progress.state, progress.attempt, progress.atMs);
      }
      // What our own services say of a job is its progress. Which of their messages are incomplete is never asked.
      if (own.has(data.appId)) continue;
      const key = `${data.appId}.${data.messageId}`;
      const found = messages.get(key);
      if (found === undefined) {
        const names = new Set([data.event]);
        messages.set(key, { app: data.appId, id: data.messageId, firstMs: storedMs, lastMs: storedMs, names });
      } else {
        found.lastMs = Math.max(found.lastMs, storedMs);
        found.names.add(data.event);
      }
    }
    for (const { app, id, firstMs, lastMs, names } of messages.values()) {
      putMessage.run(app, id, firstMs, lastMs);
      for (const name of names) putSeen.run(app, id, name);
    }
  };

  return {
    checkpoint: (stream) => Number(getCheckpoint.get(stream)?.['sequence'] ?? 0),
    apply(jobs, events) {
      db.exec('BEGIN');
      try {
        for (const event of jobs) storeJob(event);
        storeEvents(events);
        const [lastJob, lastEvent] = [jobs.at(-1), events.at(-1)];
        if (lastJob !== undefined) putCheckpoint.run('JOBS', lastJob.sequence);
        if (lastEvent !== undefined) putCheckpoint.run('EVENTS', lastEvent.sequence);
        db.exec('COMMIT');
      } catch (error) {
        db.exec('ROLLBACK');
        throw error;
      }
    },
    jobs(filter) {
      const where = ['job.account = ?'];
      const values: (string | number)[] = [filter.account];
      const and = (clause: string, ...given: (string | number)[]): void => {
        where.push(clause);
        values.push(...given);
      };
      if (filter.state !== undefined) and(`${STATE} = ?`, filter.state);
      if (filter.kind !== undefined) and('job.kind = ?', filter.kind);
      if (filter.recipient !== undefined) and('job.recipient = ?', recipientHash(filter.recipient));
      if (filter.sinceMs !== undefined) and('job.created_ms >= ?', filter.sinceMs);
      if (filter.untilMs !== undefined) and('job.created_ms < ?', filter.untilMs);
      if (filter.cursor !== undefined)
        and('(job.created_ms, job.id) < (?, ?)', filter.cursor.createdMs, filter.cursor.id);
      const rows = db
        .prepare(
          `SELECT job.id, job.created_ms, job.snapshot, progress.state AS state, progress.attempt AS attempt, progress.at_ms AS at_ms
           FROM job LEFT JOIN progress ON progress.job_id = job.id AND progress.app = job.kind
           WHERE ${where.join(' AND ')} ORDER BY job.created_ms DESC, job.id DESC LIMIT ?`,
        )
        .all(...values, filter.limit + 1);
      return rows.map((row) => {
        const job = fromBinary(JobSchema, row['snapshot'] as Uint8Array);
        const progress =
          row['at_ms'] === null
            ? undefined
            : { state: row['state'] as Progress['state'], attempt: Number(row['attempt']), atMs: Number(row['at_ms']) };
        return { job: jobView(job, progress), cursor: { createdMs: Number(row['created_ms']), id: String(row['id']) } };
      });
    },
    incomplete(appId, expected, limit, after = { firstMs: -1, messageId: '' }) {
      if (expected.length === 0) return [];
      const rows = db
        .prepare(
          `SELECT message.id, first_ms, last_ms, group_concat(event, char(31)) AS events FROM message
           LEFT JOIN seen ON seen.app = message.app AND seen.id = message.id AND seen.event IN (${expected.map(() => '?').join(', ')})
           WHERE message.app = ? AND (first_ms, message.id) > (?, ?) GROUP BY message.id HAVING count(event) < ? ORDER BY first_ms, message.id LIMIT ?`,
        )
        .all(...expected, appId, after.firstMs, after.messageId, expected.length, limit);
      return rows.map((row) => {
        const seen = new Set(String(row['events'] ?? '').split('\u001f'));
        const missing = expected.filter((event) => !seen.has(event));
        return {
          appId,
          messageId: String(row['id']),
          firstMs: Number(row['first_ms']),
          lastMs: Number(row['last_ms']),
          missing,
        };
      });
    },
    seen(appId, messageId, expected) {
      if (expected.length === 0) return [];
      const wanted = expected.map(() => '?').join(', ');
      return db
        .prepare(`SELECT event FROM seen WHERE app = ? AND id = ? AND event IN (${wanted})`)
        .all(appId, messageId, ...expected)
        .map((row) => String(row['event']));
    },
    open: () =>
      db
        .prepare(
          `SELECT kind, count(*) AS count, min(created_ms) AS oldest FROM job
           WHERE state NOT IN ('succeeded', 'failed', 'cancelled') GROUP BY kind`,
        )
        .all()
        .map((row) => ({ kind: String(row['kind']), count: Number(row['count']), oldestMs: Number(row['oldest']) })),
    openJobs: (acceptedBeforeMs, limit, after = { createdMs: -1, id: '' }) =>
      db
        .prepare(
          `SELECT created_ms, id FROM job WHERE state NOT IN ('succeeded', 'failed', 'cancelled')
           AND created_ms < ? AND (created_ms, id) > (?, ?) ORDER BY created_ms, id LIMIT ?`,
        )
        .all(acceptedBeforeMs, after.createdMs, after.id, limit)
        .map((row) => ({ createdMs: Number(row['created_ms']), id: String(row['id']) })),
    forget: (jobId) => void db.prepare('DELETE FROM job WHERE id = ?').run(jobId),
    prune(beforeMs) {
      db.prepare("DELETE FROM job WHERE updated_ms < ? AND state IN ('succeeded', 'failed', 'cancelled')").run(
        beforeMs,
      );
      db.prepare('DELETE FROM progress WHERE at_ms < ?').run(beforeMs);
      db.prepare('DELETE FROM seen WHERE (app, id) IN (SELECT app, id FROM message WHERE last_ms < ?)').run(beforeMs);
      db.prepare('DELETE FROM message WHERE last_ms < ?').run(beforeMs);
    },
    close: () => db.close(),
  };
}

/** Addresses are looked up, never shown: a digest is enough, and a cache on a disk should hold no more. */
const recipientHash = (address: string): string =>
  createHash('sha256').update(address.toLowerCase()).digest('base64url');

function recipientOf(job: Job): string | null {
  const address = addressOf(job.request?.work) ?? job.notify;
  return address === '' ? null : recipientHash(address);
}
