import {
  checkVariables,
  mailTemplates,
  type MailTemplateName,
  type TemplateValues,
  type TemplateVariables,
} from '@sluice/contracts';
import { encodeLiterals, fillHtml, fillText, type CompiledTemplate } from '@sluice/mail-templates';
import { shippedTemplates as templates } from '@sluice/mail-templates/shipped';
import { endEncoded, quotedPrintable } from './quoted-printable.ts';

/** The variables of a caller, without those that are the service's to set. */
export function callerVariables<T>(name: MailTemplateName, given: Readonly<Record<string, T>>): Record<string, T> {
  const declared: TemplateVariables = mailTemplates[name];
  return Object.fromEntries(
    Object.entries(given).filter(([key]) => !Object.hasOwn(declared, key) || declared[key]?.from !== 'service'),
  );
}

export interface RenderedMail {
  readonly subject: string;
  readonly html: string;
  readonly text: string;
}

const encoded = Object.fromEntries(
  Object.entries(templates).map(([name, { subject, html, text }]) => [
    name,
    { subject, html: encodeLiterals(html, quotedPrintable), text: encodeLiterals(text, quotedPrintable) },
  ]),
) as unknown as typeof templates;

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
export function renderTemplate(name: MailTemplateName, given: Readonly<Record<string, unknown>>): RenderedMail {
  const values = check(name, given);
  const { subject, html, text } = templates[name];
  return { subject: subjectOf(subject, values), html: fillHtml(html, values), text: fillText(text, values) };
}

/**
 * The same, with HTML and text as quoted-printable. What a template says itself was encoded when the process started, so
 * a mail costs the encoding of its values alone.
 */
export function renderEncoded(name: MailTemplateName, given: Readonly<Record<string, unknown>>): RenderedMail {
  const values = check(name, given);
  const { subject, html, text } = encoded[name];
  return {
    subject: subjectOf(subject, values),
    html: endEncoded(fillHtml(html, values, quotedPrintable)),
    text: endEncoded(fillText(text, values, quotedPrintable)),
  };
}

function check(name: MailTemplateName, given: Readonly<Record<string, unknown>>): TemplateValues {
  const { values, problems } = checkVariables(mailTemplates[name], given);
  if (values !== undefined) return values;
  throw new TemplateVariablesError(
    `${name}: ${problems.map((problem) => `${problem.name} ${problem.detail}`).join('; ')}`,
  );
}

/** `=?utf-8?q?=0D=0ABcc:…?=` is plain ASCII and would go out as it is; the reader's program would decode it. */
function subjectOf(subject: CompiledTemplate['subject'], values: TemplateValues): string {
  return fillText(subject, values).replaceAll('=?', '= ?');
}
