/**
 * The schema, one entry per version of it: a file of an older version is brought up by what it lacks. Only ever append.
 */
export const migrations: readonly string[] = [
  `
  CREATE TABLE position (
    stream TEXT PRIMARY KEY, created TEXT NOT NULL, generation INTEGER NOT NULL, sequence INTEGER NOT NULL
  ) WITHOUT ROWID;

  CREATE TABLE job (
    id TEXT NOT NULL UNIQUE, generation INTEGER NOT NULL, sequence INTEGER NOT NULL, account TEXT NOT NULL,
    kind TEXT NOT NULL, state TEXT NOT NULL, open INTEGER NOT NULL, created_ms INTEGER NOT NULL,
    updated_ms INTEGER NOT NULL, recipient BLOB, erased INTEGER NOT NULL, terms BLOB NOT NULL, snapshot BLOB NOT NULL
  );
  CREATE INDEX job_open ON job (created_ms, id) WHERE open = 1;
  CREATE INDEX job_open_by_kind ON job (kind, created_ms) WHERE open = 1;
  CREATE INDEX job_ended ON job (updated_ms) WHERE open = 0;
  CREATE INDEX job_by_recipient ON job (recipient) WHERE recipient IS NOT NULL;

  -- What jobs are found by, in the order that lists have.
  CREATE TABLE job_term (
    term BLOB NOT NULL, created_ms INTEGER NOT NULL, job_id TEXT NOT NULL, PRIMARY KEY (term, created_ms, job_id)
  ) WITHOUT ROWID;
  CREATE TABLE job_count (
    account TEXT NOT NULL, kind TEXT NOT NULL, state TEXT NOT NULL, jobs INTEGER NOT NULL,
    PRIMARY KEY (account, kind, state)
  ) WITHOUT ROWID;

  CREATE TABLE progress (
    job_id TEXT NOT NULL, app TEXT NOT NULL, generation INTEGER NOT NULL, sequence INTEGER NOT NULL,
    state TEXT NOT NULL, attempt INTEGER NOT NULL, at_ms INTEGER NOT NULL, PRIMARY KEY (job_id, app)
  ) WITHOUT ROWID;
  CREATE INDEX progress_by_age ON progress (at_ms);

  CREATE TABLE message (
    app TEXT NOT NULL, id TEXT NOT NULL, first_ms INTEGER NOT NULL, last_ms INTEGER NOT NULL, PRIMARY KEY (app, id)
  ) WITHOUT ROWID;
  CREATE INDEX message_by_time ON message (app, first_ms, id);
  CREATE INDEX message_by_age ON message (last_ms);
  CREATE TABLE seen (
    app TEXT NOT NULL, id TEXT NOT NULL, event TEXT NOT NULL, PRIMARY KEY (app, id, event)
  ) WITHOUT ROWID;
  `,
];
