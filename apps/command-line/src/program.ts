import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { Argument, Command as Program, CommanderError, InvalidArgumentError, Option } from 'commander';
import type { Command, Option as OptionData, Typed } from './command.ts';
import { commands, groups, sections } from './commands/index.ts';
import { createContext } from './context.ts';
import { CommandError, exitCodes, explain } from './errors.ts';
import { globalOptions } from './global-options.ts';
import { createOutput } from './output.ts';

const ROOT = join(import.meta.dirname, '../../..');

/** Runs one command line and returns the exit code. Errors are printed as one line on standard error. */
export async function runCommandLine(args: readonly string[], signal: AbortSignal): Promise<number> {
  let code: number = exitCodes.ok.code;
  const program = createProgram(signal, (exit) => (code = exit));
  try {
    await program.parseAsync([...args], { from: 'user' });
    return code;
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? exitCodes.ok.code : exitCodes.usage.code;
    if (signal.aborted) return exitCodes.interrupted.code;
    const { message, code: name } = explain(error, (error as { url?: string }).url);
    process.stderr.write(`sluice: ${message}\n`);
    return exitCodes[name].code;
  }
}

const TOP_LEVEL_NOTES = `
It talks to what \`npx pnpm dev\` runs here, or to --url or SLUICE_URL, with the key in SLUICE_API_KEY
where the system asks for one.

Exit codes:
${Object.values(exitCodes)
  .map(({ code, says }) => `  ${String(code).padEnd(3)}  ${says}`)
  .join('\n')}

Examples:
  sluice doctor
  sluice image samples/*.png --wait --out .
  sluice job list --state failed --since 1d

\`sluice COMMAND --help\` says more, with examples; docs/cli.md has every command.`;

/** What is written as it is in the usage of a command: `FILE...`, `[ID]`. */
function wordsOf(command: Program): string {
  const own = commands.find(({ words, name }) => words !== undefined && name === command.name());
  if (own?.words !== undefined) return own.words;
  return command.registeredArguments
    .map((argument) => {
      const word = `${argument.name().toUpperCase()}${argument.variadic ? '...' : ''}`;
      return argument.required ? word : `[${word}]`;
    })
    .join(' ');
}

/** The words before a command: `sluice job`. */
const pathOf = (command: Program): string =>
  command.parent === null ? command.name() : `${pathOf(command.parent)} ${command.name()}`;

const HELP = {
  sortSubcommands: false,
  commandUsage: (command: Program): string =>
    [pathOf(command), command.commands.length > 0 ? 'COMMAND' : wordsOf(command), '[options]']
      .filter(Boolean)
      .join(' '),
  // That a command takes options, too, goes without saying.
  subcommandTerm: (command: Program): string =>
    `${command.name()} ${command.commands.length > 0 ? 'COMMAND' : wordsOf(command)}`.trimEnd(),
  argumentTerm: (argument: Argument): string => argument.name().toUpperCase(),
};

function createProgram(signal: AbortSignal, onExit: (code: number) => void): Program {
  const program = new Program('sluice')
    .description('Drives Sluice from a terminal: jobs, dead letters, streams, accounts and load.')
    .exitOverride()
    .configureOutput({
      outputError: (text, write) => write(text.replace(/^error: /, 'sluice: ').replace(/\n\(Did you/, ' (did you')),
    })
    .configureHelp(HELP)
    .showSuggestionAfterError()
    .enablePositionalOptions()
    .commandsGroup('Help:')
    .helpCommand('help [command]', 'Show how a command is used')
    .addHelpText('after', TOP_LEVEL_NOTES);
  for (const option of globalOptions) program.addOption(optionOf(option));
  const parents = new Map<string, Program>();
  const parentOf = (word: string, heading: string): Program => {
    const known = parents.get(word);
    if (known !== undefined) return known;
    const says = groups[word] ?? '';
    const made = program.command(word).summary(says).description(`${says}.`).helpGroup(heading).exitOverride();
    parents.set(word, made.copyInheritedSettings(program));
    return made;
  };
  for (const [section, own] of Object.entries(sections)) {
    const heading = `${section}:`;
    for (const command of own) {
      const [first = '', second] = command.name.split(' ');
      const made = new Program(second ?? first).copyInheritedSettings(program);
      if (second === undefined) program.addCommand(fill(made, command, signal, onExit).helpGroup(heading));
      else parentOf(first, heading).addCommand(fill(made, command, signal, onExit));
    }
  }
  return program;
}

function fill(made: Program, command: Command, signal: AbortSignal, onExit: (code: number) => void): Program {
  const { summary, detail, examples } = command;
  made
    .summary(summary)
    .description(detail === undefined ? `${summary}.` : `${summary}. ${detail}`)
    .addHelpText('after', `\nExamples:\n${examples.map((line) => `  sluice ${line}`).join('\n')}`);
  if (command.program !== undefined) {
    const file = command.program;
    return made
      .argument('[words...]', 'what it is to do')
      .allowUnknownOption()
      .passThroughOptions()
      .helpOption(false)
      .action(async (words: string[]) => onExit(await runProgram(file, command.name, words)));
  }
  for (const { name, summary, variadic, optional, choices } of command.arguments ?? []) {
    const inner = variadic === true ? `${name}...` : name;
    const argument = new Argument(optional === true ? `[${inner}]` : `<${inner}>`, summary);
    made.addArgument(choices === undefined ? argument : argument.choices(choices));
  }
  for (const option of [...(command.options ?? []), ...globalOptions]) made.addOption(optionOf(option));
  return made.action(async function action(this: Program) {
    const options = this.optsWithGlobals<Record<string, unknown>>();
    const settings = {
      url: options['url'] as string | undefined,
      portOffset: options['portOffset'] as string | undefined,
      env: process.env,
    };
    const context = createContext(settings, createOutput(options['json'] === true), {
      signal,
      directory: directoryOfCaller(),
    });
    const words = this.processedArgs.flat().filter((word): word is string => typeof word === 'string');
    try {
      await command.run?.(context, typedOf(words, options));
    } catch (error) {
      if (signal.aborted || error instanceof CommandError) throw error;
      throw explain(error, context.target.url);
    }
  });
}

function optionOf({ flags, summary, choices, default: preset, as, repeated }: OptionData): Option {
  const option = new Option(flags, summary);
  if (choices !== undefined) option.choices(choices);
  if (preset !== undefined) option.default(preset);
  if (as !== undefined) option.argParser((text: string) => numberOf(text, as));
  if (repeated === true) option.argParser((text: string, before: string[] | undefined) => [...(before ?? []), text]);
  return option;
}

function numberOf(text: string, as: 'count' | 'number'): number {
  if (as === 'count' ? /^[1-9]\d{0,8}$/.test(text) : /^\d{1,9}(\.\d+)?$/.test(text)) return Number(text);
  throw new InvalidArgumentError(
    as === 'count' ? 'A whole number from 1 on is wanted.' : 'A number from 0 on is wanted.',
  );
}

const typedOf = (words: readonly string[], options: Readonly<Record<string, unknown>>): Typed => ({
  words,
  text: (name) => options[name] as string | undefined,
  texts: (name) => (options[name] ?? []) as readonly string[],
  number: (name) => options[name] as number | undefined,
  flag: (name) => options[name] === true,
});

/** `pnpm sluice` runs in the root of the repository, and paths are typed where its caller is. */
function directoryOfCaller(): string {
  const { INIT_CWD, npm_lifecycle_event } = process.env;
  return npm_lifecycle_event === 'sluice' && INIT_CWD !== undefined ? INIT_CWD : process.cwd();
}

/** Runs a program of the repository under the name that was typed. */
function runProgram(file: string, name: string, words: readonly string[]): Promise<number> {
  const env = { ...process.env, SLUICE_COMMAND_NAME: `sluice ${name}` };
  const child = spawn(process.execPath, [join(ROOT, file), ...words], { stdio: 'inherit', env });
  const ended = Promise.withResolvers<number>();
  child.once('error', ended.reject);
  child.once('close', (code) => ended.resolve(code ?? exitCodes.failed.code));
  return ended.promise;
}
