import t from '@bomb.sh/tab';
import { commands, groups } from './commands/index.ts';
import type { Command } from './command.ts';
import { globalOptions } from './global-options.ts';

/** What the last line says to the shell: nothing else may come here, or names of files may. */
const NO_FILES = ':4';
const FILES = ':0';

/** Tells the shell what may come next. The last word is the one being typed. */
export function completeWords(words: readonly string[]): void {
  describe();
  const lines = printed(() => t.parse([...words]));
  const isEmpty = lines.every((line) => line === '' || line === NO_FILES);
  for (const line of isEmpty && takesFile(words) ? [FILES] : lines) console.log(line);
}

/** What the library prints with `console.log`, its only way out. */
function printed(work: () => void): string[] {
  const { log } = console;
  const lines: string[] = [];
  console.log = (line: string) => void lines.push(...line.split('\n'));
  try {
    work();
  } finally {
    console.log = log;
  }
  return lines;
}

/** Whether the word that is being typed is the value of an option that takes a file, or one of the files of a command. */
function takesFile(words: readonly string[]): boolean {
  const command = commands.find(({ name }) => words.slice(0, name.split(' ').length).join(' ') === name);
  if (command === undefined || words.length <= command.name.split(' ').length) return false;
  const option = command.options?.find(({ flags }) => /--[\w-]+/.exec(flags)?.[0] === words.at(-2));
  if (option !== undefined && option.flags.includes('<')) return option.isFile === true;
  return words.at(-1)?.startsWith('-') !== true && command.arguments?.some(({ isFile }) => isFile === true) === true;
}

function describe(): void {
  for (const [word, summary] of Object.entries(groups)) t.command(word, summary);
  for (const command of commands) describeCommand(command);
  for (const { flags, summary } of globalOptions) describeOption(t, flags, summary);
}

function describeCommand({ name, summary, arguments: words = [], options = [] }: Command): void {
  const command = t.command(name, summary);
  for (const { name: argument, choices, variadic } of words) {
    command.argument(argument, (complete) => choices?.forEach((choice) => complete(choice, '')), variadic === true);
  }
  for (const { flags, summary: says, choices } of [...options, ...globalOptions])
    describeOption(command, flags, says, choices);
}

function describeOption(
  command: Pick<typeof t, 'option'>,
  flags: string,
  summary: string,
  choices: readonly string[] = [],
): void {
  const [, short, long = '', value] = /^(?:-(\w), )?--([\w-]+)(?: [<[](.*)[>\]])?$/.exec(flags) ?? [];
  if (value === undefined) command.option(long, summary, short);
  else command.option(long, summary, (complete) => choices.forEach((choice) => complete(choice, '')), short);
}
