import type { Context } from './context.ts';

/** A word of a command. */
export interface Argument {
  readonly name: string;
  readonly summary: string;
  /** Any number of them, at least one unless `optional`. */
  readonly variadic?: true;
  readonly optional?: true;
  /** The shell completes names of files. */
  readonly isFile?: true;
  readonly choices?: readonly string[];
}

export interface Option {
  /** As commander takes them: `-o, --out <folder>`. */
  readonly flags: string;
  readonly summary: string;
  readonly choices?: readonly string[];
  /** The shell completes names of files. */
  readonly isFile?: true;
  readonly default?: string | number;
  /** What the text is read as; text itself unless given. */
  readonly as?: 'count' | 'number';
  /** May be given more than once. */
  readonly repeated?: true;
}

/** What was typed, by the camelCase names of the options. */
export interface Typed {
  readonly words: readonly string[];
  readonly text: (name: string) => string | undefined;
  readonly texts: (name: string) => readonly string[];
  readonly number: (name: string) => number | undefined;
  readonly flag: (name: string) => boolean;
}

/** One command: help, completion and docs/cli.md are made of this. */
export interface Command {
  /** The words that name it: `job get`. */
  readonly name: string;
  readonly summary: string;
  /** Paragraphs below the summary. */
  readonly detail?: string;
  readonly arguments?: readonly Argument[];
  readonly options?: readonly Option[];
  /** What a reader may type, without `sluice`. */
  readonly examples: readonly string[];
  /** A program of the repository that does it: what follows the name goes to it as it is. */
  readonly program?: string;
  /** What follows the name of such a command, as its usage has it: `JOB`. */
  readonly words?: string;
  readonly run?: (context: Context, typed: Typed) => Promise<void>;
}

/** What a group of commands is for, by its word. */
export type Groups = Readonly<Record<string, string>>;
