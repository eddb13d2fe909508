import t from '@bomb.sh/tab';
import { commands, groups } from './commands/index.ts';
import type { Command } from './command.ts';
import { globalOptions } from './global-options.ts';

/** Tells the shell what may come next. The last word is the one being typed. */
export function completeWords(words: readonly string[]): void {
  describe();
  t.parse([...words]);
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
