import { sql, type Kysely } from 'kysely';
import type { Migration } from 'kysely/migration';

/** The schema, one entry per version of it, by names whose order is that of the versions. Only ever add. */
export const migrations: Readonly<Record<string, Migration>> = {
  // Texts are compared by their bytes, as cursors and SQLite do.
  '2026-11-tables': {
    up: (db: Kysely<never>) =>
      run(db, [
        `CREATE TABLE position (
          stream text PRIMARY KEY, created text NOT NULL, generation int NOT NULL, sequence bigint NOT NULL
        )`,
        `CREATE TABLE job (
          id text COLLATE "C" NOT NULL, generation int NOT NULL, sequence bigint NOT NULL, account text NOT NULL,
          kind text NOT NULL, state text NOT NULL, open boolean NOT NULL, created_ms bigint NOT NULL,
          updated_ms bigint NOT NULL, recipient bytea, erased boolean NOT NULL, terms bytea NOT NULL,
          snapshot bytea NOT NULL, PRIMARY KEY (id, created_ms)
        ) PARTITION BY RANGE (created_ms)`,
        'CREATE INDEX job_open ON job (created_ms, id) WHERE open',
        'CREATE INDEX job_open_by_kind ON job (kind, created_ms) WHERE open',
        'CREATE INDEX job_ended ON job (updated_ms) WHERE NOT open',
        'CREATE INDEX job_by_recipient ON job (recipient) WHERE recipient IS NOT NULL',
        `CREATE TABLE job_term (
          term bytea NOT NULL, created_ms bigint NOT NULL, job_id text COLLATE "C" NOT NULL,
          PRIMARY KEY (term, created_ms, job_id)
        ) PARTITION BY RANGE (created_ms)`,
        `CREATE TABLE job_count (
          account text NOT NULL, kind text NOT NULL, state text NOT NULL, jobs bigint NOT NULL,
          PRIMARY KEY (account, kind, state)
        )`,
        `CREATE TABLE progress (
          job_id text NOT NULL, app text NOT NULL, generation int NOT NULL, sequence bigint NOT NULL,
          state text NOT NULL, attempt int NOT NULL, at_ms bigint NOT NULL, PRIMARY KEY (job_id, app)
        )`,
        'CREATE INDEX progress_by_age ON progress (at_ms)',
        `CREATE TABLE message (
          app text NOT NULL, id text COLLATE "C" NOT NULL, first_ms bigint NOT NULL, last_ms bigint NOT NULL,
          PRIMARY KEY (app, id)
        )`,
        'CREATE INDEX message_by_time ON message (app, first_ms, id)',
        'CREATE INDEX message_by_age ON message (last_ms)',
        `CREATE TABLE seen (
          app text NOT NULL, id text COLLATE "C" NOT NULL, event text NOT NULL, PRIMARY KEY (app, id, event)
        )`,
      ]),
  },
};

async function run(db: Kysely<never>, statements: readonly string[]): Promise<void> {
  for (const statement of statements) await sql.raw(statement).execute(db);
}
