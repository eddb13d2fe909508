/**
 * A small schema language for option groups: one declaration gives the TypeScript type, the defaults, the checks with
 * their paths, and the reference page.
 */
import type { ConfigProblem } from '../errors.ts';

export interface FieldBase {
  /** One sentence for the reference page. */
  readonly doc: string;
  readonly optional: boolean;
}
export interface NumberField extends FieldBase {
  readonly kind: 'number';
  readonly min: number;
  readonly max: number;
  readonly integer: boolean;
  readonly fallback: number | undefined;
}
export interface TextField extends FieldBase {
  readonly kind: 'text';
  readonly pattern: RegExp;
  readonly expect: string;
  readonly fallback: string | undefined;
}
export interface ChoiceField<C extends string> extends FieldBase {
  readonly kind: 'choice';
  readonly choices: readonly C[];
  readonly fallback: C | undefined;
}
export interface CallField<F> extends FieldBase {
  readonly kind: 'function';
  /** Never set: carries the function's type. */
  readonly type?: F;
}
export type Field = NumberField | TextField | ChoiceField<string> | CallField<unknown>;
export type Fields = Readonly<Record<string, Field>>;

type ValueOf<F> =
  F extends ChoiceField<infer C>
    ? C
    : F extends NumberField
      ? number
      : F extends TextField
        ? string
        : F extends CallField<infer G>
          ? G
          : never;
type Demanded<S extends Fields> = { [K in keyof S]: S[K]['optional'] extends true ? never : K }[keyof S];
type Settled<S extends Fields> = {
  [K in keyof S]: S[K] extends { fallback: undefined } | { kind: 'function' } ? never : K;
}[keyof S];

/** What a user writes: fields with a default may be left out. */
export type Input<S extends Fields> = { readonly [K in Demanded<S>]: ValueOf<S[K]> } & {
  readonly [K in Exclude<keyof S, Demanded<S>>]?: ValueOf<S[K]>;
};
/** What the engine reads: defaults filled in. */
export type Resolved<S extends Fields> = { readonly [K in Settled<S> | Demanded<S>]: ValueOf<S[K]> } & {
  readonly [K in Exclude<keyof S, Settled<S> | Demanded<S>>]: ValueOf<S[K]> | undefined;
};

export type Optional<F> = Omit<F, 'optional'> & { readonly optional: true };
export type Required<F> = Omit<F, 'optional'> & { readonly optional: false };
export type Without<F> = Omit<F, 'fallback'> & { readonly fallback: undefined };
export type With<F, V> = Omit<F, 'fallback'> & { readonly fallback: V };

interface Bounds {
  readonly min: number;
  readonly max?: number;
  readonly integer?: boolean;
}
const bounds = ({ min, max, integer }: Bounds): Pick<NumberField, 'min' | 'max' | 'integer'> => ({
  min,
  max: max ?? Number.MAX_SAFE_INTEGER,
  integer: integer ?? true,
});

/** A number that must be given. */
export const number = (doc: string, limits: Bounds): Required<Without<NumberField>> => ({
  kind: 'number',
  doc,
  optional: false,
  fallback: undefined,
  ...bounds(limits),
});
/** A number with a default. */
export const numberOr = (fallback: number, doc: string, limits: Bounds): Optional<With<NumberField, number>> => ({
  kind: 'number',
  doc,
  optional: true,
  fallback,
  ...bounds(limits),
});
/** A number that may be absent, which then means something of its own. */
export const maybeNumber = (doc: string, limits: Bounds): Optional<Without<NumberField>> => ({
  kind: 'number',
  doc,
  optional: true,
  fallback: undefined,
  ...bounds(limits),
});
/** A text of a given shape that must be given; `expect` completes "must be ...". */
export const text = (doc: string, pattern: RegExp, expect: string): Required<Without<TextField>> => ({
  kind: 'text',
  doc,
  optional: false,
  pattern,
  expect,
  fallback: undefined,
});
/** A text with a default. */
export const textOr = (
  fallback: string,
  doc: string,
  pattern: RegExp,
  expect: string,
): Optional<With<TextField, string>> => ({
  kind: 'text',
  doc,
  optional: true,
  pattern,
  expect,
  fallback,
});
/** A text that may be absent. */
export const maybeText = (doc: string, pattern: RegExp, expect: string): Optional<Without<TextField>> => ({
  kind: 'text',
  doc,
  optional: true,
  pattern,
  expect,
  fallback: undefined,
});
/** One of a few words. */
export const choiceOr = <C extends string>(
  fallback: C,
  doc: string,
  choices: readonly C[],
): Optional<With<ChoiceField<C>, C>> => ({
  kind: 'choice',
  doc,
  optional: true,
  choices,
  fallback,
});
/** A function that may be absent. */
export const maybeCall = <F>(doc: string): Optional<CallField<F>> => ({ kind: 'function', doc, optional: true });
/** A function that must be given. */
export const call = <F>(doc: string): Required<CallField<F>> => ({ kind: 'function', doc, optional: false });

function problemWith(field: Field, value: unknown): string | undefined {
  switch (field.kind) {
    case 'number':
      if (typeof value !== 'number' || !Number.isFinite(value)) return `must be a number, got ${show(value)}`;
      if (field.integer && !Number.isInteger(value)) return `must be a whole number, got ${value}`;
      if (value < field.min) return `must be at least ${field.min}, got ${value}`;
      if (value > field.max) return `must be at most ${field.max}, got ${value}`;
      return undefined;
    case 'text':
      return typeof value === 'string' && field.pattern.test(value)
        ? undefined
        : `must be ${field.expect}, got ${show(value)}`;
    case 'choice':
      return typeof value === 'string' && field.choices.includes(value)
        ? undefined
        : `must be one of ${field.choices.join(', ')}, got ${show(value)}`;
    case 'function':
    default:
      return typeof value === 'function' ? undefined : `must be a function, got ${show(value)}`;
  }
}

const show = (value: unknown): string =>
  typeof value === 'function' ? 'a function' : (JSON.stringify(value) ?? String(value)).slice(0, 60);

/**
 * Checks a group of options and fills in its defaults. Every problem is pushed with its path; unknown names are
 * problems too, since a misspelt option would otherwise be ignored in silence.
 */
export function resolve<S extends Fields>(
  fields: S,
  input: unknown,
  path: string,
  problems: ConfigProblem[],
): Resolved<S> {
  const result: Record<string, unknown> = {};
  const given = isRecord(input) ? input : {};
  if (input !== undefined && !isRecord(input))
    problems.push({ path, message: `must be an object, got ${show(input)}` });
  for (const name of Object.keys(given)) {
    if (!(name in fields)) {
      problems.push({ path: join(path, name), message: `is not an option; known: ${Object.keys(fields).join(', ')}` });
    }
  }
  for (const [name, field] of Object.entries(fields)) {
    const value = given[name];
    if (value === undefined) {
      result[name] = 'fallback' in field ? field.fallback : undefined;
      if (!field.optional) problems.push({ path: join(path, name), message: 'is required' });
      continue;
    }
    const message = problemWith(field, value);
    if (message !== undefined) problems.push({ path: join(path, name), message });
    result[name] = value;
  }
  return result as Resolved<S>;
}

export const isRecord = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

const join = (path: string, name: string): string => (path === '' ? name : `${path}.${name}`);
