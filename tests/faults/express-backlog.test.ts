import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startStack, type Stack } from '@sluice/dev';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { runBacklog, type BacklogRun } from './backlog.ts';

/** A few hundred show how it works, `BACKLOG_JOBS=10000` that it does so in earnest; `pnpm bench backlog` has the times. */
const JOBS = Number(process.env['BACKLOG_JOBS'] ?? 300);

let directory: string;
let stack: Stack;
let run: BacklogRun;
beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'sluice-backlog-'));
  stack = await startStack({
    dataDirectory: directory,
    services: ['gateway', 'email', 'client'],
    mail: { maxMails: 2 * JOBS + 10_000 },
    // However quick the machine, the lane takes a second to drain.
    mailLatencyMs: 20,
    env: { '*': { LOG_LEVEL: 'error', TRACE_SAMPLE_RATIO: '0' }, gateway: { MAX_BACKLOG: `${JOBS}` } },
  });
  run = await runBacklog(stack, { jobs: JOBS, idleJobs: 20, expressPerSecond: 20, expressAtOnce: 10 });
});
afterAll(async () => {
  await stack?.stop();
  await rm(directory, { recursive: true, force: true });
});

describe(`${JOBS} normal mails in a lane that holds no more`, () => {
  test('are all there are: every later request is refused with the time to come back', () => {
    expect(run.deepest).toBe(JOBS);
    expect(run.refused).toBeGreaterThan(0);
  });

  test('are passed by express mails', () => {
    // None was refused and all ended while the backlog was there.
    expect(run.backlogMs.length).toBeGreaterThan(0);
  });

  test('all succeed, and so does everything express', () => {
    const { deepest, refused, accepted, backlogMs, drainMs } = run;
    console.log(
      `${deepest} queued, ${refused} refused with Retry-After, ${backlogMs.length} express mails sent past them, ` +
        `drained in ${Math.round(drainMs / 1_000)} s, ${accepted} accepted and ${run.wrong.length} wrong`,
    );
    expect(run.wrong).toEqual([]);
    expect(run.accepted).toBe(JOBS + 1 + run.idleMs.length + run.backlogMs.length);
  });
});
