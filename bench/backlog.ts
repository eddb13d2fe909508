// What a backlog of normal mails does to express mails: pnpm bench backlog [--quick]. The mails pass through the whole system, to a
// mail server that takes its time; an express mail's latency counts from when it was due until its callback.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startStack } from '@sluice/dev';
import { runBacklog } from '../tests/faults/backlog.ts';
import { cpuRows, startCpu } from './frame/cpu-meter.ts';
import type { BenchResult } from './run.ts';

/** Every answer of the mail server comes this much later: about 100 ms for a mail, 16 of which are sent at once. */
const MAIL_LATENCY_MS = 20;
const FACTOR = 2;

/** Measures, and says whether it holds. */
export async function run({ quick = false } = {}): Promise<BenchResult> {
  const jobs = quick ? 3_000 : 10_000;
  const dataDirectory = mkdtempSync(join(tmpdir(), 'sluice-bench-backlog-'));
  const stack = await startStack({
    dataDirectory,
    services: ['gateway', 'email', 'client'],
    mail: { maxMails: 1_000 },
    mailLatencyMs: MAIL_LATENCY_MS,
    env: { '*': { LOG_LEVEL: 'error', TRACE_SAMPLE_RATIO: '0' }, gateway: { MAX_BACKLOG: `${jobs}` } },
  });
  try {
    const cpu = startCpu({
      ...Object.fromEntries(stack.services.map(({ name, pid = 0 }) => [name, pid])),
      broker: stack.nats.pid,
      load_and_mail_server: process.pid,
    });
    const seen = await runBacklog(stack, { jobs, idleJobs: quick ? 100 : 400, expressPerSecond: 10 });
    const used = cpu(jobs + seen.idleMs.length + seen.backlogMs.length);
    const idleP99 = at(seen.idleMs, 0.99);
    const loadedP99 = at(seen.backlogMs, 0.99);
    return {
      rows: [
        { id: 'backlog.queued', value: seen.deepest, unit: `mails, limit ${jobs}`, pass: seen.deepest <= jobs },
        { id: 'backlog.refused', value: seen.refused, unit: 'answers 503', pass: true },
        { id: 'backlog.drain', value: Math.round(jobs / (seen.drainMs / 1_000)), unit: 'mails/s', pass: true },
        { id: 'backlog.express_idle_p50', value: at(seen.idleMs, 0.5), unit: 'ms', pass: true },
        { id: 'backlog.express_p50', value: at(seen.backlogMs, 0.5), unit: 'ms', pass: true },
        { id: 'backlog.express_idle_p99', value: idleP99, unit: `ms of ${seen.idleMs.length}`, pass: true },
        {
          id: 'backlog.express_p99',
          value: loadedP99,
          unit: `ms of ${seen.backlogMs.length}, at most ${FACTOR}x idle`,
          ratio: loadedP99 / idleP99,
          pass: loadedP99 <= FACTOR * idleP99,
        },
        ...cpuRows('backlog', used, 'mail'),
        { id: 'backlog.wrong', value: seen.wrong.length, unit: 'answers or ends', pass: seen.wrong.length === 0 },
      ],
      notes: [
        `The mail server answers ${MAIL_LATENCY_MS} ms late; both lanes share 16 slots, 4 turns to 1, and express has 2 more.`,
        ...seen.wrong.slice(0, 5),
      ],
    };
  } finally {
    await stack.stop();
    rmSync(dataDirectory, { recursive: true, force: true });
  }
}

function at(values: readonly number[], share: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? NaN;
}
