import { base64Lines, writeMime } from './mime.ts';
import type { LinkPolicy } from './links.ts';
import { unsubscribeBy, type UnsubscribeSettings } from './unsubscribe.ts';
import type { OutgoingMail } from '../providers/transport.ts';
import { logo, renderEncoded, type TemplateName } from '../templates/catalogue.ts';

/** Who mails come from, and how readers may refuse more of them. */
export interface Sender {
  readonly address: string;
  readonly name: string;
  /** Behind the @ of every Message-ID. */
  readonly messageIdDomain: string;
  readonly unsubscribe?: UnsubscribeSettings;
  readonly links: LinkPolicy;
}

export interface MailInput {
  readonly jobId: string;
  readonly replays: number;
  /** Checked by `parseEmailAddress`. */
  readonly to: string;
  readonly template: TemplateName;
  readonly variables: Readonly<Record<string, unknown>>;
  readonly attachment?: { readonly fileName: string; readonly contentType: string; readonly content: Buffer };
}

/** Mails that come again and again, and that nobody asked for one by one: those can be unsubscribed from. */
const RECURRING: ReadonlySet<TemplateName> = new Set(['notification']);

/**
 * Makes the mail of a job. The same input gives the same `Message-ID` every time, so that copies of one mail are
 * recognised as one by whoever gets them.
 *
 * @throws {TemplateVariablesError}
 */
export function composeMail(input: MailInput, sender: Sender): OutgoingMail {
  const { to, template, attachment } = input;
  const list = RECURRING.has(template) ? unsubscribeBy(to, sender.unsubscribe) : {};
  const variables = list.url === undefined ? input.variables : { ...input.variables, unsubscribeUrl: list.url };
  const { subject, html, text } = renderEncoded(template, variables);
  const messageId = `<${input.jobId}.${input.replays}@${sender.messageIdDomain}>`;
  const raw = writeMime({
    headers: {
      'Message-ID': messageId,
      // Objects, never strings: a string would be read as a list of addresses.
      From: { name: sender.name, address: sender.address },
      To: { name: '', address: to },
      Subject: subject,
      ...list.headers,
      'Auto-Submitted': 'auto-generated',
      'X-Auto-Response-Suppress': 'OOF, AutoReply',
    },
    text,
    html,
    inline: { cid: logo.cid, fileName: 'logo.png', contentType: 'image/png', base64: logoBase64 },
    attachment,
  });
  return { messageId, from: sender.address, to, raw };
}

const logoBase64 = base64Lines(logo.png);
