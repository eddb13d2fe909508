import type { AsyncApiDocument } from '@sluice/messaging';

const escaped = (text: string): string => text.replace(/[&<>"]/g, (character) => `&#${character.charCodeAt(0)};`);
const last = (ref: string): string => ref.slice(ref.lastIndexOf('/') + 1);

interface Shown {
  readonly type?: string;
  readonly format?: string;
  readonly enum?: readonly string[];
  readonly $ref?: string;
  readonly items?: Shown;
  readonly additionalProperties?: Shown;
}

/** A type as a reader says it, with a link where it is a message of its own. */
function typeOf({ type, format, $ref, items, additionalProperties, enum: values }: Shown): string {
  if ($ref !== undefined) return `<a href="#${last($ref)}">${last($ref)}</a>`;
  if (items !== undefined) return `list of ${typeOf(items)}`;
  if (additionalProperties !== undefined) return `map of ${typeOf(additionalProperties)}`;
  if (values !== undefined) return values.map((value) => `<code>${escaped(value)}</code>`).join(' ');
  return escaped(format ?? type ?? 'any');
}

/** The subjects and messages of the system as one page: nothing of it comes from elsewhere. */
export function asyncApiPage({ info, channels, operations, components }: AsyncApiDocument): string {
  const receivers = (key: string): string =>
    Object.entries(operations)
      .filter(([, { action, channel }]) => action === 'receive' && last(channel.$ref) === key)
      .map(([name]) => `<code>${name.slice(0, -key.length - 1)}</code>`)
      .join(' ');
  const subjects = Object.entries(channels).map(([key, { address, description, messages }]) => {
    const kinds = Object.keys(messages).map((name) => {
      const type = last(components.messages[name]?.payload.$ref ?? name);
      return `<a href="#${type}">${type}</a>`;
    });
    return `<tr><td><code>${escaped(address)}</code><td>${kinds.join(' ')}<td>${escaped(description)}<td>${receivers(key)}`;
  });
  const schemas = Object.entries(components.schemas).map(([name, schema]) => {
    const fields = Object.entries((schema['properties'] ?? {}) as Record<string, Shown>);
    const rows = fields.map(([field, shown]) => `<tr><td><code>${field}</code><td>${typeOf(shown)}`);
    return `<h3 id="${name}">${name}</h3><table>${rows.join('')}</table>`;
  });
  return (
    `<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">` +
    `<title>${escaped(info.title)}</title><style>:root{color-scheme:light dark}body{font:15px/1.5 system-ui;max-width:72em;margin:2em auto;padding:0 1em}` +
    `table{border-collapse:collapse;display:block;overflow-x:auto}td,th{text-align:left;vertical-align:top;padding:.2em 1em .2em 0;border-top:1px solid #8884}</style>` +
    `<body><h1>${escaped(info.title)}</h1><p>${escaped(info.description)} <a href="/asyncapi.json">AsyncAPI 3</a>, <a href="/docs">HTTP</a>.</p>` +
    `<h2>Subjects</h2><table><tr><th>subject<th>message<th>what<th>consumers${subjects.join('')}</table>` +
    `<h2>Messages</h2>${schemas.join('')}</body></html>\n`
  );
}
