import type { TemplateValues } from '@sluice/contracts';
import { encodeLiterals, fillHtml, fillText, type CompiledTemplate, type Encode } from './parts.ts';
import type { OwnVariables } from './variables.ts';

/** One language of a template as an account wrote it. */
export interface TemplateSource {
  readonly subject: string;
  /** MJML or HTML. */
  readonly mjml?: string | undefined;
  readonly html?: string | undefined;
  /** For readers without HTML. */
  readonly text: string;
}

/** A template of an account, as it was written. */
export interface TemplateDefinition extends TemplateSource {
  readonly variables: OwnVariables;
  /** Comes again and again without being asked for: readers can unsubscribe from it. */
  readonly recurring: boolean;
  /** The same in other languages, by BCP 47 tag. */
  readonly locales?: Readonly<Record<string, TemplateSource>> | undefined;
}

/** A version of a template, ready to be filled. It never changes. */
export interface TemplateVersion {
  readonly name: string;
  readonly version: number;
  /** ISO time. */
  readonly createdAt: string;
  readonly definition: TemplateDefinition;
  readonly compiled: CompiledTemplate;
  readonly compiledLocales: Readonly<Record<string, CompiledTemplate>>;
}

export interface FilledTemplate {
  readonly subject: string;
  readonly html: string;
  readonly text: string;
  /** The language that was found for the one asked for; undefined for that of the template. */
  readonly locale: string | undefined;
}

/** A language tag (BCP 47) in its canonical letters; undefined for what is none. */
export function canonicalLocale(tag: string): string | undefined {
  try {
    return tag.length > 35 ? undefined : Intl.getCanonicalLocales(tag)[0];
  } catch {
    return undefined;
  }
}

/**
 * The language of a template that fits a tag best: the tag itself, then the same with its last parts taken off (RFC 4647
 * 3.4, lookup). Undefined for the language of the template.
 */
export function localeFor(available: readonly string[], asked: string): string | undefined {
  const tags = new Map(available.map((tag) => [tag.toLowerCase(), tag]));
  for (let range = asked.toLowerCase(); range !== ''; range = range.slice(0, Math.max(0, range.lastIndexOf('-')))) {
    const found = tags.get(range);
    if (found !== undefined) return found;
  }
  return undefined;
}

/**
 * Fills a template. Every value is escaped for its place.
 *
 * @param values of `checkVariables`.
 * @param encode of HTML and text, for the wire.
 */
export function fillTemplate(
  { compiled, compiledLocales }: Pick<TemplateVersion, 'compiled' | 'compiledLocales'>,
  values: TemplateValues,
  asked: string,
  encode?: Encode,
): FilledTemplate {
  const locale = localeFor(Object.keys(compiledLocales), asked);
  const { subject, html, text } = (locale === undefined ? undefined : compiledLocales[locale]) ?? compiled;
  const literals = (parts: CompiledTemplate['html']) => (encode === undefined ? parts : encodeLiterals(parts, encode));
  return {
    // An encoded word in it would be decoded by readers into what it hides.
    subject: fillText(subject, values).replaceAll('=?', '= ?'),
    html: fillHtml(literals(html), values, encode),
    text: fillText(literals(text), values, encode),
    locale,
  };
}
