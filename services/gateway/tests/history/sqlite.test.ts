import { mkdtemp, open as openFile, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { getPriority, tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { Worker } from 'node:worker_threads';
import { newJobId } from '@sluice/jobs';
import { silentLogger } from '@sluice/pipeline';
import type { Logger } from '@sluice/telemetry';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { openReadModel } from '../../src/history/open-read-model.ts';
import type { ReadModel } from '../../src/history/read-model.ts';
import { startReadModel } from '../../src/history/thread/host.ts';
import { eventually } from '../rig.ts';
import { jobEvent, readModelConformance, takeIn } from './conformance.ts';

const log = silentLogger as unknown as Logger;

describe('the read model in SQLite', () => {
  readModelConformance(() => openReadModel('sqlite::memory:', log));
});

describe('the file of a read model', () => {
  let directory: string;
  let url: string;
  const opened: { close(): Promise<void> }[] = [];
  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'sluice-history-'));
    url = `sqlite:${join(directory, 'folder', 'history.sqlite')}`;
  });
  afterEach(async () => {
    for (const each of opened.splice(0)) await each.close();
    await rm(directory, { recursive: true, force: true });
  });
  const open = async (to = log): Promise<ReadModel> => {
    const model = await openReadModel(url, to);
    opened.push(model);
    return model;
  };
  const path = (): string => url.slice('sqlite:'.length);
  const ids = async (model: ReadModel) => (await model.jobs({ account: 'acme', limit: 9 })).jobs.map(({ id }) => id);

  test('is made with its folder, and is still there after a restart', async () => {
    const id = newJobId();
    const model = await open();
    await takeIn(model, 'JOBS', [jobEvent(1, { id })]);
    await model.close();
    const again = await open();
    expect(await ids(again)).toEqual([id]);
    expect((await again.follow('JOBS', { created: 'first', lastSequence: 1 })).after).toBe(1);
  });

  test('is refused to a second gateway, with what to do about it', async () => {
    await open();
    await expect(open()).rejects.toThrow(/history\.sqlite is open in another process: give every gateway a file/);
  });

  test('of a newer version is refused and left alone', async () => {
    await (await open()).close();
    const db = new DatabaseSync(path());
    db.exec('PRAGMA user_version = 999');
    db.close();
    await expect(open()).rejects.toThrow('was made by a newer version (schema 999');
    expect(await readdir(join(directory, 'folder'))).toEqual(['history.sqlite']);
  });

  test('that is no database is moved aside, said, and made anew', async () => {
    await (await open()).close();
    await writeFile(path(), 'x'.repeat(8_192));
    const said: string[] = [];
    const model = await open({ ...log, error: (_: object, text: string) => said.push(text) } as never);
    expect(await ids(model)).toEqual([]);
    expect(await readdir(join(directory, 'folder'))).toContain('history.sqlite.corrupt');
    expect(said).toEqual([expect.stringContaining('history.sqlite.corrupt')]);
  });

  test('that breaks under way is made anew, and the projection begins again', async () => {
    const model = await open();
    const events = Array.from({ length: 3_000 }, (_, i) => jobEvent(i + 1, { id: newJobId() }));
    await takeIn(model, 'JOBS', events);
    await model.close();
    // The first page, which says where everything is, stays as it was.
    const file = await openFile(path(), 'r+');
    const { size } = await file.stat();
    await file.write(Buffer.alloc(size - 4_096, 0xa5), 0, size - 4_096, 4_096);
    await file.close();
    const again = await open();
    await again.jobs({ account: 'acme', limit: 9 }).catch(() => undefined);
    expect((await again.follow('JOBS', { created: 'first', lastSequence: 3_000 })).after).toBe(0);
    await takeIn(again, 'JOBS', events.slice(0, 5));
    expect(await ids(again)).toHaveLength(5);
  });

  test.runIf(process.platform === 'linux')(
    'is kept by a thread that yields to the one that answers clients',
    async () => {
      const nices = async (): Promise<number[]> => {
        const threads = await readdir('/proc/self/task');
        // The 19th field, behind a name in parentheses.
        const stat = (id: string) => readFile(`/proc/self/task/${id}/stat`, 'utf8').catch(() => '');
        return (await Promise.all(threads.map(stat))).flatMap((text) =>
          text === '' ? [] : [Number(text.slice(text.lastIndexOf(')') + 2).split(' ')[16])],
        );
      };
      const nicer = async (): Promise<number> => (await nices()).filter((nice) => nice >= getPriority() + 5).length;
      const before = await nicer();
      await open();
      expect(await nicer()).toBe(before + 1);
    },
  );

  test('outlives its thread: questions are refused meanwhile, and answered by the next one', async () => {
    const threads: Worker[] = [];
    const model = await startReadModel({ kind: 'sqlite', path: path() }, log, (file, options) => {
      const thread = new Worker(file, options);
      threads.push(thread);
      return thread;
    });
    opened.push(model);
    const id = newJobId();
    await takeIn(model, 'JOBS', [jobEvent(1, { id })]);
    // A thread that is being ended answers nothing more.
    const ended = threads[0]!.terminate();
    await expect(model.usage()).rejects.toMatchObject({ code: 'read_model_unavailable' });
    await ended;
    expect(model.problem()).toContain('started again');
    await eventually(
      async () => model.problem(),
      (problem) => problem === undefined,
    );
    expect(threads).toHaveLength(2);
    expect(await ids(model)).toEqual([id]);
    // Closed while its thread ends, it does not wait for an answer.
    const again = threads[1]!.terminate();
    await model.close();
    await again;
  });
});
