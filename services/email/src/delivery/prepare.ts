import { mailHeaderProblem, MAX_MAIL_HEADERS, parseEmailAddress, type SendEmail } from '@sluice/contracts';
import type { Context } from '@sluice/pipeline';
import type { SuppressionReason } from '@sluice/suppression';
import type { MailInput } from '../compose/compose-mail.ts';
import { mayLink } from '../compose/links.ts';
import type { MailerDeps } from './mailer-deps.ts';
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

/** Checks what was asked for, and fetches what the mail needs. A failure here is about the request, and final. */
export async function prepare(
  { jobId, replays, email, account }: SendEmail,
  fresh: boolean,
  { deps, signal }: Context<MailerDeps>,
): Promise<MailInput | Refusal> {
  const template = email === undefined ? undefined : await findMailTemplate(deps.templates, account, email);
  if (email === undefined || template === undefined) {
    return { code: 'unknown_template', detail: 'there is no such template' };
  }
  const to = parseEmailAddress(email.to);
  if (to === undefined) return { code: 'invalid_address', detail: 'the recipient is not one bare address' };
  const variables = template.callerVariables(email.variables ?? {});
  const forbidden = template.linksIn(variables).find(({ url }) => !mayLink(url, deps.sender.links));
  if (forbidden !== undefined) return { code: 'invalid_variables', detail: `${forbidden.name}: may not be linked to` };
  const replyTo = email.replyTo === '' ? undefined : parseEmailAddress(email.replyTo);
  if (email.replyTo !== '' && replyTo === undefined) {
    return { code: 'invalid_address', detail: 'the reply address is not one bare address' };
  }
  const headers = Object.entries(email.headers);
  const refused = headers.find(([name, value]) => mailHeaderProblem(name, value) !== undefined);
  if (refused !== undefined || headers.length > MAX_MAIL_HEADERS) {
    return { code: 'invalid_headers', detail: 'a header is not on the list, or there are too many' };
  }
  const suppressed = await deps.suppressions.reasonFor(to, template.recurring);
  if (suppressed !== undefined) return { code: 'recipient_suppressed', detail: SUPPRESSED[suppressed] };
  if (fresh) {
    const over = await deps.quota.charge(account, to);
    if (over !== undefined) {
      deps.metrics.overQuota(over);
      const detail = over === 'account' ? 'the daily quota of the account' : 'the hourly quota of the recipient';
      return { code: 'quota_exceeded', detail: `${detail} is used up` };
    }
  }
  const input: MailInput = { jobId, replays, to, template, variables, replyTo, headers: email.headers };
  const { attachmentKey } = email;
  const withPdf = attachmentKey === '' ? input : await deps.attachments.addPdf(input, attachmentKey, signal);
  return deps.attachments.addFiles(withPdf, email.attachments, signal);
}
