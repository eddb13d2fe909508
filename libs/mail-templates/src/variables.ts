import type { TemplateVariable, TemplateVariables } from '@sluice/contracts';

/** A variable as an account declares it for a template of its own. */
export interface OwnVariable {
  readonly kind: TemplateVariable['kind'];
  /** 500 for a line and 5,000 for lines, unless it is less. */
  readonly maxChars?: number | undefined;
  readonly required?: boolean | undefined;
  /** What stands in its place when it is not given. */
  readonly default?: string | boolean | undefined;
  /** What the preview shows. */
  readonly example?: string | boolean | undefined;
}

export type OwnVariables = Readonly<Record<string, OwnVariable>>;

const MAX_CHARS = { line: 500, lines: 5_000 } as const;

/** Variables that every template of an account has, and that the service sets. */
export const serviceVariables: TemplateVariables = { unsubscribeUrl: { kind: 'link', from: 'service' } };

/** The variables of a template as values are checked by. */
export function declaredVariables(variables: OwnVariables): TemplateVariables {
  const declared = Object.entries(variables).map(([name, variable]): [string, TemplateVariable] => {
    const { kind, maxChars = Infinity, required, default: value } = variable;
    return [
      name,
      {
        kind,
        ...(kind === 'line' || kind === 'lines' ? { maxChars: Math.min(maxChars, MAX_CHARS[kind]) } : {}),
        ...(required === true ? { required: true as const } : {}),
        ...(value === undefined ? {} : { default: value }),
      },
    ];
  });
  return { ...Object.fromEntries(declared), ...serviceVariables };
}

/** What a preview is filled with: the examples, and a text of its own for a variable without one. */
export function exampleValues(variables: OwnVariables): Record<string, string | boolean> {
  return Object.fromEntries(
    Object.entries(variables).map(([name, { kind, example, default: value }]) => [
      name,
      example ?? value ?? (kind === 'flag' ? true : kind === 'link' ? `https://example.com/${name}` : name),
    ]),
  );
}
