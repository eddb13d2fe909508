import { dataOf, type components } from '@sluice/client';
import type { Command, Option, Typed } from '../command.ts';
import type { Context } from '../context.ts';
import { CommandError } from '../errors.ts';
import { table } from '../output.ts';
import { timeOf } from './jobs.ts';

type DeadLetter = components['schemas']['DeadLetter'];

const FILTER: readonly Option[] = [
  { flags: '--stream <name>', summary: 'only those of this stream, such as IMAGES' },
  { flags: '--consumer <name>', summary: 'only those of this consumer, such as welcome_mailer' },
  {
    flags: '--reason <reason>',
    summary: 'only those with this reason',
    choices: ['exhausted', 'permanent', 'rejected', 'decode', 'crashLoop', 'stranded'],
  },
  { flags: '--error <code>', summary: 'only those of this error, by its code or its name' },
];
const IDS = { name: 'id', summary: 'its number, from `dlq list`', variadic: true, optional: true } as const;
const MANY: readonly Option[] = [
  ...FILTER,
  { flags: '--all', summary: 'all that the filters leave, or all there are' },
  { flags: '--dry-run', summary: 'count them, and change nothing' },
];

const filterOf = ({ text }: Typed) => {
  const filter = {
    stream: text('stream'),
    consumer: text('consumer'),
    reason: text('reason'),
    error: text('error'),
  };
  return Object.fromEntries(Object.entries(filter).filter(([, value]) => value !== undefined)) as Partial<
    Record<keyof typeof filter, string>
  >;
};

export const deadLetterCommands: readonly Command[] = [
  {
    name: 'dlq list',
    summary: 'List dead letters, newest first',
    detail: 'A dead letter is work that failed on every attempt, kept with its payload and its last error.',
    options: [...FILTER, { flags: '--limit <n>', summary: 'how many at most', as: 'count', default: 20 }],
    examples: ['dlq list', 'dlq list --consumer welcome_mailer --json'],
    async run({ sluice, output, signal }, typed) {
      const limit = typed.number('limit') ?? 20;
      const letters: DeadLetter[] = [];
      let cursor: number | undefined;
      do {
        const query = { ...filterOf(typed), limit: Math.min(200, limit), ...(cursor === undefined ? {} : { cursor }) };
        const page = await dataOf(sluice.api.GET('/v1/dead-letters', { params: { query }, signal }));
        letters.push(...page.deadLetters);
        cursor = page.next;
      } while (cursor !== undefined && letters.length < limit);
      const shown = letters.slice(0, limit);
      for (const letter of shown) output.json(letter);
      output.print(
        shown.length === 0
          ? 'no dead letters'
          : table(
              ['id', 'failed', 'stream/consumer', 'reason', 'attempts', 'job', 'detail'],
              shown.map((letter) => [
                Number(letter.id),
                letter.failedAt,
                `${letter.stream}/${letter.consumer}`,
                letter.reason,
                letter.attempts,
                letter.jobId ?? '',
                letter.detail.slice(0, 60),
              ]),
            ),
      );
    },
  },
  {
    name: 'dlq show',
    summary: 'Show a dead letter with its payload',
    arguments: [{ name: 'id', summary: 'its number, from `dlq list`' }],
    examples: ['dlq show 17'],
    async run({ sluice, output, signal }, { words: [id = ''] }) {
      const letter = await dataOf(sluice.api.GET('/v1/dead-letters/{id}', { params: { path: { id } }, signal }));
      output.json(letter);
      output.print(JSON.stringify(letter, undefined, 2));
    },
  },
  {
    name: 'dlq redrive',
    summary: 'Send dead letters back to their queue',
    detail:
      'Name them by id, or give --all with the filters that choose them; --dry-run first counts them. Each leaves an audit record.',
    arguments: [IDS],
    options: MANY,
    examples: [
      'dlq redrive 17 18',
      'dlq redrive --all --consumer welcome_mailer --dry-run',
      'dlq redrive --all --consumer welcome_mailer',
    ],
    run: (context, typed) =>
      each(context, typed, 'redriven', redriveMany, (id) =>
        context.sluice.api.POST('/v1/dead-letters/{id}:replay', { params: { path: { id } }, signal: context.signal }),
      ),
  },
  {
    name: 'dlq purge',
    summary: 'Remove dead letters for good',
    detail:
      'Name them by id, or give --all with at least one filter; --dry-run first counts them. Each leaves an audit record.',
    arguments: [IDS],
    options: [
      ...MANY,
      { flags: '--before <time>', summary: 'only those that failed before then: 15m, 2h or 7d ago, or a time' },
    ],
    examples: ['dlq purge 17', 'dlq purge --all --reason decode --dry-run', 'dlq purge --all --before 7d'],
    run: (context, typed) =>
      each(context, typed, 'removed', purgeMany, (id) =>
        context.sluice.api.DELETE('/v1/dead-letters/{id}', { params: { path: { id } }, signal: context.signal }),
      ),
  },
];

async function each(
  context: Context,
  typed: Typed,
  done: string,
  many: (context: Context, typed: Typed, onPage: (done: number) => void) => Promise<Record<string, unknown>>,
  one: (id: string) => Promise<unknown>,
): Promise<void> {
  const { output } = context;
  const ids = typed.words;
  if (ids.length > 0 === typed.flag('all'))
    throw new CommandError('usage', 'name dead letters, or give --all, and not both');
  if (ids.length > 0 && (typed.flag('dryRun') || Object.keys(filterOf(typed)).length > 0)) {
    throw new CommandError('usage', 'filters and --dry-run go with --all');
  }
  for (const id of ids) {
    await one(id);
    output.json({ id });
    output.print(`${id} ${done}`);
  }
  if (ids.length > 0) return;
  const progress = output.progress(done);
  const counts = await many(context, typed, (count) => progress.set(count, count));
  progress.end();
  output.json(counts);
  const { skipped, groups, ...numbers } = counts as {
    skipped?: readonly { id: string; detail: string }[];
    groups?: Record<string, number>;
  };
  output.print(
    Object.entries(numbers)
      .map(([name, value]) => `${String(value)} ${name}`)
      .join(', '),
  );
  for (const [group, count] of Object.entries(groups ?? {})) output.print(`  ${count}  ${group}`);
  for (const { id, detail } of skipped ?? []) output.print(`  ${id} was left: ${detail}`);
}

async function redriveMany({ sluice, signal }: Context, typed: Typed, onPage: (done: number) => void) {
  const total = { matched: 0, redriven: 0, skipped: [] as { id: string; code: string; detail: string }[] };
  let cursor: number | undefined;
  do {
    const body = {
      ...filterOf(typed),
      limit: 500,
      dryRun: typed.flag('dryRun'),
      ...(cursor === undefined ? {} : { cursor }),
    };
    const page = await dataOf(sluice.api.POST('/v1/dead-letters:replay', { body, signal }));
    total.matched += page.matched;
    total.redriven += page.replayed;
    total.skipped.push(...page.skipped);
    cursor = page.next;
    onPage(total.redriven);
  } while (cursor !== undefined);
  return total;
}

async function purgeMany({ sluice, signal }: Context, typed: Typed, onPage: (done: number) => void) {
  const before = timeOf('--before', typed.text('before'));
  const total = { matched: 0, removed: 0, groups: {} as Record<string, number> };
  let cursor: number | undefined;
  do {
    const body = {
      ...filterOf(typed),
      limit: 500,
      dryRun: typed.flag('dryRun'),
      ...(before === undefined ? {} : { before }),
      ...(cursor === undefined ? {} : { cursor }),
    };
    const page = await dataOf(sluice.api.POST('/v1/dead-letters:purge', { body, signal }));
    total.matched += page.matched;
    total.removed += page.purged;
    for (const [group, count] of Object.entries(page.groups)) total.groups[group] = (total.groups[group] ?? 0) + count;
    cursor = page.next;
    onPage(total.removed);
  } while (cursor !== undefined);
  return total;
}
