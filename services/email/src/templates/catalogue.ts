import { z } from 'zod';
import compiled from './compiled.json' with { type: 'json' };
import { encodeLiterals, fillHtml, fillText, isLink, type CompiledTemplate, type Values } from './parts.ts';
import { endEncoded, quotedPrintable } from './quoted-printable.ts';

// What a caller writes into a mail never carries control characters or bidirectional overrides: the first could reach
// a header, the second could show a link's text backwards.
const HIDDEN = /(?![\n\t])\p{Cc}|\p{Bidi_Control}|\ufeff/gu;
const plain = (value: string): string => value.toWellFormed().replace(/\r\n?/g, '\n').replace(HIDDEN, '').trim();

/** A value on one line. */
const line = (max: number) =>
  z
    .string()
    .transform((value) => plain(value).replace(/\s+/g, ' '))
    .pipe(z.string().min(1).max(max));
/** A value that keeps its line breaks. */
const lines = (max: number) => z.string().transform(plain).pipe(z.string().min(1).max(max));
// Parsed and written anew: a parser forgives control characters, line breaks and backslashes, and each mail program
// forgives them in its own way. So the text part and the HTML part would show other links than the one that was checked.
const link = z
  .string()
  .max(2048)
  .refine(isLink, 'must be an http(s) URL without credentials')
  .transform((url) => new URL(url).href);

/**
 * The variables of each template. An unknown key is dropped. Names ending in `Url` and `link` may stand in a link of
 * the template; a test holds every template to the schema.
 */
export const variables = {
  welcome: z.object({ name: line(100), actionUrl: link.optional() }),
  notification: z.object({
    title: line(150).default('A message for you'),
    message: lines(5_000),
    name: line(100).optional(),
    actionUrl: link.optional(),
    actionLabel: line(60).default('Have a look'),
    unsubscribeUrl: link.optional(),
  }),
  'image-ready': z.object({
    name: line(100).optional(),
    link,
    jobId: line(128),
    facts: line(100).optional(),
    expires: line(60).optional(),
    attached: z.boolean().default(false),
  }),
} satisfies Record<string, z.ZodType<Values>>;

export type TemplateName = keyof typeof variables;

/** Variables that the service sets itself. A caller's would say what is not true: "It is attached to this mail". */
const own: Readonly<Record<TemplateName, readonly string[]>> = {
  welcome: [],
  notification: ['unsubscribeUrl'],
  'image-ready': ['facts', 'expires', 'attached'],
};

/** The variables of a caller, without those that are the service's to set. */
export function callerVariables<T>(name: TemplateName, given: Readonly<Record<string, T>>): Record<string, T> {
  return Object.fromEntries(Object.entries(given).filter(([key]) => !own[name].includes(key)));
}

export interface RenderedMail {
  readonly subject: string;
  readonly html: string;
  readonly text: string;
}

/** The inline picture every template shows, referred to as `cid:logo@sluice`. */
export const logo: { readonly cid: string; readonly png: Buffer } = {
  cid: 'logo@sluice',
  png: Buffer.from(compiled.logo, 'base64'),
};

export const templateNames = Object.keys(variables) as TemplateName[];
const templates = compiled.templates as Readonly<Record<TemplateName, CompiledTemplate>>;
const encoded = Object.fromEntries(
  Object.entries(templates).map(([name, { subject, html, text }]) => [
    name,
    { subject, html: encodeLiterals(html, quotedPrintable), text: encodeLiterals(text, quotedPrintable) },
  ]),
) as unknown as typeof templates;

export function isTemplateName(name: string): name is TemplateName {
  return Object.hasOwn(variables, name);
}

/** The template cannot be filled with these variables: nothing but another request can help. */
export class TemplateVariablesError extends Error {
  override readonly name = 'TemplateVariablesError';
  readonly code = 'invalid_variables';
}

/**
 * Checks the variables and fills the template.
 *
 * @throws {TemplateVariablesError} naming every variable that is missing or malformed, never its value.
 */
export function renderTemplate(name: TemplateName, given: unknown): RenderedMail {
  const values = check(name, given);
  const { subject, html, text } = templates[name];
  return { subject: subjectOf(subject, values), html: fillHtml(html, values), text: fillText(text, values) };
}

/**
 * The same, with HTML and text as quoted-printable. What a template says itself was encoded when the process started, so
 * a mail costs the encoding of its values alone.
 */
export function renderEncoded(name: TemplateName, given: unknown): RenderedMail {
  const values = check(name, given);
  const { subject, html, text } = encoded[name];
  return {
    subject: subjectOf(subject, values),
    html: endEncoded(fillHtml(html, values, quotedPrintable)),
    text: endEncoded(fillText(text, values, quotedPrintable)),
  };
}

function check(name: TemplateName, given: unknown): Values {
  const checked = variables[name].safeParse(given);
  if (checked.success) return checked.data;
  const problems = checked.error.issues.map(({ path, message }) => `${path.join('.') || 'variables'}: ${message}`);
  throw new TemplateVariablesError(`${name}: ${problems.join('; ')}`, { cause: checked.error });
}

/** `=?utf-8?q?=0D=0ABcc:…?=` is plain ASCII and would go out as it is; the reader's program would decode it. */
function subjectOf(subject: CompiledTemplate['subject'], values: Values): string {
  return fillText(subject, values).replaceAll('=?', '= ?');
}
