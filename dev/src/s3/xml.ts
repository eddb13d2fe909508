/** One element of a parsed document: S3 bodies need names, order and text, no attributes. */
export interface XmlElement {
  name: string;
  children: XmlElement[];
  text: string;
}

/** The body is not well-formed XML. */
export class XmlError extends Error {
  override readonly name = 'XmlError';
  readonly code = 'malformed_xml';
}

/** The namespace attribute that S3 answers carry. */
export const S3_NAMESPACE = 'xmlns="http://s3.amazonaws.com/doc/2006-03-01/"';

const ENTITIES: Readonly<Record<string, string>> = { lt: '<', gt: '>', amp: '&', quot: '"', apos: "'" };
const ESCAPES: Readonly<Record<string, string>> = {
  '<': '&lt;',
  '>': '&gt;',
  '&': '&amp;',
  '"': '&quot;',
  "'": '&apos;',
};

function escapeText(text: string): string {
  // Control characters are legal in keys; unescaped they would make the document unreadable.
  // oxlint-disable-next-line no-control-regex
  return text.replace(/[<>&"'\u0000-\u001f]/g, (c) => ESCAPES[c] ?? `&#x${c.charCodeAt(0).toString(16)};`);
}

function unescapeText(text: string): string {
  return text.replace(/&(#x[0-9a-f]+|#\d+|\w+);/gi, (whole, entity: string) => {
    const named = ENTITIES[entity.toLowerCase()];
    if (named !== undefined) return named;
    if (!entity.startsWith('#')) return whole;
    const hexadecimal = entity[1]?.toLowerCase() === 'x';
    return String.fromCodePoint(hexadecimal ? Number.parseInt(entity.slice(2), 16) : Number(entity.slice(1)));
  });
}

/** `<name>value</name>` with the value escaped. */
export function element(name: string, value: string | number | boolean): string {
  return `<${name}>${escapeText(String(value))}</${name}>`;
}

const TOKEN = /<\?[^>]*\?>|<!--[\s\S]*?-->|<!\[CDATA\[([\s\S]*?)\]\]>|<(\/?)([\w:.-]+)([^>]*?)(\/?)>|([^<]+)/g;

/** Parses the small documents S3 clients send. No DTD, so nothing to expand and nothing to fetch. @throws XmlError */
export function parseXml(source: string): XmlElement {
  const root: XmlElement = { name: '', children: [], text: '' };
  const open = [root];
  for (const [, cdata, closing, name, , selfClosing, text] of source.matchAll(TOKEN)) {
    const top = open.at(-1);
    if (!top) throw new XmlError('more elements closed than opened');
    if (text !== undefined) top.text += unescapeText(text);
    else if (cdata !== undefined) top.text += cdata;
    else if (name !== undefined && closing) {
      if (open.length < 2 || top.name !== name) throw new XmlError(`unexpected </${name}>`);
      open.pop();
    } else if (name !== undefined) {
      const child: XmlElement = { name, children: [], text: '' };
      top.children.push(child);
      if (!selfClosing) open.push(child);
    }
  }
  const document = root.children[0];
  if (!document || open.length !== 1) throw new XmlError('no complete document');
  return document;
}

/** The children of this name, in order. */
export function childrenOf(parent: XmlElement | undefined, name: string): XmlElement[] {
  return parent?.children.filter((child) => child.name === name) ?? [];
}

/** The text of the first child of this name. */
export function textOf(parent: XmlElement | undefined, name: string): string | undefined {
  return childrenOf(parent, name)[0]?.text;
}
