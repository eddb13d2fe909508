// docs/configuration.md, from the schemas that the services validate with.
import { globSync, readFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { natsFields, serviceFields, storeFields } from '@sluice/service';
import { z } from 'zod';

const root = join(import.meta.dirname, '../..');
export const CONFIGURATION_PAGE = join(root, 'docs/configuration.md');

type Fields = Readonly<Record<string, z.ZodType>>;

interface Variable {
  readonly name: string;
  readonly type: string;
  readonly default: string;
  readonly text: string;
}

const UNITS: readonly (readonly [RegExp, string])[] = [
  [/_MS$/, 'milliseconds'],
  [/_BYTES$/, 'bytes'],
  [/_PER_SECOND$/, 'per second'],
  [/_PER_HOUR$/, 'per hour'],
  [/_PER_DAY$/, 'per day'],
  [/_PIXELS$/, 'pixels'],
  [/_PERCENT$/, 'percent'],
];

/** The doc comments of fields, by their names, as the sources have them. */
function commentsOf(source: string): Map<string, string> {
  const comments = new Map<string, string>();
  for (const [, comment = '', name = ''] of source.matchAll(/\/\*\*((?:(?!\*\/)[\s\S])*)\*\/\s*([A-Z][A-Z0-9_]+):/g)) {
    comments.set(
      name,
      comment
        .replaceAll(/^\s*\*\s?/gm, '')
        .replaceAll(/\s+/g, ' ')
        .trim(),
    );
  }
  return comments;
}

function typeOf(name: string, schema: z.ZodType): string {
  const shape = z.toJSONSchema(schema, { io: 'output', unrepresentable: 'any' }) as {
    type?: string;
    enum?: string[];
    format?: string;
    minimum?: number;
    exclusiveMinimum?: number;
    maximum?: number;
  };
  if (shape.enum !== undefined) return shape.enum.map((value) => `\`${value}\``).join(', ');
  if (shape.type !== 'number' && shape.type !== 'integer') return shape.format === 'uri' ? 'URL' : 'text';
  const unit = UNITS.find(([pattern]) => pattern.test(name))?.[1];
  const least = shape.minimum ?? (shape.exclusiveMinimum === undefined ? undefined : shape.exclusiveMinimum + 1);
  const most = shape.maximum === Number.MAX_SAFE_INTEGER ? undefined : shape.maximum;
  const range =
    most === undefined ? (least === undefined ? '' : `from ${number(least)}`) : `${least ?? 0} to ${number(most)}`;
  return [unit ?? (shape.type === 'integer' ? 'whole number' : 'number'), range]
    .filter((part) => part !== '')
    .join(', ');
}

const number = (value: number): string => value.toLocaleString('en-US');

function defaultOf(schema: z.ZodType): string {
  const empty = schema.safeParse(undefined);
  if (!empty.success) return '**required**';
  const value = empty.data;
  if (value === undefined || (Array.isArray(value) && value.length === 0) || value === '') return '';
  return `\`${typeof value === 'string' ? value : JSON.stringify(value)}\``;
}

function variablesOf(fields: Fields, comments: ReadonlyMap<string, string>): Variable[] {
  return Object.entries(fields).map(([name, schema]) => {
    const text = schema.description ?? comments.get(name);
    if (text === undefined) throw new Error(`${name} has no doc comment: say above it what it does`);
    return { name, type: typeOf(name, schema), default: defaultOf(schema), text };
  });
}

const cell = (text: string): string => text.replaceAll('|', '\\|');

const table = (variables: readonly Variable[]): string =>
  [
    '| variable | value | default | what it does |',
    '| --- | --- | --- | --- |',
    ...variables.map((each) => `| \`${each.name}\` | ${cell(each.type)} | ${each.default} | ${cell(each.text)} |`),
  ].join('\n');

/** The variables of docker-compose.yml that are read from its environment. */
function composeTable(): string {
  const text = readFileSync(join(root, 'docker-compose.yml'), 'utf8');
  const found = new Map<string, string>();
  for (const [, name = '', value = ''] of text.matchAll(/\$\{([A-Z][A-Z0-9_]*):-((?:[^{}]|\$\{[^{}]*\})*)\}/g)) {
    found.set(name, value);
  }
  const rows = [...found]
    .toSorted(([a], [b]) => a.localeCompare(b, 'en'))
    .map(([name, value]) => `| \`${name}\` | ${value === '' ? '' : `\`${value}\``} |`);
  return ['| variable | default |', '| --- | --- |', ...rows].join('\n');
}

/** What each setting of every service does, by its name. */
export async function settingTexts(): Promise<ReadonlyMap<string, string>> {
  const texts = new Map<string, string>();
  const take = (fields: Fields, comments: ReadonlyMap<string, string>): void => {
    for (const { name, text } of variablesOf(fields, comments)) if (!texts.has(name)) texts.set(name, text);
  };
  const shared = commentsOf(readFileSync(join(root, 'libs/service/src/config.ts'), 'utf8'));
  take({ ...serviceFields, ...natsFields, ...storeFields }, shared);
  for (const { file, fields } of await serviceSettings()) {
    take(fields, new Map([...shared, ...commentsOf(readFileSync(join(root, file), 'utf8'))]));
  }
  return texts;
}

/** The settings of each service, and where they are written. */
async function serviceSettings(): Promise<readonly { service: string; file: string; fields: Fields }[]> {
  const files = globSync('services/*/src/config.ts', { cwd: root }).toSorted((a, b) => a.localeCompare(b, 'en'));
  return Promise.all(
    files.map(async (file) => {
      const service = basename(dirname(dirname(file)));
      const exported = (await import(pathToFileURL(join(root, file)).href)) as Record<string, Fields>;
      const fields = exported[`${service}Fields`];
      if (fields === undefined) throw new Error(`${file} exports no ${service}Fields`);
      return { service, file, fields };
    }),
  );
}

/** The whole page. Every service with a `src/config.ts` has a section. */
export async function configurationPage(): Promise<string> {
  const shared = commentsOf(readFileSync(join(root, 'libs/service/src/config.ts'), 'utf8'));
  const common = new Set([...Object.keys(natsFields), ...Object.keys(storeFields)]);
  const sections: string[] = [];
  for (const { service, file, fields } of await serviceSettings()) {
    // A service that says more about a shared variable (optional where others need it) shows it again.
    const own = Object.entries(fields).filter(
      ([name, schema]) => !common.has(name) || schema !== { ...natsFields, ...storeFields }[name as 'NATS_URL'],
    );
    const comments = new Map([...shared, ...commentsOf(readFileSync(join(root, file), 'utf8'))]);
    sections.push(`## ${service}\n\n${table(variablesOf(Object.fromEntries(own), comments))}`);
  }
  return `<!-- Generated by \`pnpm gen:config-docs\` from the config.ts files. Change those. -->

# Configuration

A service reads its settings from environment variables when it starts, and ends with a list of
everything that is wrong with them. An empty value counts as absent. \`NAME_FILE\` names a file that
holds the value of \`NAME\`, as secret stores mount them. Without a default and not **required**, a
variable is off, or its default follows from the machine or from another variable.

Outside \`SLUICE_ENV=dev\` well-known passwords are refused.

## Every service

${table(variablesOf(serviceFields, shared))}

## Services that talk to NATS

All of them do.

${table(variablesOf(natsFields, shared))}

## Services that store objects

\`gateway\`, \`image\` and \`email\`.

${table(variablesOf(storeFields, shared))}

${sections.join('\n\n')}

## Docker Compose

\`docker-compose.yml\` reads these from the environment or from a file named \`.env\`; the variables
of one service above are set in its \`environment\`.

${composeTable()}
`;
}
