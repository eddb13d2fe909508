import { maskWords, refusalOf } from '@sluice/suppression';
import PostalMime, { type Attachment } from 'postal-mime';

/** What a server or a mailbox provider reports about a mail that it had taken. */
export type Report =
  | {
      readonly kind: 'bounce';
      /** RFC 3463. */
      readonly status: string;
      /** The server's words, without addresses. */
      readonly detail: string;
      /** There is no such mailbox: `certain` by its code, `likely` in words only. */
      readonly deadMailbox: 'certain' | 'likely' | undefined;
    }
  | { readonly kind: 'complaint'; readonly detail: string };

const MAX_DETAIL_CHARS = 300;
/**
 * Of a report, so much is read. Its fields stand in front of the mail that it brings back; the parser takes a time for
 * each line that a megabyte of short ones turns into seconds, in which the gateway does nothing else.
 */
const MAX_READ_BYTES = 128 * 1024;
/** Of a field, so much is read: a reply has 512 octets a line (RFC 5321 4.5.3.1.5), and few lines. */
const MAX_FIELD_CHARS = 4_096;

/**
 * Reads a mail as a delivery status notification (RFC 3464, RFC 6533) or a feedback report (RFC 5965).
 *
 * @returns undefined for every other mail, and for notifications of a delay or a success.
 */
export async function readReport(raw: Uint8Array): Promise<Report | undefined> {
  // The mail that is reported on stays a part: what it says of itself is not what the server says of it. What is nested
  // too deep or has too long a header is refused by the parser, and is no report of any server.
  const mail = await PostalMime.parse(raw.subarray(0, MAX_READ_BYTES), { forceRfc822Attachments: true }).catch(
    () => undefined,
  );
  if (mail === undefined) return undefined;
  const partOf = (...types: string[]): string | undefined =>
    textOf(mail.attachments.find(({ mimeType }) => types.includes(mimeType)));
  const feedback = partOf('message/feedback-report');
  if (feedback !== undefined) {
    const type = fieldsOf(feedback).get('feedback-type') ?? '';
    return /^(?:abuse|fraud|virus|other)$/i.test(type) ? { kind: 'complaint', detail: type.toLowerCase() } : undefined;
  }
  const status = partOf('message/delivery-status', 'message/global-delivery-status');
  return status === undefined ? undefined : bounceOf(status);
}

/** The first recipient of a notification that was given up; each of our mails has one. */
function bounceOf(text: string): Report | undefined {
  // Groups of fields are separated by blank lines: the first is about the mail, each further one about a recipient.
  for (const group of text.split(/\r?\n[ \t]*\r?\n/)) {
    const fields = fieldsOf(group);
    const status = /^[45]\.\d{1,3}\.\d{1,3}/.exec(fields.get('status') ?? '')?.[0];
    if (fields.get('action')?.toLowerCase() !== 'failed' || status === undefined) continue;
    const words = (fields.get('diagnostic-code') ?? '').replace(/^smtp;\s*/i, '');
    const detail = maskWords(words, [])
      .replace(/\p{Cc}+/gu, ' ')
      .slice(0, MAX_DETAIL_CHARS);
    return { kind: 'bounce', status, detail, deadMailbox: deadMailboxOf(status, words) };
  }
  return undefined;
}

/** As for a reply in the session: `status` speaks where the server's own words do not begin with a reply code. */
function deadMailboxOf(status: string, words: string): 'certain' | 'likely' | undefined {
  if (!status.startsWith('5')) return undefined;
  const reply = /^5\d\d[ -]/.test(words) ? words : `550 ${status} ${words}`;
  const coded = /^5\d\d[ -]#?5\./.test(reply) ? reply : reply.replace(/^(5\d\d)[ -]/, `$1 ${status} `);
  // 5.0.0 and the like say nothing: then the words alone count.
  const of = /^5\.0\.0$/.test(status) ? refusalOf(reply) : refusalOf(coded);
  return of === 'mailbox' ? 'certain' : of === 'mailboxInWords' ? 'likely' : undefined;
}

/** Header fields of one group, unfolded, by name in lower case; the first of a name counts. */
function fieldsOf(group: string): Map<string, string> {
  const fields = new Map<string, string>();
  for (const line of group.replace(/\r?\n[ \t]+/g, ' ').split(/\r?\n/)) {
    const name = /^[\w-]{1,76}(?=:)/.exec(line)?.[0].toLowerCase() ?? '';
    const value = line.slice(name.length + 1, MAX_FIELD_CHARS).trim();
    if (name !== '' && !fields.has(name)) fields.set(name, value);
  }
  return fields;
}

function textOf(part: Attachment | undefined): string | undefined {
  if (part === undefined) return undefined;
  const { content } = part;
  return typeof content === 'string' ? content : Buffer.from(new Uint8Array(content)).toString('latin1');
}
