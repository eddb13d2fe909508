import type { ClientBase } from 'pg';

/** The tables that are cut into months by when their jobs were accepted. */
const TABLES = ['job', 'job_term'] as const;
/** Months that are made before they are needed: a new month begins without a lock on the whole table. */
const AHEAD = 2;

/** A month of the history. */
export interface Month {
  /** `2026_11`: how its tables end. */
  readonly name: string;
  readonly fromMs: number;
  readonly toMs: number;
}

export function monthOf(ms: number, further = 0): Month {
  const at = new Date(ms);
  const from = new Date(Date.UTC(at.getUTCFullYear(), at.getUTCMonth() + further, 1));
  const toMs = Date.UTC(from.getUTCFullYear(), from.getUTCMonth() + 1, 1);
  const name = `${from.getUTCFullYear()}_${String(from.getUTCMonth() + 1).padStart(2, '0')}`;
  return { name, fromMs: from.getTime(), toMs };
}

/** The months that a batch of jobs needs, and those ahead. */
export const monthsFor = (createdMs: readonly number[], nowMs: number): Month[] => {
  const months = new Map<string, Month>();
  const ahead = Array.from({ length: AHEAD + 1 }, (_, further) => monthOf(nowMs, further));
  for (const month of [...createdMs.map((ms) => monthOf(ms)), ...ahead]) months.set(month.name, month);
  return [...months.values()];
};

export async function makeMonth(client: ClientBase, { name, fromMs, toMs }: Month): Promise<void> {
  for (const table of TABLES) {
    await client.query(
      `CREATE TABLE IF NOT EXISTS ${table}_${name} PARTITION OF ${table} FOR VALUES FROM (${fromMs}) TO (${toMs})`,
    );
  }
}

export async function dropMonth(client: ClientBase, { name }: Month): Promise<void> {
  for (const table of TABLES) await client.query(`DROP TABLE IF EXISTS ${table}_${name}`);
}

/** The months that there are, the oldest first. */
export async function existingMonths(client: ClientBase): Promise<Month[]> {
  const { rows } = await client.query<{ name: string }>(
    `SELECT child.relname AS name FROM pg_inherits JOIN pg_class AS child ON child.oid = inhrelid
     WHERE inhparent = 'job'::regclass ORDER BY child.relname`,
  );
  return rows.flatMap(({ name }) => {
    const found = /^job_(\d{4})_(\d{2})$/.exec(name);
    return found === null ? [] : [monthOf(Date.UTC(Number(found[1]), Number(found[2]) - 1, 1))];
  });
}
