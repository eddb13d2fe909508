import { parseArgs, type ParseArgsConfig } from 'node:util';

/** Options as `parseArgs` of node:util takes them. */
export type Options = NonNullable<ParseArgsConfig['options']>;
type WithHelp<T extends Options> = T & { readonly help: { readonly type: 'boolean'; readonly short: 'h' } };
/** What was typed, by option. */
export type Parsed<T extends Options> = ReturnType<
  typeof parseArgs<{ readonly options: WithHelp<T>; readonly allowPositionals: true }>
>;

/** What a root script takes. */
export interface Command<T extends Options> {
  /** As it is typed: `pnpm dev`. */
  readonly name: string;
  /** Printed by `--help`. */
  readonly usage: string;
  readonly options: T;
  /** How many words besides the options: none unless set. */
  readonly maxPositionals?: number;
}

/** The command line is not usable. Printed as one line; exit code 2. */
export class UsageError extends Error {
  override readonly name = 'UsageError';
  readonly code = 'usage';
}

/**
 * Reads the command line of a root script. `--help` prints the usage and ends the process with 0; an unknown option or a
 * surplus word prints one line and ends it with 2.
 *
 * @example
 * const { values } = parseCommand({ name: 'pnpm demo', usage, options: { verbose: { type: 'boolean' } } });
 */
export function parseCommand<const T extends Options>(
  given: Command<T>,
  args: readonly string[] = process.argv.slice(2),
): Parsed<T> {
  const command = asTyped(given);
  try {
    const options: WithHelp<T> = { ...command.options, help: { type: 'boolean', short: 'h' } };
    const parsed = parseArgs({ args: protectNumbers(args), options, allowPositionals: true });
    if ((parsed.values as { help?: boolean }).help === true) {
      process.stdout.write(`${command.usage}\n`);
      process.exit(0);
    }
    const surplus = parsed.positionals[command.maxPositionals ?? 0];
    if (surplus !== undefined) throw new UsageError(`"${surplus}" is one word too many`);
    return parsed;
  } catch (error) {
    if (!(error instanceof UsageError) && !isParseError(error)) throw error;
    process.stderr.write(`${command.name}: ${firstSentence(errorText(error))}; see ${command.name} --help\n`);
    return process.exit(2);
  }
}

/** The name of a root script as it was typed: `sluice keys` when the `sluice` command runs `pnpm keys`. */
export const typedName = (name: string): string => process.env['SLUICE_COMMAND_NAME'] ?? name;

function asTyped<T extends Options>(command: Command<T>): Command<T> {
  const name = typedName(command.name);
  return { ...command, name, usage: command.usage.replaceAll(command.name, name) };
}

/** A negative number, such as an amount, is not an option: what follows it is positional. */
function protectNumbers(args: readonly string[]): string[] {
  const at = args.findIndex((arg) => /^-\d/.test(arg));
  return at === -1 || args.slice(0, at).includes('--') ? [...args] : [...args.slice(0, at), '--', ...args.slice(at)];
}

function isParseError(error: unknown): boolean {
  return String((error as { code?: unknown }).code).startsWith('ERR_PARSE_ARGS_');
}

/** Node appends advice about `--` to its message. */
function firstSentence(text: string): string {
  return (text.split(/\. |\n/, 1)[0] ?? text).replace(/\.$/, '');
}

/** The message of anything that was thrown. */
export function errorText(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
