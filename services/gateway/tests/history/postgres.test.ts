import { execFile } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { findPostgres, startPostgres, type PostgresProcess } from '@sluice/dev';
import { JobState } from '@sluice/contracts';
import { newJobId } from '@sluice/jobs';
import { silentLogger } from '@sluice/pipeline';
import type { Logger } from '@sluice/telemetry';
import { Client } from 'pg';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { copyHistory, hasHistory, restoreHistory } from '../../src/backup/history-copy.ts';
import { openReadModel } from '../../src/history/open-read-model.ts';
import { pack } from '../../src/history/packed-messages.ts';
import type { ThreadedReadModel } from '../../src/history/thread/host.ts';
import { eventually } from '../rig.ts';
import { jobEvent, readModelConformance, takeIn } from './conformance.ts';

const log = silentLogger as unknown as Logger;
const bin = findPostgres();

describe.skipIf(bin === undefined)('the read model in PostgreSQL (skipped where none is installed)', () => {
  let server: PostgresProcess;
  beforeAll(async () => {
    server = await startPostgres(bin ?? '');
  });
  afterAll(() => server?.stop());
  const opened: { close(): Promise<void> }[] = [];
  afterEach(async () => {
    for (const each of opened.splice(0)) await each.close();
  });
  const open = async (url: string): Promise<ThreadedReadModel> => {
    const model = await openReadModel(url, log);
    opened.push(model);
    return model;
  };
  const sql = async (url: string, text: string): Promise<Record<string, unknown>[]> => {
    const client = new Client({ connectionString: url });
    await client.connect();
    try {
      return (await client.query<Record<string, unknown>>(text)).rows;
    } finally {
      await client.end();
    }
  };

  describe('by the suite of all read models', () => {
    readModelConformance(async () => openReadModel(await server.newDatabase(), log));
  });

  test('has its schema brought up by `pnpm migrate`, which does nothing the second time', async () => {
    const url = await server.newDatabase();
    const migrate = async (place = url) => {
      const script = join(import.meta.dirname, '../../src/cli/migrate.ts');
      const env = { ...process.env, READ_MODEL_URL: place, SLUICE_ENV: 'dev' };
      return (await promisify(execFile)(process.execPath, [script], { env })).stdout;
    };
    expect(await migrate()).toMatch(/^ran {6}2026-11-tables$/m);
    expect(await migrate()).toMatch(/^the history at postgres:\/\/\S+ is as it should be$/m);
    await expect(migrate('sqlite:history.sqlite')).rejects.toMatchObject({ code: 2 });
    // A gateway finds everything there.
    await open(url);
  });

  test('is copied while a gateway has it open, and brought back into an empty database', async () => {
    const [url, other] = [await server.newDatabase(), await server.newDatabase()];
    const [from, to] = [
      { kind: 'postgres', url },
      { kind: 'postgres', url: other },
    ] as const;
    const model = await open(url);
    const id = newJobId();
    await model.follow('JOBS', { created: 'first', lastSequence: 1 });
    await model.apply({ stream: 'JOBS', after: 0, messages: pack([jobEvent(1, { id })]) });
    const folder = await mkdtemp(join(tmpdir(), 'sluice-dump-'));
    try {
      const file = join(folder, 'history.dump');
      await copyHistory(from, file);
      expect([await hasHistory(from), await hasHistory(to)]).toEqual([true, false]);
      await restoreHistory(to, file);
    } finally {
      await rm(folder, { recursive: true });
    }
    const restored = await open(other);
    expect(await restored.follow('JOBS', { created: 'first', lastSequence: 1 })).toEqual({ after: 1, leads: true });
    expect((await restored.jobs({ account: 'acme', limit: 9 })).jobs).toMatchObject([{ id }]);
    await expect(copyHistory({ kind: 'postgres', url: `${url}_not_there` }, '/dev/null')).rejects.toThrow(
      /pg_dump failed: .*does not exist/,
    );
  });

  test('one of two gateways takes the streams in, the other one when it has gone', async () => {
    const url = await server.newDatabase();
    const [first, second] = [await open(url), await open(url)];
    const look = { created: 'first', lastSequence: 100 };
    expect(await first.follow('JOBS', look)).toEqual({ after: 0, leads: true });
    expect(await second.follow('JOBS', look)).toEqual({ after: 0, leads: false });
    const id = newJobId();
    await first.apply({ stream: 'JOBS', after: 0, messages: pack([jobEvent(1, { id })]) });
    expect(await second.follow('JOBS', look)).toEqual({ after: 1, leads: false });
    expect((await second.jobs({ account: 'acme', limit: 9 })).jobs).toMatchObject([{ id }]);
    await first.close();
    await eventually(
      () => second.follow('JOBS', look),
      ({ leads }) => leads,
    );
    // What the one before had in hand is refused: the position has moved.
    await second.apply({ stream: 'JOBS', after: 1, messages: pack([jobEvent(2, { id: newJobId() })]) });
    const late = await open(url);
    const stale = { stream: 'JOBS' as const, after: 1, messages: pack([jobEvent(2, { id: newJobId() })]) };
    await expect(late.apply(stale)).rejects.toMatchObject({ name: 'PositionMovedError' });
    expect(await second.counts('acme')).toEqual({ accepted: 2 });
  });

  test('months are made ahead, and dropped when their jobs have ended long enough ago', async () => {
    const url = await server.newDatabase();
    const model = await open(url);
    const months = async () =>
      (await sql(url, `SELECT relname FROM pg_class WHERE relname ~ '^job_\\d{4}_\\d{2}$' ORDER BY relname`)).map(
        ({ relname }) => relname,
      );
    const [january, february] = [Date.UTC(2026, 0, 5), Date.UTC(2026, 1, 5)];
    const waiting = newJobId();
    await takeIn(model, 'JOBS', [
      jobEvent(1, { id: newJobId(), state: JobState.SUCCEEDED }, january),
      jobEvent(2, { id: newJobId(), state: JobState.FAILED }, january + 1),
      jobEvent(3, { id: waiting }, february),
      jobEvent(4, { id: newJobId(), state: JobState.SUCCEEDED }, february + 1),
    ]);
    const made = await months();
    expect(made.slice(0, 2)).toEqual(['job_2026_01', 'job_2026_02']);
    expect(made.length).toBeGreaterThanOrEqual(5);
    expect(await model.prune(Date.UTC(2026, 3, 1), 500)).toBeGreaterThanOrEqual(1);
    // The month of an open job stays as long as it is open.
    expect(await months()).toEqual(made.slice(1));
    expect(await model.counts('acme')).toEqual({ accepted: 1 });
    expect((await model.jobs({ account: 'acme', limit: 9 })).jobs).toMatchObject([{ id: waiting }]);
  });

  test('a server that stops is an outage, and goes on by itself', async () => {
    const url = await server.newDatabase();
    const model = await open(url);
    const id = newJobId();
    await takeIn(model, 'JOBS', [jobEvent(1, { id })]);
    await server.kill();
    await expect(model.jobs({ account: 'acme', limit: 9 })).rejects.toMatchObject({ code: 'read_model_unavailable' });
    await server.start();
    const ask = () => model.jobs({ account: 'acme', limit: 9 }).catch(() => undefined);
    const page = await eventually(ask, (answer) => answer !== undefined);
    expect(page?.jobs).toMatchObject([{ id }]);
    const again = () => model.follow('JOBS', { created: 'first', lastSequence: 9 }).catch(() => undefined);
    expect(await eventually(again, (answer) => answer?.leads === true)).toEqual({ after: 1, leads: true });
  });
});

test('a database that cannot be reached at the start is asked again, and lists say so', async () => {
  const model = await openReadModel('postgres://absent@127.0.0.1:1/none', log);
  try {
    expect(model.problem()).toContain('postgres://127.0.0.1:1/none cannot be opened');
    await expect(model.jobs({ account: 'acme', limit: 9 })).rejects.toMatchObject({ code: 'read_model_unavailable' });
  } finally {
    await model.close();
  }
});
