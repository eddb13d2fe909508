import { isMailLink, type TemplateValues } from '@sluice/contracts';

/**
 * A compiled template: text with holes. `text` is escaped for its place, `lines` is escaped and keeps its line breaks,
 * `url` stands in a link and must be one, `if`/`unless` hold parts that appear or not: a missing or empty value is false.
 */
export type Part =
  | string
  | { readonly text: string }
  | { readonly lines: string }
  | { readonly url: string }
  | { readonly if: string; readonly parts: readonly Part[] }
  | { readonly unless: string; readonly parts: readonly Part[] };

/** What `compile-templates.ts` makes of one template's `.mjml` and `.txt`. */
export interface CompiledTemplate {
  readonly subject: readonly Part[];
  readonly html: readonly Part[];
  readonly text: readonly Part[];
}

/**
 * Splits a template source into parts: `{{name}}`, `{{lines name}}`, `{{#if name}}…{{/if}}`, `{{#unless name}}…{{/unless}}`.
 * A hole right after `href="` is a `url`; a block tag alone on its line takes the line with it.
 *
 * @throws {SyntaxError} on an unknown, unclosed or stray tag.
 */
export function parseParts(source: string): Part[] {
  const root: Part[] = [];
  const open: { tag: 'if' | 'unless'; parts: Part[] }[] = [];
  let parts = root;
  let at = 0;
  const text = source.replace(/^[ \t]*(\{\{[#/][^{}]*\}\})[ \t]*\n/gm, '$1');
  if (text.includes('{{{')) fail('there are no unescaped values');
  for (const match of text.matchAll(/\{\{([^{}]*)\}\}/g)) {
    const before = text.slice(at, match.index);
    if (before !== '') parts.push(before);
    at = match.index + match[0].length;
    const [, block, close, lines, name = ''] =
      /^(?:#(if|unless) |\/(if|unless)$|(lines) )?([A-Za-z]\w*)?$/.exec(match[1] ?? '') ??
      fail(`unknown tag ${match[0]}`);
    if (close !== undefined) {
      const top = open.pop();
      if (top?.tag !== close) fail(`stray ${match[0]}`);
      else parts = top.parts;
    } else if (name === '') {
      fail(`no name in ${match[0]}`);
    } else if (block === 'if' || block === 'unless') {
      const inner: Part[] = [];
      parts.push(block === 'if' ? { if: name, parts: inner } : { unless: name, parts: inner });
      open.push({ tag: block, parts });
      parts = inner;
    } else {
      parts.push(lines === undefined ? (before.endsWith('href="') ? { url: name } : { text: name }) : { lines: name });
    }
  }
  if (open.length > 0) fail(`unclosed {{#${open.at(-1)?.tag}}}`);
  if (at < text.length) parts.push(text.slice(at));
  return root;
}

/** Every name a template uses, and whether it stands in a link. */
export function namesIn(parts: readonly Part[]): { name: string; link: boolean }[] {
  return parts.flatMap((part) => {
    if (typeof part === 'string') return [];
    if ('url' in part) return [{ name: part.url, link: true }];
    if ('text' in part) return [{ name: part.text, link: false }];
    if ('lines' in part) return [{ name: part.lines, link: false }];
    const name = 'if' in part ? part.if : part.unless;
    return [{ name, link: false }, ...namesIn(part.parts)];
  });
}

/** What happens to text between a template and the wire; literals have it behind them, values have it ahead. */
export type Encode = (text: string) => string;

const asItIs: Encode = (text) => text;

/** Fills a template for HTML: every value is escaped, so none can open a tag, leave an attribute or run as a script. */
export function fillHtml(parts: readonly Part[], values: TemplateValues, encode: Encode = asItIs): string {
  return fill(parts, values, {
    text: (value) => encode(escapeHtml(value)),
    lines: (value) => encode(escapeHtml(value).replace(/\n/g, '<br />')),
    // The schema of the template has checked this already; a link that got past it must not reach a reader.
    url: (value) => (isMailLink(value) ? encode(escapeHtml(value)) : fail('a link that is no http(s) URL')),
  });
}

/** Fills a template for plain text or a header: values as they are, on one line unless it is `lines`. */
export function fillText(parts: readonly Part[], values: TemplateValues, encode: Encode = asItIs): string {
  const line = (value: string): string => encode(oneLine(value));
  return fill(parts, values, { text: line, lines: encode, url: line });
}

/** The same template with its literals encoded once and for all. */
export function encodeLiterals(parts: readonly Part[], encode: Encode): Part[] {
  return parts.map((part) => {
    if (typeof part === 'string') return encode(part);
    return 'parts' in part ? { ...part, parts: encodeLiterals(part.parts, encode) } : part;
  });
}

interface Escapes {
  readonly text: (value: string) => string;
  readonly lines: (value: string) => string;
  readonly url: (value: string) => string;
}

function fill(parts: readonly Part[], values: TemplateValues, escapes: Escapes): string {
  let out = '';
  for (const part of parts) {
    if (typeof part === 'string') out += part;
    else if ('text' in part) out += escapes.text(String(values[part.text] ?? ''));
    else if ('lines' in part) out += escapes.lines(String(values[part.lines] ?? ''));
    else if ('url' in part) out += escapes.url(String(values[part.url] ?? ''));
    else if ('if' in part) out += values[part.if] ? fill(part.parts, values, escapes) : '';
    else out += values[part.unless] ? '' : fill(part.parts, values, escapes);
  }
  return out;
}

const ENTITIES: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
};

function escapeHtml(value: string): string {
  return value.replace(/[&<>"']/g, (char) => ENTITIES[char] ?? char);
}

function oneLine(value: string): string {
  return value.replace(/\s+/g, ' ');
}

function fail(message: string): never {
  throw new SyntaxError(message);
}
