import PostalMime from 'postal-mime';
import type { OutgoingMail } from '../outgoing-mail.ts';

/** A mail in parts, for providers that write the mail themselves. */
export interface MailParts {
  readonly from: { readonly name: string; readonly address: string };
  readonly replyTo: string | undefined;
  readonly subject: string;
  readonly text: string;
  readonly html: string;
  /** All but those that the provider writes from the other parts. */
  readonly headers: readonly { readonly name: string; readonly value: string }[];
  readonly attachments: readonly {
    readonly fileName: string;
    readonly contentType: string;
    readonly base64: string;
    /** Of a picture inside the HTML, without brackets. */
    readonly contentId: string | undefined;
  }[];
}

/** Written by the provider, or by servers on the way. A signature would not fit what the provider writes. */
const WRITTEN_BY_PROVIDER = new Set([
  'from',
  'to',
  'cc',
  'bcc',
  'reply-to',
  'subject',
  'date',
  'mime-version',
  'content-type',
  'content-transfer-encoding',
  'dkim-signature',
]);

/**
 * Takes a mail apart. The mail itself stays the one source of what is sent, whichever provider sends it.
 *
 * @returns why it cannot be sent so: such providers send to whom the headers name, so a copy would name its reader or
 * reach others once more.
 */
export async function mailParts(mail: OutgoingMail): Promise<MailParts | string> {
  const read = await PostalMime.parse(mail.raw, { attachmentEncoding: 'base64' });
  const named = [...(read.to ?? []), ...(read.cc ?? [])].map(({ address }) => address);
  if (named.length !== 1 || named[0] !== mail.to) return 'sends no copies: its API has no envelope beside the headers';
  return {
    from: { name: read.from?.name ?? '', address: read.from?.address ?? mail.from },
    replyTo: read.replyTo?.[0]?.address,
    subject: read.subject ?? '',
    text: read.text ?? '',
    html: read.html ?? '',
    headers: read.headers
      .filter(({ key }) => !WRITTEN_BY_PROVIDER.has(key))
      .map(({ originalKey, value }) => ({ name: originalKey, value })),
    attachments: read.attachments.map(({ filename, mimeType, content, contentId }) => ({
      fileName: filename ?? 'file',
      contentType: mimeType,
      base64: typeof content === 'string' ? content : Buffer.from(content as ArrayBuffer).toString('base64'),
      contentId: contentId?.replace(/^<|>$/g, ''),
    })),
  };
}
