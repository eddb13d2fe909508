import { createHmac } from 'node:crypto';
import type { SendMailOptions } from 'nodemailer';
import type { OutgoingMail } from './smtp/dispatcher.ts';
import { logo, renderTemplate, type TemplateName } from './templates/catalogue.ts';

/** Who mails come from, and how readers may refuse more of them. */
export interface Sender {
  readonly address: string;
  readonly name: string;
  /** Behind the @ of every Message-ID. */
  readonly messageIdDomain: string;
  readonly unsubscribe?: UnsubscribeSettings;
}

export interface UnsubscribeSettings {
  /** Takes unsubscribe mails. */
  readonly address?: string;
  /** An https URL with `{token}` in it; a POST to it unsubscribes with one click (RFC 8058). */
  readonly url?: string;
  /** Signs the token, so that nobody can unsubscribe anybody else. */
  readonly secret?: string;
}

export interface Letter {
  readonly jobId: string;
  readonly replays: number;
  /** Checked by `parseAddress`. */
  readonly to: string;
  readonly template: TemplateName;
  readonly variables: Readonly<Record<string, unknown>>;
  readonly attachment?: { readonly fileName: string; readonly contentType: string; readonly content: Buffer };
}

/** Mails that come again and again, and that nobody asked for one by one: those can be unsubscribed from. */
const RECURRING: ReadonlySet<TemplateName> = new Set(['notification']);

/**
 * Makes the mail of a job. The same letter gives the same `Message-ID` every time, so that copies of one mail are
 * recognised as one by whoever gets them.
 *
 * @throws {TemplateVariablesError}
 */
export function composeMail(letter: Letter, sender: Sender): OutgoingMail {
  const { to, template, attachment } = letter;
  const list = RECURRING.has(template) ? unsubscribeBy(to, sender.unsubscribe) : {};
  const variables = list.url === undefined ? letter.variables : { ...letter.variables, unsubscribeUrl: list.url };
  const { subject, html, text } = renderTemplate(template, variables);
  return {
    messageId: `<${letter.jobId}.${letter.replays}@${sender.messageIdDomain}>`,
    // Objects, never strings: a string would be read as a list of addresses.
    from: { name: sender.name, address: sender.address },
    to: { name: '', address: to },
    subject,
    html,
    text,
    headers: { ...list.headers, 'Auto-Submitted': 'auto-generated', 'X-Auto-Response-Suppress': 'OOF, AutoReply' },
    attachments: [
      {
        cid: logo.cid,
        filename: 'logo.png',
        contentType: 'image/png',
        contentDisposition: 'inline',
        content: logo.png,
      },
      ...(attachment === undefined
        ? []
        : [{ filename: attachment.fileName, contentType: attachment.contentType, content: attachment.content }]),
    ],
    disableFileAccess: true,
    disableUrlAccess: true,
  } satisfies SendMailOptions;
}

/** The token that stands for an address in an unsubscribe link. */
export function unsubscribeToken(address: string, secret: string): string {
  const body = Buffer.from(address).toString('base64url');
  return `${body}.${createHmac('sha256', secret).update(address).digest('base64url')}`;
}

function unsubscribeBy(
  to: string,
  settings: UnsubscribeSettings | undefined,
): { url?: string; headers?: Record<string, string> } {
  if (settings === undefined) return {};
  const { address, url, secret } = settings;
  const link = url === undefined ? undefined : url.replace('{token}', unsubscribeToken(to, secret ?? ''));
  const ways = [
    ...(link === undefined ? [] : [`<${link}>`]),
    ...(address === undefined ? [] : [`<mailto:${address}?subject=unsubscribe>`]),
  ];
  if (ways.length === 0) return {};
  return {
    ...(link === undefined ? {} : { url: link }),
    headers: {
      'List-Unsubscribe': ways.join(', '),
      ...(link === undefined ? {} : { 'List-Unsubscribe-Post': 'List-Unsubscribe=One-Click' }),
    },
  };
}
