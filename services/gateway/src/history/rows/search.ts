import type { JobCursor, JobFilter } from '../read-model.ts';
import { fileNameTerm, metadataTerm, recipientTerm } from './decode.ts';
import { recipientDigest, term } from './terms.ts';

/**
 * How many index entries of one term are looked at for a page. A question whose filters match many jobs each and few
 * together ends there with a page that is not full, instead of going through the history.
 */
export const WINDOW = 5_000;
/** How many messages of an app are looked at for a page of those that lack something. */
export const MESSAGES_WINDOW = 2_000;
/** How far the entries of a term are counted to choose the term that has the fewest. */
export const COUNTED = 1_000;

/** A stretch of the index: newest first, from behind a place, within times. */
export interface Range {
  readonly behind: JobCursor | undefined;
  readonly sinceMs: number | undefined;
  readonly untilMs: number | undefined;
}

/** The terms that a job must have to match a filter: at least one. */
export function termsOfFilter(filter: JobFilter): Buffer[] {
  const { account, state, kind, recipient, error, fileName, webhook, metadata = {} } = filter;
  const terms: Buffer[] = [];
  if (recipient !== undefined) terms.push(recipientTerm(account, recipientDigest(recipient)));
  if (fileName !== undefined) terms.push(fileNameTerm(account, fileName));
  for (const [key, value] of Object.entries(metadata)) terms.push(metadataTerm(account, key, value));
  if (webhook === true) terms.push(term(account, 'webhook', ''));
  if (error !== undefined) terms.push(term(account, 'error', error));
  if (state !== undefined) terms.push(term(account, 'state', state));
  if (kind !== undefined) terms.push(term(account, 'kind', kind));
  return terms.length === 0 ? [term(account, 'any', '')] : terms;
}

export const rangeOf = ({ cursor, sinceMs, untilMs }: JobFilter): Range => ({ behind: cursor, sinceMs, untilMs });

type Value = Buffer | string | number;

/** A statement with its values, for a dialect with placeholders of its own. */
export interface Statement {
  readonly sql: string;
  readonly values: readonly Value[];
}

type Placeholder = (position: number) => string;

/** Collects values while a statement is written. */
function statement(placeholder: Placeholder, write: (value: (value: Value) => string) => string): Statement {
  const values: Value[] = [];
  const sql = write((value) => {
    values.push(value);
    return placeholder(values.length);
  });
  return { sql, values };
}

function entries(first: Buffer, range: Range, value: (value: Value) => string): string {
  const { behind, sinceMs, untilMs } = range;
  const where = [`term = ${value(first)}`];
  if (behind !== undefined) where.push(`(created_ms, job_id) < (${value(behind.createdMs)}, ${value(behind.id)})`);
  if (sinceMs !== undefined) where.push(`created_ms >= ${value(sinceMs)}`);
  if (untilMs !== undefined) where.push(`created_ms < ${value(untilMs)}`);
  return `SELECT created_ms, job_id FROM job_term WHERE ${where.join(' AND ')}
    ORDER BY created_ms DESC, job_id DESC`;
}

/** How many entries a term has in a range, counted up to `COUNTED`. */
export const countEntries = (one: Buffer, range: Range, placeholder: Placeholder): Statement =>
  statement(
    placeholder,
    (value) => `SELECT count(*) AS found FROM (${entries(one, range, value)} LIMIT ${value(COUNTED)}) AS entry`,
  );

/** The jobs that have all terms, among the next `WINDOW` that have the first. */
export const matching = (terms: readonly Buffer[], range: Range, limit: number, placeholder: Placeholder): Statement =>
  statement(placeholder, (value) => {
    const [first, ...others] = terms as [Buffer, ...Buffer[]];
    const window = others.length === 0 ? limit : WINDOW;
    const from = `(${entries(first, range, value)} LIMIT ${value(window)}) AS entry`;
    const where = others.map(
      (other) => `EXISTS (SELECT 1 FROM job_term AS other WHERE other.term = ${value(other)}
        AND other.created_ms = entry.created_ms AND other.job_id = entry.job_id)`,
    );
    return `SELECT created_ms, job_id FROM ${from} ${where.length === 0 ? '' : `WHERE ${where.join(' AND ')}`}
      ORDER BY created_ms DESC, job_id DESC LIMIT ${value(limit)}`;
  });

/** The last entry of the window, if the range holds that many. */
export const windowEnd = (first: Buffer, range: Range, placeholder: Placeholder): Statement =>
  statement(placeholder, (value) => `${entries(first, range, value)} LIMIT 1 OFFSET ${value(WINDOW - 1)}`);
