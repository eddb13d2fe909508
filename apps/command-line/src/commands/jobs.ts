import { writeFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import { dataOf, isEnded, isProblem, whyWaiting, type components, type Job, type JobFilter } from '@sluice/client';
import type { Command } from '../command.ts';
import type { Context } from '../context.ts';
import { CommandError } from '../errors.ts';
import { bytes, duration, table } from '../output.ts';

type DeadLetter = components['schemas']['DeadLetter'];

const JOB = { name: 'job', summary: 'its id, such as job_01kq...: `job list` shows them' } as const;
const STATES = ['accepted', 'queued', 'running', 'succeeded', 'failed', 'cancelled'] as const;

export const jobCommands: readonly Command[] = [
  {
    name: 'job get',
    summary: 'Show a job and what happened to it',
    arguments: [JOB],
    options: [{ flags: '-o, --out <file>', summary: 'save its PDF under this name', isFile: true }],
    examples: ['job get job_...', 'job get job_... --out photo.pdf', 'job get job_... --json'],
    async run(context, { words: [id = ''], text }) {
      const { sluice, output, signal, directory } = context;
      const job = await sluice.jobs.get(id, { signal });
      const out = text('out');
      if (out !== undefined) {
        const pdf = await sluice.jobs.pdf(job, { signal });
        await writeFile(resolve(directory, out), pdf.stream());
        output.note(`saved ${out} (${bytes(pdf.size)})`);
      }
      if (output.isJson) return output.json(job);
      output.print(describeJob(job));
      output.print(timeline(await sluice.jobs.events(job, { signal })));
    },
  },
  {
    name: 'job list',
    summary: 'List jobs, newest first',
    options: [
      { flags: '--state <state>', summary: 'only those in this state', choices: STATES },
      { flags: '--kind <kind>', summary: 'only those of this kind', choices: ['image', 'email'] },
      { flags: '--recipient <address>', summary: 'only those that mail this address' },
      {
        flags: '--file <name>',
        summary: 'only those with a file of this name: the whole name, in upper or lower case',
      },
      { flags: '--error <code>', summary: 'only those that failed with this code, such as corrupt_image' },
      {
        flags: '--metadata <key:value>',
        summary: 'only those with this pair; may be repeated, and then all must be there',
        repeated: true,
      },
      {
        flags: '--since <time>',
        summary: 'only those made since then: 15m, 2h or 7d ago, or a time such as 2026-11-28T10:00:00Z',
      },
      { flags: '--until <time>', summary: 'only those made before then, written in the same way' },
      { flags: '--limit <n>', summary: 'how many at most', as: 'count', default: 20 },
    ],
    examples: [
      'job list --state failed --since 1d',
      'job list --recipient ada@example.com --json',
      'job list --file scan.png --metadata order:17',
    ],
    async run({ sluice, output, signal }, { text, texts, number }) {
      const filter = {
        state: text('state'),
        kind: text('kind'),
        recipient: text('recipient'),
        fileName: text('file'),
        error: text('error'),
        metadata: texts('metadata').length === 0 ? undefined : texts('metadata'),
        since: timeOf('--since', text('since')),
        until: timeOf('--until', text('until')),
      };
      const given = Object.fromEntries(Object.entries(filter).filter(([, value]) => value !== undefined)) as JobFilter;
      const jobs = await Array.fromAsync(take(sluice.jobs.all(given, { signal }), number('limit') ?? 20));
      for (const job of jobs) output.json(job);
      output.print(
        jobs.length === 0
          ? 'no jobs'
          : table(
              ['job', 'kind', 'state', 'attempts', 'created', 'error'],
              jobs.map((job) => [job.id, job.kind, job.state, job.attempt, job.createdAt, job.error?.code ?? '']),
            ),
      );
    },
  },
  {
    name: 'job watch',
    summary: 'Follow a job until it has ended',
    detail: 'Prints each event as it happens; exits with 5 unless the job succeeded.',
    arguments: [JOB],
    examples: ['job watch job_...'],
    async run({ sluice, output, signal }, { words: [id = ''] }) {
      for await (const event of sluice.jobs.watch(id, { signal })) {
        output.json(event);
        output.print(timeline([event]));
      }
      throwUnlessSucceeded([await sluice.jobs.get(id, { signal })]);
    },
  },
  {
    name: 'job cancel',
    summary: 'Ask to cancel jobs that have not ended',
    detail: 'A job ends as cancelled if nothing was done by then, and otherwise as it ends.',
    arguments: [{ ...JOB, variadic: true }],
    examples: ['job cancel job_...'],
    async run({ sluice, output, signal }, { words }) {
      for (const id of words) {
        const job = await sluice.jobs.cancel(id, { signal });
        output.json(job);
        output.print(`${job.id}  ${job.state === 'cancelled' ? 'is cancelled' : 'is asked to cancel'}`);
      }
    },
  },
  {
    name: 'job rerun',
    summary: 'Run a failed job again, or send any job once more as a new one',
    detail:
      'A failed job has to have a dead letter, which goes back to its queue; `job why` says whether it has one. Needs a key with the scope admin. With --new a job of any state is sent again as it was, as a new job.',
    arguments: [JOB],
    options: [
      { flags: '--new', summary: 'send what made it once more, as a new job' },
      { flags: '--wait', summary: 'wait until it has ended; exit with 5 unless it succeeded' },
    ],
    examples: ['job rerun job_... --wait', 'job rerun job_... --new'],
    async run(context, { words: [id = ''], flag }) {
      const { sluice, output, signal } = context;
      if (flag('new')) {
        const again = await sluice.jobs.rerun(id, { signal });
        output.note(`${id} is sent again as ${again.id}`);
        const shown = flag('wait') ? await sluice.jobs.waitFor(again, { signal }) : again;
        output.json(shown);
        output.print(describeJob(shown));
        if (flag('wait')) throwUnlessSucceeded([shown]);
        return;
      }
      const job = await sluice.jobs.get(id, { signal });
      if (job.state !== 'failed')
        throw new CommandError(
          'failed',
          `${id} is ${job.state}: only a job that failed can run again; --new sends it as a new job`,
        );
      const letter = await deadLetterOf(context, id);
      if (letter === undefined) {
        throw new CommandError(
          'failed',
          `${id} failed without a dead letter (${job.error?.code}): ${job.error?.detail}. Send it as a new job: --new`,
        );
      }
      await sluice.api.POST('/v1/dead-letters/{id}:replay', { params: { path: { id: letter.id } }, signal });
      output.note(`dead letter ${letter.id} is back in its queue`);
      if (!flag('wait')) return output.json({ id, deadLetter: letter.id });
      const ended = await sluice.jobs.waitFor(id, { signal });
      output.json(ended);
      output.print(describeJob(ended));
      throwUnlessSucceeded([ended]);
    },
  },
  {
    name: 'job why',
    summary: 'Say why a job waits, or why it failed',
    detail: 'With a key of the scope admin it also looks at the queues and at the dead letters.',
    arguments: [JOB],
    examples: ['job why job_...'],
    async run(context, { words: [id = ''] }) {
      const { sluice, output, signal } = context;
      const job = await sluice.jobs.get(id, { signal });
      const reasons = isEnded(job) ? await whyEnded(context, job) : await whyOpen(context, job);
      output.json({ id: job.id, state: job.state, reasons });
      output.print([describeJob(job), ...reasons.map((reason) => `  ${reason}`)].join('\n'));
    },
  },
];

/** A job on one line. */
export function describeJob(job: Job): string {
  const error = job.error === undefined ? '' : `  ${job.error.code}: ${job.error.detail}`;
  const took = isEnded(job) ? ` in ${duration(Date.parse(job.updatedAt) - Date.parse(job.createdAt))}` : '';
  return `${job.id}  ${job.kind}  ${job.state}${took}${error}`;
}

/** @throws {CommandError} when a job has ended otherwise. */
export function throwUnlessSucceeded(jobs: readonly Job[]): void {
  const others = jobs.filter(({ state }) => state !== 'succeeded');
  const [first] = others;
  if (first === undefined) return;
  const which =
    others.length === 1
      ? `${first.id} ${first.state === 'failed' ? 'has failed' : 'was cancelled'}`
      : `${others.length} of ${jobs.length} jobs have not succeeded`;
  throw new CommandError('jobFailed', `${which}: see \`sluice job why ${first.id}\``);
}

function timeline(events: readonly components['schemas']['TimelineEntry'][]): string {
  return events
    .map(({ at, app, event, attempt, detail, durationMs }) =>
      [
        `  ${at}`,
        app.padEnd(8),
        event,
        ...(attempt === undefined ? [] : [`attempt ${attempt}`]),
        ...(durationMs === undefined ? [] : [duration(durationMs)]),
        ...(detail === undefined ? [] : [detail]),
      ].join('  '),
    )
    .join('\n');
}

async function* take<T>(from: AsyncGenerator<T>, count: number): AsyncGenerator<T> {
  let left = count;
  if (left <= 0) return;
  for await (const each of from) {
    yield each;
    left -= 1;
    if (left === 0) return;
  }
}

/** A time, or how long ago. */
export function timeOf(option: string, text: string | undefined, nowMs = Date.now()): string | undefined {
  if (text === undefined) return undefined;
  const [, amount, unit] = /^(\d{1,6})([smhd])$/.exec(text) ?? [];
  const ms =
    unit === undefined
      ? Date.parse(text)
      : nowMs - Number(amount) * { s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 }[unit]!;
  if (Number.isNaN(ms)) throw new CommandError('usage', `${option} ${text} is neither a time nor 15m, 2h or 7d`);
  return new Date(ms).toISOString();
}

/** Dead letters are looked through newest first, and so far and no further. */
const PAGES = 50;

async function deadLetterOf({ sluice, signal }: Context, jobId: string): Promise<DeadLetter | undefined> {
  let cursor: number | undefined;
  for (let page = 0; page < PAGES; page += 1) {
    const query = { limit: 200, ...(cursor === undefined ? {} : { cursor }) };
    const { deadLetters, next } = await dataOf(sluice.api.GET('/v1/dead-letters', { params: { query }, signal }));
    const found = deadLetters.find((letter) => letter.jobId === jobId);
    if (found !== undefined || next === undefined) return found;
    cursor = next;
  }
  return undefined;
}

async function whyEnded(context: Context, job: Job): Promise<string[]> {
  if (job.state === 'succeeded') return ['It succeeded.'];
  if (job.state === 'cancelled') return ['It was cancelled before anything was done.'];
  const letter = await ifAdmin(deadLetterOf(context, job.id));
  return [
    `${job.error?.detail ?? 'It failed.'} (${job.error?.code ?? 'unknown'})`,
    `After ${job.attempt === 1 ? 'one attempt' : `${job.attempt} attempts`}. Its trace: ${job.traceId}`,
    ...(letter === undefined
      ? [`It has no dead letter; once the cause is gone: sluice job rerun ${job.id} --new`]
      : [`Its dead letter is ${letter.id} (${letter.reason}); once the cause is gone: sluice job rerun ${job.id}`]),
  ];
}

async function whyOpen(context: Context, job: Job): Promise<string[]> {
  const { sluice, signal } = context;
  const events = await sluice.jobs.events(job, { signal });
  const last = events.at(-1);
  const reasons = job.waitingFor === undefined ? [] : [`${whyWaiting(job.waitingFor)}.`];
  if (last !== undefined)
    reasons.push(
      `Last heard: ${last.event} of ${last.app} at ${last.at}${last.detail === undefined ? '' : `: ${last.detail}`}.`,
    );
  if (last?.event === 'retry_scheduled') reasons.push('Its last attempt failed; the next one is scheduled.');
  if (job.state === 'running') reasons.push('A worker has it.');
  const stats = await ifAdmin(dataOf(sluice.api.GET('/v1/stats', { signal })));
  if (stats === undefined) return [...reasons, 'A key with the scope admin would tell more.'];
  const suffix = job.priority === 'express' ? '_EXPRESS' : '';
  const stream = stats.streams.find(({ name }) => name === `${job.kind.toUpperCase()}S${suffix}`);
  for (const { name, pending, inFlight, pulls, ratePerSecond } of stream?.consumers ?? []) {
    if (pending + inFlight === 0) continue;
    reasons.push(`${name}: ${pending} wait, ${inFlight} in flight, ${ratePerSecond.toFixed(1)}/s.`);
    if (pulls === 0)
      reasons.push(
        `${name}: no worker asks for work. Start the service, or resume it: sluice pipelines resume ${name}`,
      );
  }
  return reasons;
}

/** Undefined when the key may not see it. */
function ifAdmin<T>(asked: Promise<T>): Promise<T | undefined> {
  return asked.catch((error: unknown) => {
    if (isProblem(error, 'forbidden')) return undefined;
    throw error;
  });
}
