import { parse, type DefaultTreeAdapterTypes as Tree } from 'parse5';

/** What mail programs draw and nothing else: no script, no form, no frame, nothing that loads more HTML. */
const ELEMENTS = new Set(
  (
    'html head title meta style body a abbr b big blockquote br caption center cite code col colgroup dd del div dl dt em ' +
    'font h1 h2 h3 h4 h5 h6 hr i img ins li ol p pre q s section small span strike strong sub sup table tbody td tfoot th ' +
    'thead tr u ul'
  ).split(' '),
);
/** What is said of a mail in its head, all else there would act on it. */
const META = new Set(['', 'content-type', 'x-ua-compatible']);
const FORBIDDEN_ATTRIBUTES = /^(?:on|xlink)|^(?:srcset|srcdoc|action|formaction|ping|background|poster|data|is)$/i;
/** In styles, also those that a comment for one mail program holds: what fetches, and what runs. */
const FORBIDDEN_CSS = /@import|url\s*\(|expression\s*\(|javascript:|behaviou?r\s*:|-moz-binding|\\/i;
const FORBIDDEN_IN_COMMENTS =
  /<\s*\/?\s*(?:script|iframe|object|embed|form|input|link|base|svg|meta)|\bon\w+\s*=|javascript:|@import|url\s*\(/i;
const MAX_DEPTH = 100;

/**
 * What stands for the tags of a template in HTML that is looked at before it is filled: characters of private use, which
 * no template holds itself.
 */
export const marks = {
  text: (name: string): string => `\uE000${name}\uE001`,
  url: (name: string): string => `\uE002${name}\uE003`,
  begin: '\uE004',
  end: '\uE005',
} as const;
const MARK = /[\uE000-\uE005]/;
const countMarks = (text: string): number => text.match(/[\uE000\uE002\uE004\uE005]/g)?.length ?? 0;
const ONE_LINK = /^\uE002\w+\uE003$/;
const TEXT_ONLY = /^[^\uE002-\uE005]*$/;

/**
 * What in the HTML of a template must not go out. A value may stand in a text, in a quoted `alt` or `title`, and alone in
 * an `href`; everywhere else it could become markup, style or a request. A block holds whole elements or text.
 *
 * @param html with {@link marks} in place of the tags of the template, every block in it.
 */
export function htmlProblems(html: string): string[] {
  const problems = new Set<string>();
  const blocks: Tree.Node[] = [];
  let seen = 0;
  const open: { readonly node: Tree.Node; readonly depth: number }[] = [
    { node: parse(html, { sourceCodeLocationInfo: true }), depth: 0 },
  ];
  for (let next = open.pop(); next !== undefined; next = open.pop()) {
    const { node, depth } = next;
    if (depth > MAX_DEPTH) return [`is nested deeper than ${MAX_DEPTH} elements`];
    if ('tagName' in node) {
      for (const problem of elementProblems(node, html)) problems.add(problem);
      for (const { value } of node.attrs) seen += countMarks(value);
    }
    if (node.nodeName === '#comment' && 'data' in node) {
      seen += countMarks(node.data);
      if (MARK.test(node.data)) problems.add('has a variable or a block in a comment');
      if (FORBIDDEN_IN_COMMENTS.test(node.data)) problems.add('has a comment with what mails must not have');
    }
    if (node.nodeName === '#text' && 'value' in node) {
      seen += countMarks(node.value);
      if (/[\uE002\uE003]/.test(node.value)) problems.add('has a link variable outside of an href');
      for (const mark of node.value.match(/[\uE004\uE005]/g) ?? []) {
        if (mark === marks.begin) blocks.push(node.parentNode as Tree.Node);
        else if (blocks.pop() !== node.parentNode)
          problems.add('has a block that begins and ends in different elements');
      }
    }
    // The last first, so that text comes in the order in which it is written.
    if ('childNodes' in node)
      for (const child of node.childNodes.toReversed()) open.push({ node: child, depth: depth + 1 });
  }
  // A parser leaves out what stands where nothing may: repeated attributes, attributes of a closing tag.
  if (seen !== countMarks(html)) problems.add('has a variable or a block where nothing can stand');
  return [...problems];
}

function* elementProblems(element: Tree.Element, html: string): Generator<string> {
  const { tagName, attrs, sourceCodeLocation } = element;
  const valueOf = (name: string): string => attrs.find((attribute) => attribute.name === name)?.value ?? '';
  if (!ELEMENTS.has(tagName)) yield `has <${shown(tagName)}>, which mails must not have`;
  if (tagName === 'meta' && !META.has(valueOf('http-equiv').toLowerCase())) yield 'has a <meta http-equiv>';
  if (tagName === 'style') {
    const text = element.childNodes.map((child) => ('value' in child ? child.value : '')).join('');
    if (MARK.test(text)) yield 'has a variable or a block in a <style>';
    if (FORBIDDEN_CSS.test(text)) yield 'has a <style> that loads or runs something';
  }
  for (const { name, value } of attrs) {
    yield* attributeProblems(tagName, name, value);
    const { startOffset = 0, endOffset = 0 } = sourceCodeLocation?.attrs?.[name] ?? {};
    if (MARK.test(value) && !/=\s*(["'])[^]*\1$/.test(html.slice(startOffset, endOffset))) {
      yield `has ${shown(name)} of <${shown(tagName)}> without quotes`;
    }
  }
}

function* attributeProblems(tagName: string, name: string, value: string): Generator<string> {
  const where = `${shown(name)}="..." of <${shown(tagName)}>`;
  if (MARK.test(name)) yield 'has a variable or a block in the name of an attribute';
  if (FORBIDDEN_ATTRIBUTES.test(name)) yield `has ${where}, which mails must not have`;
  if (name === 'href') {
    if (MARK.test(value) ? !ONE_LINK.test(value) : !/^(?:https:\/\/|mailto:|tel:|#)/i.test(value.trim())) {
      yield `has ${where}: a link is one variable alone in double quotes, or begins with https://, mailto:, tel: or #`;
    }
  } else if (name === 'src') {
    if (tagName !== 'img' || MARK.test(value) || !/^https:\/\//i.test(value)) {
      yield `has ${where}: a picture begins with https:// and holds no variable`;
    }
  } else if (MARK.test(value) && !((name === 'alt' || name === 'title') && TEXT_ONLY.test(value))) {
    yield `has a variable or a block in ${where}`;
  } else if (name === 'style' && FORBIDDEN_CSS.test(value)) {
    yield `has ${where} that loads or runs something`;
  }
}

const shown = (name: string): string => name.slice(0, 30).replace(/[^\w-]/g, '?');
