import { createHmac } from 'node:crypto';
import { base64Lines, writeMime } from './mime.ts';
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

/** Which links a caller may put into a mail. Links of ours are not asked. */
export interface LinkPolicy {
  /** Plain http is for a developer's own machine. */
  readonly allowHttp: boolean;
  /** Hosts that may be linked to, with their subdomains; any host when absent. */
  readonly hosts?: readonly string[] | undefined;
}

/**
 * Whether a link is one the policy lets through. Trusted templates with a stranger's link in them are what a phisher
 * would want of us, so a deployment can name the hosts it speaks for.
 */
export function mayLink(link: string, { allowHttp, hosts }: LinkPolicy): boolean {
  if (!URL.canParse(link)) return false;
  const { protocol, hostname } = new URL(link);
  if (protocol !== 'https:' && !(allowHttp && protocol === 'http:')) return false;
  return hosts === undefined || hosts.some((host) => hostname === host || hostname.endsWith(`.${host}`));
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
  const { subject, html, text } = renderEncoded(template, variables);
  const messageId = `<${letter.jobId}.${letter.replays}@${sender.messageIdDomain}>`;
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
