import { mailCopies, needsSmtpUtf8, type MailRecipients } from '@sluice/contracts';
import { bounceToken } from '@sluice/suppression';
import { signMail, type DkimKey } from './dkim.ts';
import { base64Lines, writeMime, type MimeAttachment } from './mime.ts';
import type { LinkPolicy } from './links.ts';
import { unsubscribeBy, type UnsubscribeSettings } from './unsubscribe.ts';
import type { OutgoingMail } from '../providers/outgoing-mail.ts';
import { logo } from '@sluice/mail-templates/shipped';
import type { MailTemplate } from '../templates/mail-template.ts';

/** Who mails come from, and how readers may refuse more of them. */
export interface Sender {
  readonly address: string;
  readonly name: string;
  /** Behind the @ of every Message-ID. */
  readonly messageIdDomain: string;
  readonly unsubscribe?: UnsubscribeSettings;
  /** Where mails are returned to: an address per job of this domain. Undefined returns them to `address`. */
  readonly bounces?: { readonly domain: string; readonly secret: string } | undefined;
  readonly links: LinkPolicy;
  readonly dkim?: DkimKey | undefined;
}

export interface MailInput {
  readonly jobId: string;
  readonly replays: number;
  /** Checked by `readRecipients`. */
  readonly recipients: MailRecipients;
  readonly template: MailTemplate;
  readonly variables: Readonly<Record<string, unknown>>;
  /** Checked by `parseEmailAddress`. */
  readonly replyTo?: string | undefined;
  /** Checked by `mailHeadersProblem`. */
  readonly headers?: Readonly<Record<string, string>>;
  readonly attachments?: readonly MimeAttachment[];
}

/**
 * Makes the mail of a job for one of its recipients. Every recipient gets a mail of its own: links that unsubscribe, and
 * addresses that mails are returned to, speak of one reader and must reach no other. The same input gives the same `Message-ID` every time, so that copies of one mail are
 * recognised as one by their readers.
 *
 * @param copy 0 for the mail itself, 1 for the first copy of `mailCopies`.
 * @throws {TemplateVariablesError}
 */
export async function composeMail(input: MailInput, sender: Sender, copy = 0): Promise<OutgoingMail> {
  const { recipients, template, attachments = [] } = input;
  const { to, cc } = recipients;
  const reader = copy === 0 ? to : mailCopies(recipients)[copy - 1]?.address;
  if (reader === undefined) throw new RangeError(`the mail has no copy ${copy}`);
  const list = template.recurring ? unsubscribeBy(reader, sender.unsubscribe) : {};
  const variables = list.url === undefined ? input.variables : { ...input.variables, unsubscribeUrl: list.url };
  const { subject, html, text, locale } = template.render(variables);
  const token = sender.bounces === undefined ? undefined : bounceToken(input.jobId, sender.bounces.secret, copy);
  const messageId = `<${input.jobId}.${input.replays}@${sender.messageIdDomain}>`;
  const raw = writeMime({
    headers: {
      'Message-ID': messageId,
      // Objects, never strings: a string would be read as a list of addresses.
      From: { name: sender.name, address: sender.address },
      To: { name: '', address: to },
      // Who is in bcc stands in no header of any copy.
      ...(cc.length === 0 ? {} : { Cc: cc.map((address) => ({ name: '', address })) }),
      Subject: subject,
      ...(input.replyTo === undefined ? {} : { 'Reply-To': { name: '', address: input.replyTo } }),
      ...input.headers,
      ...list.headers,
      ...(locale === undefined ? {} : { 'Content-Language': locale }),
      'Auto-Submitted': 'auto-generated',
      'X-Auto-Response-Suppress': 'OOF, AutoReply',
      // Complaints bring the mail back, and not the address that it was sent from on the wire.
      ...(token === undefined ? {} : { 'X-Sluice-Report': token }),
    },
    text,
    html,
    inline: template.hasLogo
      ? { cid: logo.cid, fileName: 'logo.png', contentType: 'image/png', base64: logoBase64 }
      : undefined,
    attachments,
  });
  const signed = sender.dkim === undefined ? raw : await signMail(raw, sender.dkim);
  const from = token === undefined ? sender.address : `${token}@${sender.bounces?.domain}`;
  return {
    messageId,
    from,
    to: reader,
    raw: signed,
    unsigned: signed.subarray(signed.length - raw.length),
    bounces: token !== undefined,
    smtpUtf8: [to, reader, ...cc, input.replyTo ?? ''].some((address) => needsSmtpUtf8(address)),
  };
}

const logoBase64 = base64Lines(logo.png).toString('latin1');
