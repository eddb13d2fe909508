import { create, type JsonObject } from '@bufbuild/protobuf';
import {
  callerProblems,
  EmailRequestSchema,
  isMailTemplateName,
  mailCopies,
  mailHeadersProblem,
  mailTemplateNames,
  mailTemplates,
  parseEmailAddress,
  Priority,
  readRecipients,
  type MailAttachment,
  type TemplateVariables,
} from '@sluice/contracts';
import { canonicalLocale } from '@sluice/mail-templates';
import { GatewayError, invalidField } from '../../errors.ts';
import { checkScope } from '../../accounts/access.ts';
import type { Account } from '../../accounts/account.ts';
import type { NewJob } from './accept-job.ts';
import type { OwnTemplate } from './find-template.ts';
import { callbackUrl } from './callback-url.ts';
import { checkedMetadata } from './labels.ts';
import { requestHash, type Canonical } from './request-hash.ts';

/** The fields of a request for a mail, not yet validated. */
export interface EmailInput {
  readonly to: string;
  /** Who gets a copy and is named in the mail. */
  readonly cc?: readonly string[] | undefined;
  /** Who gets a copy and is not. */
  readonly bcc?: readonly string[] | undefined;
  readonly template: string;
  readonly variables?: JsonObject | undefined;
  readonly priority?: Priority | undefined;
  readonly callbackUrl?: string | undefined;
  readonly attachmentKey?: string;
  /** Where answers go. */
  readonly replyTo?: string | undefined;
  /** By the allow list of `mailHeadersProblem`. */
  readonly headers?: Readonly<Record<string, string>> | undefined;
  /** Pairs of the caller's own. */
  readonly metadata?: Readonly<Record<string, string>> | undefined;
  /** Found by `findAttachments`. */
  readonly attachments?: readonly MailAttachment[];
  /** Found by `findTemplate`; undefined for a template that is shipped. */
  readonly own?: OwnTemplate | undefined;
  /** BCP 47. */
  readonly locale?: string | undefined;
}

/** For whom a mail is asked. */
export interface EmailContext extends Pick<NewJob, 'account' | 'trace'> {
  /** What its key may do; nothing that needs a scope of its own if absent. */
  readonly scopes?: Account['scopes'] | undefined;
}

/** What a key needs to send copies: whose key leaks can otherwise make one request into many mails to strangers. */
const COPIES_SCOPE = 'emails:copies';
const noScopes: Account['scopes'] = new Set();

const VARIABLES_MAX_BYTES = 16 * 1024;
/**
 * Levels of lists and objects. Protobuf refuses to read what is nested over a hundred messages deep, and each level here
 * is two or three of them: deeper variables could be written into a job that could not be read again.
 */
const VARIABLES_MAX_DEPTH = 16;

/**
 * Validates a request for a mail.
 *
 * @throws {GatewayError} `invalid_request`, or `forbidden` for copies that the key may not send.
 */
export function newEmailJob(input: EmailInput, { account, trace, scopes = noScopes }: EmailContext): NewJob {
  const recipients = readRecipients(input);
  if ('place' in recipients) throw invalidField(recipients.place, recipients.problem);
  const { to } = recipients;
  const [cc, bcc] = [[...recipients.cc], [...recipients.bcc]];
  if (mailCopies(recipients).length > 0) checkScope(scopes, COPIES_SCOPE);
  const { template } = input;
  const declared = input.own?.variables ?? (isMailTemplateName(template) ? mailTemplates[template] : undefined);
  if (declared === undefined) throw invalidField('/template', `must be one of ${mailTemplateNames.join(', ')}`);
  const variables = input.variables ?? {};
  // Before anything that walks all the way down: that takes the stack with it.
  if (isDeeper(variables, VARIABLES_MAX_DEPTH))
    throw invalidField('/variables', `must be nested at most ${VARIABLES_MAX_DEPTH} levels deep`);
  if (JSON.stringify(variables).length > VARIABLES_MAX_BYTES)
    throw invalidField('/variables', 'must be at most 16 KiB of JSON');
  const attachmentKey = input.attachmentKey ?? '';
  checkTemplateVariables(template, declared, variables, attachmentKey !== '');
  const replyTo = input.replyTo ? parseEmailAddress(input.replyTo) : '';
  if (replyTo === undefined) throw invalidField('/replyTo', 'must be one bare e-mail address');
  const headers = checkedHeaders(input.headers ?? {});
  const locale = input.locale ? canonicalLocale(input.locale) : '';
  if (locale === undefined) throw invalidField('/locale', 'must be a language tag (BCP 47)');
  const templateVersion = input.own?.version ?? 0;
  const callback = callbackUrl(input.callbackUrl);
  // Unspecified on the wire is normal: leaving it out and naming it are the same request.
  const priority = input.priority || Priority.NORMAL;
  const attachments = [...(input.attachments ?? [])];
  const metadata = checkedMetadata(input.metadata);
  return {
    metadata,
    account,
    trace,
    priority,
    callbackUrl: callback,
    work: {
      case: 'email',
      value: create(EmailRequestSchema, {
        to,
        cc,
        bcc,
        template,
        variables,
        attachmentKey,
        replyTo,
        headers,
        attachments,
        locale,
        templateVersion,
      }),
    },
    requestHash: requestHash({
      kind: 'email',
      to,
      template,
      variables: variables as Canonical,
      priority,
      callback,
      attachmentKey,
      // Only where they are given: a request without them has the hash that older versions gave it.
      ...(cc.length === 0 ? {} : { cc }),
      ...(bcc.length === 0 ? {} : { bcc }),
      ...(replyTo === '' ? {} : { replyTo }),
      ...(Object.keys(headers).length === 0 ? {} : { headers }),
      ...(Object.keys(metadata).length === 0 ? {} : { metadata }),
      ...(locale === '' ? {} : { locale }),
      ...(attachments.length === 0 ? {} : { attachments: attachments.map(({ key, fileName }) => [key, fileName]) }),
    }),
  };
}

/**
 * What the email service would refuse when it fills the template is refused here, before there is a job to fail.
 *
 * @throws {GatewayError} `invalid_request`, with every variable that is missing or malformed.
 */
function checkTemplateVariables(
  template: string,
  declared: TemplateVariables,
  variables: JsonObject,
  withDocument: boolean,
): void {
  const errors = callerProblems(declared, variables, withDocument).map(({ name, detail }) => ({
    pointer: `/variables/${name}`,
    detail: `${detail} (template ${template})`,
  }));
  if (errors.length === 0) return;
  const words = errors.map(({ pointer, detail }) => `${pointer} ${detail}`).join('; ');
  throw new GatewayError('invalid_request', words, { errors });
}

/** @throws {GatewayError} `invalid_request`. */
function checkedHeaders(headers: Readonly<Record<string, string>>): Record<string, string> {
  const found = mailHeadersProblem(headers);
  if (found !== undefined) {
    throw invalidField(found.name === undefined ? '/headers' : `/headers/${found.name.slice(0, 64)}`, found.problem);
  }
  return { ...headers };
}

/** Whether a value has more levels of lists and objects than allowed; looks no further down than that. */
function isDeeper(value: unknown, levels: number): boolean {
  if (typeof value !== 'object' || value === null) return false;
  return levels === 0 || Object.values(value).some((entry) => isDeeper(entry, levels - 1));
}

/**
 * A new user is a welcome mail: users have no store of their own here.
 *
 * @throws {GatewayError} `invalid_request`.
 */
export function newUserJob(
  input: {
    readonly name: string;
    readonly email: string;
    readonly priority?: Priority | undefined;
    readonly metadata?: Readonly<Record<string, string>> | undefined;
  },
  context: EmailContext,
): NewJob {
  const name = input.name.trim();
  // Control characters in a name become header lines in a mail.
  if (/\p{Cc}/u.test(name)) throw invalidField('/name', 'must not contain control characters');
  const [problem] = callerProblems(mailTemplates.welcome, { name });
  if (problem !== undefined) throw invalidField('/name', problem.detail);
  if (parseEmailAddress(input.email) === undefined) throw invalidField('/email', 'must be one bare e-mail address');
  const { email: to, priority, metadata } = input;
  return newEmailJob({ to, template: 'welcome', variables: { name }, priority, metadata }, context);
}
