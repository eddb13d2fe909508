import {
  checkVariables,
  isMailTemplateName,
  mailTemplates,
  type EmailRequest,
  type MailTemplateName,
  type TemplateVariables,
} from '@sluice/contracts';
import { declaredVariables, fillTemplate, type TemplateStore, type TemplateVersion } from '@sluice/mail-templates';
import { callerVariables, renderEncoded, TemplateVariablesError, type RenderedMail } from './catalogue.ts';
import { endEncoded, quotedPrintable } from './quoted-printable.ts';

/** A template of a mail: one that is shipped, or a version of one that the account wrote. */
export interface MailTemplate {
  /** In metrics: accounts name theirs as they like. */
  readonly label: string;
  /** Mails of it come again and again without being asked for: those can be unsubscribed from. */
  readonly recurring: boolean;
  /** Shows the picture that every shipped template shows. */
  readonly hasLogo: boolean;
  /** The variables of a caller, without those that are the service's to set. */
  callerVariables(given: Readonly<Record<string, unknown>>): Record<string, unknown>;
  /** The links among them. */
  linksIn(variables: Readonly<Record<string, unknown>>): readonly { readonly name: string; readonly url: string }[];
  /**
   * Checks the variables and fills the template, HTML and text as quoted-printable.
   *
   * @throws {TemplateVariablesError}
   */
  render(variables: Readonly<Record<string, unknown>>): RenderedMail & { readonly locale?: string | undefined };
}

const RECURRING: ReadonlySet<MailTemplateName> = new Set(['notification']);
/** How a template of an account is called in metrics. */
const OWN_LABEL = 'own';

/** What metrics call the template of a request. */
export const templateLabel = ({ template, templateVersion }: EmailRequest): string =>
  templateVersion > 0 ? OWN_LABEL : isMailTemplateName(template) ? template : 'unknown';

/** The template of a request; undefined when there is none, or no longer. */
export async function findMailTemplate(
  templates: TemplateStore,
  account: string,
  { template, templateVersion, locale }: EmailRequest,
): Promise<MailTemplate | undefined> {
  if (templateVersion === 0) return isMailTemplateName(template) ? shippedTemplate(template) : undefined;
  const version = await templates.version(account, template, templateVersion);
  return version === undefined ? undefined : ownTemplate(version, locale);
}

export function shippedTemplate(name: MailTemplateName): MailTemplate {
  return {
    label: name,
    recurring: RECURRING.has(name),
    hasLogo: true,
    callerVariables: (given) => callerVariables(name, given),
    linksIn: (variables) => linksIn(mailTemplates[name], variables),
    render: (variables) => renderEncoded(name, variables),
  };
}

function ownTemplate(version: TemplateVersion, locale: string): MailTemplate {
  const { definition } = version;
  const declared = declaredVariables(definition.variables);
  return {
    label: OWN_LABEL,
    recurring: definition.recurring,
    hasLogo: false,
    callerVariables: (given) =>
      Object.fromEntries(Object.entries(given).filter(([name]) => Object.hasOwn(definition.variables, name))),
    linksIn: (variables) => linksIn(declared, variables),
    render(variables) {
      const checked = checkVariables(declared, variables);
      if (checked.values === undefined) {
        const problems = checked.problems.map(({ name, detail }) => `${name} ${detail}`);
        throw new TemplateVariablesError(`${version.name}: ${problems.join('; ')}`);
      }
      const filled = fillTemplate(version, checked.values, locale, quotedPrintable);
      return { ...filled, html: endEncoded(filled.html), text: endEncoded(filled.text) };
    },
  };
}

function linksIn(
  declared: TemplateVariables,
  variables: Readonly<Record<string, unknown>>,
): { readonly name: string; readonly url: string }[] {
  return Object.entries(declared).flatMap(([name, { kind }]) => {
    const url = variables[name];
    return kind === 'link' && typeof url === 'string' ? [{ name, url }] : [];
  });
}
