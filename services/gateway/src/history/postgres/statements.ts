import type { ClientBase } from 'pg';
import type { IncompletePage, JobCursor, MessageCursor, OpenJobs, ProjectedStream, Usage } from '../read-model.ts';
import { incompletePage } from '../rows/incomplete.ts';
import { MESSAGES_WINDOW } from '../rows/search.ts';
import type { Known } from '../rows/changes.ts';
import type { Changes, JobRow, PositionRow, ProgressRow, TermRow } from '../rows/rows.ts';

export type Row = Record<string, unknown>;

const NOWHERE = { createdMs: -1, id: '' };
const BEGINNING = { firstMs: -1, messageId: '' };

/** A time to compare with: a bigint has neither infinity nor fractions, and what is before 6.25 is before 7. */
export const bounded = (ms: number): number => Math.min(Math.ceil(ms), Number.MAX_SAFE_INTEGER);

export async function position(
  client: ClientBase,
  stream: ProjectedStream,
  toMove: boolean,
): Promise<PositionRow | undefined> {
  const lock = toMove ? 'FOR UPDATE' : '';
  const { rows } = await client.query<Row>(`SELECT * FROM position WHERE stream = $1 ${lock}`, [stream]);
  const [row] = rows;
  if (row === undefined) return undefined;
  const { created, generation, sequence } = row;
  return { stream, created: String(created), generation: Number(generation), sequence: Number(sequence) };
}

export async function putPosition(client: ClientBase, row: PositionRow): Promise<void> {
  await client.query(
    `INSERT INTO position VALUES ($1, $2, $3, $4) ON CONFLICT (stream)
     DO UPDATE SET created = excluded.created, generation = excluded.generation, sequence = excluded.sequence`,
    [row.stream, row.created, row.generation, row.sequence],
  );
}

export async function jobsById(
  client: ClientBase,
  ids: readonly string[],
  toChange = false,
): Promise<ReadonlyMap<string, JobRow>> {
  const lock = toChange ? 'FOR UPDATE' : '';
  const { rows } = await client.query<Row>(`SELECT * FROM job WHERE id = ANY($1) ${lock}`, [ids]);
  return new Map(rows.map((row) => [String(row['id']), jobOf(row)]));
}

export async function progressOf(client: ClientBase, ids: readonly string[]): Promise<Map<string, ProgressRow[]>> {
  const { rows } = await client.query<Row>('SELECT * FROM progress WHERE job_id = ANY($1)', [ids]);
  const found = new Map<string, ProgressRow[]>();
  for (const row of rows.map(progressRow)) found.set(row.jobId, [...(found.get(row.jobId) ?? []), row]);
  return found;
}

export async function known(client: ClientBase, ids: readonly string[]): Promise<Map<string, Known>> {
  const jobs = await jobsById(client, ids, true);
  const progress = await progressOf(client, ids);
  return new Map(ids.map((id) => [id, { job: jobs.get(id), progress: progress.get(id) ?? [] }]));
}

export async function jobsFor(client: ClientBase, recipient: Uint8Array, limit: number): Promise<JobRow[]> {
  const { rows } = await client.query<Row>('SELECT * FROM job WHERE recipient = $1 LIMIT $2 FOR UPDATE', [
    bytes(recipient),
    limit,
  ]);
  return rows.map(jobOf);
}

export async function ended(client: ClientBase, beforeMs: number, limit: number): Promise<JobRow[]> {
  const { rows } = await client.query<Row>(
    'SELECT * FROM job WHERE NOT open AND updated_ms < $1 ORDER BY updated_ms LIMIT $2 FOR UPDATE',
    [bounded(beforeMs), limit],
  );
  return rows.map(jobOf);
}

export async function counts(
  client: ClientBase,
  account: string,
  kind: string | undefined,
): Promise<Record<string, number>> {
  const { rows } = await client.query<Row>(
    `SELECT state, sum(jobs) AS jobs FROM job_count
     WHERE account = $1 AND ($2::text IS NULL OR kind = $2) AND jobs > 0 GROUP BY state`,
    [account, kind ?? null],
  );
  return Object.fromEntries(rows.map((row) => [String(row['state']), Number(row['jobs'])]));
}

export async function open(client: ClientBase): Promise<OpenJobs[]> {
  const { rows } = await client.query<Row>(
    'SELECT kind, count(*) AS count, min(created_ms) AS oldest FROM job WHERE open GROUP BY kind',
  );
  return rows.map((row) => ({
    kind: String(row['kind']),
    count: Number(row['count']),
    oldestMs: Number(row['oldest']),
  }));
}

export async function openJobs(
  client: ClientBase,
  beforeMs: number,
  limit: number,
  { createdMs, id }: JobCursor = NOWHERE,
): Promise<JobCursor[]> {
  const { rows } = await client.query<Row>(
    `SELECT created_ms, id FROM job WHERE open AND created_ms < $1 AND (created_ms, id) > ($2, $3)
     ORDER BY created_ms, id LIMIT $4`,
    [bounded(beforeMs), createdMs, id, limit],
  );
  return rows.map((row) => ({ createdMs: Number(row['created_ms']), id: String(row['id']) }));
}

export async function incomplete(
  client: ClientBase,
  appId: string,
  expected: readonly string[],
  limit: number,
  after: MessageCursor = BEGINNING,
): Promise<IncompletePage> {
  if (expected.length === 0) return { messages: [] };
  const { rows } = await client.query<Row>(
    `SELECT id, first_ms, last_ms,
       ARRAY(SELECT event FROM seen WHERE seen.app = $2 AND seen.id = message.id AND seen.event = ANY($1)) AS events
     FROM message WHERE app = $2 AND (first_ms, id) > ($3, $4) ORDER BY first_ms, id LIMIT $5`,
    [expected, appId, after.firstMs, after.messageId, MESSAGES_WINDOW],
  );
  const window = rows.map((row) => ({
    messageId: String(row['id']),
    firstMs: Number(row['first_ms']),
    lastMs: Number(row['last_ms']),
    had: new Set(row['events'] as string[]),
  }));
  return incompletePage(appId, expected, limit, window);
}

export async function seen(
  client: ClientBase,
  appId: string,
  messageId: string,
  expected: readonly string[],
): Promise<string[]> {
  const { rows } = await client.query<Row>('SELECT event FROM seen WHERE app = $1 AND id = $2 AND event = ANY($3)', [
    appId,
    messageId,
    expected,
  ]);
  return rows.map((row) => String(row['event']));
}

export async function usage(client: ClientBase): Promise<Usage> {
  const { rows } = await client.query<Row>(
    `SELECT (SELECT coalesce(sum(jobs), 0) FROM job_count) AS jobs,
      (SELECT coalesce(sum(pg_total_relation_size(relid)), 0) FROM pg_stat_user_tables
        WHERE schemaname = current_schema()) AS bytes`,
  );
  return { jobs: Number(rows[0]?.['jobs']), bytes: Number(rows[0]?.['bytes']) };
}

/** Writes what a transaction changes, a statement for all rows of a table. */
export async function write(client: ClientBase, changes: Changes): Promise<void> {
  const { jobs, progress, messages, termsRemoved, termsAdded, counts: counted } = changes;
  if (jobs.length > 0) await putJobs(client, jobs);
  if (termsRemoved.length > 0) {
    await client.query(
      `DELETE FROM job_term USING unnest($1::bytea[], $2::bigint[], $3::text[]) AS gone (term, created_ms, job_id)
       WHERE job_term.term = gone.term AND job_term.created_ms = gone.created_ms AND job_term.job_id = gone.job_id`,
      termColumns(termsRemoved),
    );
  }
  if (termsAdded.length > 0) {
    await client.query(
      `INSERT INTO job_term SELECT * FROM unnest($1::bytea[], $2::bigint[], $3::text[]) ON CONFLICT DO NOTHING`,
      termColumns(termsAdded),
    );
  }
  if (counted.length > 0) {
    await client.query(
      `INSERT INTO job_count SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::bigint[])
       ON CONFLICT (account, kind, state) DO UPDATE SET jobs = job_count.jobs + excluded.jobs`,
      columns(counted, (row) => [row.account, row.kind, row.state, row.change]),
    );
  }
  if (progress.length > 0) {
    await client.query(
      `INSERT INTO progress SELECT * FROM unnest(
         $1::text[], $2::text[], $3::int[], $4::bigint[], $5::text[], $6::int[], $7::bigint[])
       ON CONFLICT (job_id, app) DO UPDATE SET generation = excluded.generation, sequence = excluded.sequence,
         state = excluded.state, attempt = excluded.attempt, at_ms = excluded.at_ms`,
      columns(progress, (row) => [row.jobId, row.app, row.generation, row.sequence, row.state, row.attempt, row.atMs]),
    );
  }
  if (messages.length > 0) {
    await client.query(
      `INSERT INTO message SELECT * FROM unnest($1::text[], $2::text[], $3::bigint[], $4::bigint[])
       ON CONFLICT (app, id) DO UPDATE SET first_ms = least(message.first_ms, excluded.first_ms),
         last_ms = greatest(message.last_ms, excluded.last_ms)`,
      columns(messages, (row) => [row.app, row.id, row.firstMs, row.lastMs]),
    );
    const events = messages.flatMap(({ app, id, events: names }) => names.map((event) => ({ app, id, event })));
    await client.query(
      'INSERT INTO seen SELECT * FROM unnest($1::text[], $2::text[], $3::text[]) ON CONFLICT DO NOTHING',
      columns(events, (row) => [row.app, row.id, row.event]),
    );
  }
}

async function putJobs(client: ClientBase, jobs: readonly JobRow[]): Promise<void> {
  await client.query(
    `INSERT INTO job SELECT * FROM unnest(
       $1::text[], $2::int[], $3::bigint[], $4::text[], $5::text[], $6::text[], $7::boolean[], $8::bigint[],
       $9::bigint[], $10::bytea[], $11::boolean[], $12::bytea[], $13::bytea[])
     ON CONFLICT (id, created_ms) DO UPDATE SET generation = excluded.generation, sequence = excluded.sequence,
       account = excluded.account, kind = excluded.kind, state = excluded.state, open = excluded.open,
       updated_ms = excluded.updated_ms, recipient = excluded.recipient, erased = excluded.erased,
       terms = excluded.terms, snapshot = excluded.snapshot`,
    columns(jobs, (row) => [
      row.id,
      row.generation,
      row.sequence,
      row.account,
      row.kind,
      row.state,
      row.open,
      row.createdMs,
      row.updatedMs,
      row.recipient === null ? null : bytes(row.recipient),
      row.erased,
      bytes(row.terms),
      bytes(row.snapshot),
    ]),
  );
}

export async function deleteJobs(client: ClientBase, jobs: readonly JobRow[]): Promise<void> {
  const ids = jobs.map(({ id }) => id);
  await client.query('DELETE FROM job WHERE id = ANY($1)', [ids]);
  await client.query('DELETE FROM progress WHERE job_id = ANY($1)', [ids]);
}

/** Takes the jobs of a month out of the counts, and returns how many that were. */
export async function uncountMonth(client: ClientBase, month: string): Promise<number> {
  const { rows } = await client.query<Row>(
    `SELECT account, kind, state, count(*) AS jobs FROM job_${month} GROUP BY account, kind, state`,
  );
  const changes = rows.map((row) => ({
    account: String(row['account']),
    kind: String(row['kind']),
    state: String(row['state']),
    change: -Number(row['jobs']),
  }));
  await write(client, { jobs: [], progress: [], messages: [], termsRemoved: [], termsAdded: [], counts: changes });
  return changes.reduce((sum, { change }) => sum - change, 0);
}

/** Deletes what belongs to no job, and returns how much. */
export async function pruneOthers(client: ClientBase, beforeMs: number, limit: number): Promise<number> {
  const before = bounded(beforeMs);
  // The progress of an open job stays as long as the job, however long it waits.
  const progress = await client.query(
    `DELETE FROM progress WHERE (job_id, app) IN (SELECT job_id, app FROM progress AS old
       WHERE at_ms < $1 AND NOT EXISTS (SELECT 1 FROM job WHERE job.id = old.job_id) LIMIT $2)`,
    [before, limit],
  );
  const deleted = progress.rowCount ?? 0;
  const messages = await client.query<Row>(
    `DELETE FROM message WHERE (app, id) IN (SELECT app, id FROM message WHERE last_ms < $1 ORDER BY last_ms LIMIT $2)
     RETURNING app, id`,
    [before, limit - deleted],
  );
  await client.query(
    `DELETE FROM seen USING unnest($1::text[], $2::text[]) AS gone (app, id)
     WHERE seen.app = gone.app AND seen.id = gone.id`,
    columns(messages.rows, (row) => [row['app'], row['id']]),
  );
  return deleted + messages.rows.length;
}

/** Rows as arrays of columns: one statement writes any number of rows, and is planned once. */
function columns<T>(rows: readonly T[], valuesOf: (row: T) => readonly unknown[]): unknown[][] {
  const values = rows.map(valuesOf);
  const width = values[0]?.length ?? 0;
  if (width === 0) return [[], []];
  return Array.from({ length: width }, (_, column) => values.map((row) => row[column]));
}

const termColumns = (terms: readonly TermRow[]): unknown[][] =>
  columns(terms, ({ term, createdMs, jobId }) => [bytes(term), createdMs, jobId]);

const bytes = (value: Uint8Array): Buffer => Buffer.from(value.buffer, value.byteOffset, value.byteLength);

function jobOf(row: Row): JobRow {
  return {
    id: String(row['id']),
    generation: Number(row['generation']),
    sequence: Number(row['sequence']),
    account: String(row['account']),
    kind: String(row['kind']),
    state: String(row['state']),
    open: row['open'] === true,
    createdMs: Number(row['created_ms']),
    updatedMs: Number(row['updated_ms']),
    recipient: row['recipient'] as Uint8Array | null,
    erased: row['erased'] === true,
    terms: row['terms'] as Uint8Array,
    snapshot: row['snapshot'] as Uint8Array,
  };
}

const progressRow = (row: Row): ProgressRow => ({
  jobId: String(row['job_id']),
  app: String(row['app']),
  generation: Number(row['generation']),
  sequence: Number(row['sequence']),
  state: row['state'] as ProgressRow['state'],
  attempt: Number(row['attempt']),
  atMs: Number(row['at_ms']),
});
