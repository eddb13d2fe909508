import {
  mailHeadersProblem,
  parseEmailAddress,
  readRecipients,
  type EmailRequest,
  type SendEmail,
} from '@sluice/contracts';
import type { Context } from '@sluice/pipeline';
import type { SuppressionReason } from '@sluice/suppression';
import type { MailInput } from '../compose/compose-mail.ts';
import { AttachmentError } from '../compose/attachments.ts';
import { mayLink } from '../compose/links.ts';
import type { MailerDeps } from './mailer-deps.ts';
import { TemplateVariablesError } from '../templates/catalogue.ts';
import { findMailTemplate } from '../templates/mail-template.ts';

/** Why a request cannot become a mail, in the words of a job's error. */
export interface Refusal {
  readonly code: string;
  readonly detail: string;
}

/** Why an address gets no mail, as the job says it. */
const SUPPRESSED: Readonly<Record<SuppressionReason, string>> = {
  bounce: 'an earlier mail to this address bounced for good',
  complaint: 'the reader of this address complained about an earlier mail',
  unsubscribe: 'the reader of this address has unsubscribed',
  manual: 'an operator has suppressed this address',
};

/** Checks what was asked for. A refusal is about the request, and final. */
export async function prepare(
  { jobId, replays, email, account }: SendEmail,
  { deps }: Context<MailerDeps>,
): Promise<MailInput | Refusal> {
  const template = email === undefined ? undefined : await findMailTemplate(deps.templates, account, email);
  if (email === undefined || template === undefined) {
    return { code: 'unknown_template', detail: 'there is no such template' };
  }
  const recipients = readRecipients(email);
  if ('place' in recipients) {
    return { code: 'invalid_address', detail: `the recipient ${recipients.place} ${recipients.problem}` };
  }
  const variables = template.callerVariables(email.variables ?? {});
  const forbidden = template.linksIn(variables).find(({ url }) => !mayLink(url, deps.sender.links));
  if (forbidden !== undefined) return { code: 'invalid_variables', detail: `${forbidden.name}: may not be linked to` };
  const replyTo = email.replyTo === '' ? undefined : parseEmailAddress(email.replyTo);
  if (email.replyTo !== '' && replyTo === undefined) {
    return { code: 'invalid_address', detail: 'the reply address is not one bare address' };
  }
  if (mailHeadersProblem(email.headers) !== undefined) {
    return { code: 'invalid_headers', detail: 'a header is not on the list, or there are too many' };
  }
  return { jobId, replays, recipients, template, variables, replyTo, headers: email.headers };
}

/**
 * Why an address gets no mail now; undefined when it may.
 *
 * @param charge counts the mail against the quotas: once for each mail and recipient.
 */
export async function refusalOfRecipient(
  address: string,
  { account, recurring, charge }: { readonly account: string; readonly recurring: boolean; readonly charge: boolean },
  deps: Pick<MailerDeps, 'suppressions' | 'quota' | 'metrics'>,
): Promise<Refusal | undefined> {
  const suppressed = await deps.suppressions.reasonFor(address, recurring);
  if (suppressed !== undefined) return { code: 'recipient_suppressed', detail: SUPPRESSED[suppressed] };
  const over = charge ? await deps.quota.charge(account, address) : undefined;
  if (over === undefined) return undefined;
  deps.metrics.overQuota(over);
  const detail = over === 'account' ? 'the daily quota of the account' : 'the hourly quota of the recipient';
  return { code: 'quota_exceeded', detail: `${detail} is used up` };
}

/**
 * Fetches the files that a mail is to carry.
 *
 * @throws {AttachmentError} when one is not there; {@link StoreError} when the store does not answer.
 */
export async function withFiles(
  input: MailInput,
  { attachmentKey, attachments }: EmailRequest,
  { deps, signal }: Context<MailerDeps>,
): Promise<MailInput> {
  const withPdf = attachmentKey === '' ? input : await deps.attachments.addPdf(input, attachmentKey, signal);
  return deps.attachments.addFiles(withPdf, attachments, signal);
}

/** Failures that are about the request and not about the moment. */
export function refusalOf(error: unknown): Refusal | undefined {
  if (error instanceof TemplateVariablesError) return { code: error.code, detail: error.message };
  if (error instanceof AttachmentError) return { code: error.code, detail: error.message };
  return undefined;
}
