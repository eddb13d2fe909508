import { Pool, type ClientBase } from 'pg';
import { isJobStream } from '@sluice/contracts';
import { jobView } from '../../jobs/job-view.ts';
import { changesOf, jobsIn, rowChanges } from '../rows/changes.ts';
import { decodeEvents, decodeJobs, progressIn, snapshotOf, withoutPerson } from '../rows/decode.ts';
import type { JobRow, ProgressRow } from '../rows/rows.ts';
import { countEntries, matching, rangeOf, termsOfFilter, windowEnd, type Statement } from '../rows/search.ts';
import { recipientDigest } from '../rows/terms.ts';
import {
  PositionMovedError,
  ReadModelUnavailableError,
  type JobCursor,
  type JobFilter,
  type JobPage,
  type ReadModel,
} from '../read-model.ts';
import { holdLeadership, type Leadership } from './leadership.ts';
import { migrate } from './migrate.ts';
import { dropMonth, existingMonths, makeMonth, monthsFor } from './partitions.ts';
import * as rows from './statements.ts';

const CONNECTIONS = 5;
const CONNECT_MS = 5_000;
/** Of one statement. Deleting a step and writing a batch take a fraction of it. */
const STATEMENT_MS = 15_000;
const ERASED_AT_ONCE = 500;

const placeholder = (position: number): string => `$${position}`;

/**
 * The read model in PostgreSQL, one for all gateways: the one that holds an advisory lock of the database takes the
 * streams in, and another one does once its session has ended.
 *
 * @throws {ReadModelUnavailableError} when the database does not answer.
 */
export async function openPostgresModel(url: string, onFault: (error: unknown) => void): Promise<ReadModel> {
  const pool = new Pool({
    connectionString: url,
    max: CONNECTIONS,
    connectionTimeoutMillis: CONNECT_MS,
    statement_timeout: STATEMENT_MS,
    application_name: 'sluice-history',
    keepAlive: true,
  });
  // A connection that breaks while it is idle is replaced by the next one that is wanted.
  pool.on('error', onFault);
  let leadership: Leadership;
  try {
    await migrate(pool);
    leadership = holdLeadership(url, onFault);
  } catch (error) {
    await pool.end();
    throw asUnavailable(error);
  }
  const made = new Map<string, Promise<void>>();

  async function step<T>(run: (client: ClientBase) => Promise<T>): Promise<T> {
    try {
      const client = await pool.connect();
      let fault: unknown;
      try {
        return await run(client);
      } catch (error) {
        fault = error;
        throw error;
      } finally {
        // One whose statement failed is not used again: what state it is in is not known.
        client.release(fault !== undefined);
      }
    } catch (error) {
      throw asUnavailable(error);
    }
  }

  const transaction = <T>(run: (client: ClientBase) => Promise<T>): Promise<T> =>
    step(async (client) => {
      await client.query('BEGIN');
      const result = await run(client);
      await client.query('COMMIT');
      return result;
    });

  /** In transactions of their own: a table that is made locks its parent until its transaction ends. */
  async function makeMonths(createdMs: readonly number[]): Promise<void> {
    for (const month of monthsFor(createdMs, Date.now())) {
      let making = made.get(month.name);
      if (making === undefined) {
        // Once for both streams: of two sessions that make a table IF NOT EXISTS at once, one fails.
        making = step((client) => makeMonth(client, month));
        made.set(month.name, making);
        making.catch(() => made.delete(month.name));
      }
      await making;
    }
  }

  const viewsOf = async (client: ClientBase, jobs: readonly JobRow[]) => {
    const open = jobs.filter((job) => job.open).map(({ id }) => id);
    const progress = open.length === 0 ? new Map<string, ProgressRow[]>() : await rows.progressOf(client, open);
    return jobs.map((job) =>
      jobView(snapshotOf(job), job.open ? progressIn(job.kind, progress.get(job.id) ?? []) : undefined),
    );
  };

  async function remove(client: ClientBase, jobs: readonly JobRow[]): Promise<void> {
    await rows.write(client, { ...rowChanges(jobs.map((row) => [row, undefined])), progress: [], messages: [] });
    await rows.deleteJobs(client, jobs);
  }

  async function pageOf(client: ClientBase, filter: JobFilter): Promise<JobPage> {
    const all = async ({ sql, values }: Statement) => (await client.query<rows.Row>(sql, [...values])).rows;
    const range = rangeOf(filter);
    const counted = [];
    const terms = termsOfFilter(filter);
    for (const each of terms.length === 1 ? [] : terms) {
      counted.push({ each, found: Number((await all(countEntries(each, range, placeholder)))[0]?.['found']) });
    }
    const ordered = terms.length === 1 ? terms : counted.sort((a, b) => a.found - b.found).map(({ each }) => each);
    const found = (await all(matching(ordered, range, filter.limit + 1, placeholder))).map(cursorOf);
    const page = found.slice(0, filter.limit);
    const byId = await rows.jobsById(
      client,
      page.map(({ id }) => id),
    );
    const own = page.flatMap(({ id }) => byId.get(id) ?? []).filter(({ account }) => account === filter.account);
    const jobs = await viewsOf(client, own);
    if (found.length > filter.limit) return { jobs, next: page.at(-1)! };
    if (ordered.length === 1) return { jobs };
    const [end] = await all(windowEnd(ordered[0]!, range, placeholder));
    return end === undefined ? { jobs } : { jobs, next: cursorOf(end) };
  }

  /** Drops the months whose jobs have all ended, and long enough ago. */
  async function dropOldMonths(beforeMs: number): Promise<number> {
    let dropped = 0;
    const months = (await step(existingMonths)).filter(({ toMs }) => toMs <= beforeMs);
    for (const month of months) {
      dropped += await transaction(async (client) => {
        const stays = await client.query(`SELECT 1 FROM job_${month.name} WHERE open OR updated_ms >= $1 LIMIT 1`, [
          rows.bounded(beforeMs),
        ]);
        if (stays.rows.length > 0) return 0;
        const count = await rows.uncountMonth(client, month.name);
        await dropMonth(client, month);
        return count;
      });
      if (!(await step(existingMonths)).some(({ name }) => name === month.name)) made.delete(month.name);
    }
    return dropped;
  }

  return {
    follow: (stream, { created, lastSequence }) =>
      transaction(async (client) => {
        const leads = await leadership.holds();
        const before = await rows.position(client, stream, leads);
        if (!leads) return { after: before?.sequence ?? 0, leads };
        if (before?.created === created && before.sequence <= lastSequence) return { after: before.sequence, leads };
        const generation = (before?.generation ?? 0) + 1;
        await rows.putPosition(client, { stream, created, generation, sequence: 0 });
        return { after: 0, leads };
      }),
    async apply({ stream, after, messages }) {
      const decode = isJobStream(stream) ? decodeJobs : decodeEvents;
      const told = decode(messages, 0);
      await makeMonths([...told.jobs.values()].map(({ createdMs }) => createdMs));
      return transaction(async (client) => {
        // Locked: another gateway that projects, because it took this one for dead, waits here and then finds it moved.
        const position = await rows.position(client, stream, true);
        if (position?.sequence !== after) {
          throw new PositionMovedError(`the read model stands at ${position?.sequence} of ${stream}, not at ${after}`);
        }
        const decoded = decode(messages, position.generation);
        await rows.write(client, changesOf(decoded, await rows.known(client, jobsIn(decoded))));
        await rows.putPosition(client, { ...position, sequence: messages.sequences.at(-1) ?? after });
        return { unreadable: decoded.unreadable };
      });
    },
    jobs: (filter) => step((client) => pageOf(client, filter)),
    job: (account, id) =>
      step(async (client) => {
        const row = (await rows.jobsById(client, [id])).get(id);
        return row?.account === account ? row.snapshot : undefined;
      }),
    counts: (account, kind) => step((client) => rows.counts(client, account, kind)),
    incomplete: (appId, expected, limit, after) =>
      step((client) => rows.incomplete(client, appId, expected, limit, after)),
    seen: (appId, messageId, expected) => step((client) => rows.seen(client, appId, messageId, expected)),
    open: () => step(rows.open),
    openJobs: (beforeMs, limit, after) => step((client) => rows.openJobs(client, beforeMs, limit, after)),
    forget: (jobId) =>
      transaction(async (client) => {
        const row = (await rows.jobsById(client, [jobId], true)).get(jobId);
        if (row !== undefined) await remove(client, [row]);
      }),
    async eraseRecipient(address) {
      const digest = recipientDigest(address);
      let erased = 0;
      for (;;) {
        const count = await transaction(async (client) => {
          const found = await rows.jobsFor(client, digest, ERASED_AT_ONCE);
          const pairs = found.map((row): [JobRow, JobRow] => [row, withoutPerson(row)]);
          await rows.write(client, { ...rowChanges(pairs), progress: [], messages: [] });
          return found.length;
        });
        erased += count;
        if (count < ERASED_AT_ONCE) return erased;
      }
    },
    async prune(beforeMs, limit) {
      if (!(await leadership.holds())) return 0;
      await makeMonths([]);
      await dropOldMonths(beforeMs);
      return transaction(async (client) => {
        const ended = await rows.ended(client, beforeMs, limit);
        await remove(client, ended);
        const left = limit - ended.length;
        return ended.length + (left === 0 ? 0 : await rows.pruneOthers(client, beforeMs, left));
      });
    },
    usage: () => step(rows.usage),
    async close() {
      await leadership.close();
      await pool.end();
    },
  };
}

const cursorOf = (row: rows.Row): JobCursor => ({ createdMs: Number(row['created_ms']), id: String(row['job_id']) });

/** Classes of SQLSTATE that say nothing about the statement: connection, resources, shutdown, timeouts. */
const OUTAGE = /^(08|53|57|58|40)/;

function asUnavailable(error: unknown): unknown {
  if (error instanceof PositionMovedError || error instanceof ReadModelUnavailableError) return error;
  const { code, severity } = error as { code?: unknown; severity?: unknown };
  if (severity !== undefined && !(typeof code === 'string' && OUTAGE.test(code))) return error;
  const why = error instanceof Error ? error.message : String(error);
  return new ReadModelUnavailableError(`PostgreSQL does not answer: ${why}`, { cause: error });
}
