import { needsSmtpUtf8 } from '@sluice/contracts';
import { buildHeaderValue, foldLines } from 'nodemailer/lib/mime-funcs';
import MimeNode from 'nodemailer/lib/mime-node';

/** An address in a header. */
interface MailName {
  readonly name: string;
  readonly address: string;
}

/** The parts of a mail, in the shape all our mails have. */
export interface MimeParts {
  /** Headers by name; the library encodes and folds their values. Addresses as objects. */
  readonly headers: Readonly<Record<string, string | MailName | MailName[]>>;
  /** Quoted-printable. */
  readonly text: string;
  /** Quoted-printable. */
  readonly html: string;
  /** Shown inside the HTML as `cid:<cid>`. */
  readonly inline?:
    | {
        readonly cid: string;
        readonly fileName: string;
        readonly contentType: string;
        readonly base64: string;
      }
    | undefined;
  readonly attachments?: readonly MimeAttachment[];
}

/** A file beside the text. */
export interface MimeAttachment {
  /** Without control characters: `attachmentNameProblem`. */
  readonly fileName: string;
  readonly contentType: string;
  readonly content: Buffer;
}

/**
 * Writes a mail: text and HTML as alternatives, a picture inside the HTML, a file beside both.
 *
 * The library's composer can do this too, through three streams a part and a socket write a line; at some hundred mails
 * a second that is most of the work. Headers are still the library's, because that is where injection would happen. The
 * boundaries need no randomness: `=_` occurs in no quoted-printable and no base64 text (RFC 2045 6.7).
 */
export function writeMime({ headers, text, html, inline, attachments = [] }: MimeParts): Buffer {
  const htmlPart = part(
    { 'Content-Type': 'text/html; charset=utf-8', 'Content-Transfer-Encoding': 'quoted-printable' },
    html,
  );
  const alternative = multipart('alternative', [
    part({ 'Content-Type': 'text/plain; charset=utf-8', 'Content-Transfer-Encoding': 'quoted-printable' }, text),
    inline === undefined ? htmlPart : relatedPart(htmlPart, inline),
  ]);
  const head = Object.entries({ ...headers, Date: new Date() }).map(([name, value]) => header(name, value));
  if (attachments.length === 0) return whole(head, 'alternative', [alternative]);
  const boundary = `--${boundaryOf('mixed')}`;
  const first = part({ 'Content-Type': `multipart/alternative; boundary="${boundaryOf('alternative')}"` }, alternative);
  return whole(head, 'mixed', [
    `${boundary}\r\n${first}\r\n`,
    ...attachments.flatMap((file) => [`${boundary}\r\n${attachmentHead(file)}`, base64Lines(file.content), '\r\n']),
    `${boundary}--\r\n`,
  ]);
}

const attachmentHead = ({ fileName, contentType }: MimeAttachment): string =>
  part(
    {
      // Names outside ASCII are written as RFC 2231 has it.
      'Content-Type': foldLines(buildHeaderValue({ value: contentType, params: { name: fileName } }), 76),
      'Content-Disposition': foldLines(buildHeaderValue({ value: 'attachment', params: { filename: fileName } }), 76),
      'Content-Transfer-Encoding': 'base64',
    },
    '',
  );

/** HTML with the picture that it shows. */
function relatedPart(html: string, inline: NonNullable<MimeParts['inline']>): string {
  const related = multipart('related', [
    html,
    part(
      {
        'Content-Type': `${inline.contentType}; name=${inline.fileName}`,
        'Content-ID': `<${inline.cid}>`,
        'Content-Disposition': `inline; filename=${inline.fileName}`,
        'Content-Transfer-Encoding': 'base64',
      },
      inline.base64,
    ),
  ]);
  return part({ 'Content-Type': `multipart/related; type="text/html"; boundary="${boundaryOf('related')}"` }, related);
}

/** Files never become text: a mail of megabytes would leave as many copies of it for the collector as it has steps. */
function whole(head: readonly string[], kind: string, body: readonly (string | Buffer)[]): Buffer {
  const own = ['MIME-Version: 1.0', `Content-Type: multipart/${kind}; boundary="${boundaryOf(kind)}"`];
  const headers = [...head, ...own].join('\r\n');
  // Bodies are ASCII; an address outside it stands in its header as UTF-8 (RFC 6532).
  return Buffer.concat([
    Buffer.from(`${headers}\r\n\r\n`, needsSmtpUtf8(headers) ? 'utf8' : 'latin1'),
    ...body.map((piece) => (typeof piece === 'string' ? Buffer.from(piece, 'latin1') : piece)),
  ]);
}

/** One of the library's nodes, for its knowledge of how each header is written; it keeps nothing between calls. */
const encoder = new MimeNode(false, { baseBoundary: '_' });

/** A header line: line breaks out, words outside ASCII encoded, addresses quoted, folded at 76. */
function header(name: string, value: MimeParts['headers'][string] | Date): string {
  return foldLines(`${name}: ${encoder.encodeHeaderValue(name, value)}`, 76);
}

const LINE_BYTES = 57;
const LINE = 76;

/** Base64 in lines of 76, without a break behind the last. */
export function base64Lines(content: Buffer): Buffer {
  const encoded = Math.ceil(content.length / 3) * 4;
  const lines = Buffer.alloc(encoded + 2 * Math.max(0, Math.ceil(encoded / LINE) - 1), '\r\n');
  for (let from = 0, at = 0; from < content.length; from += LINE_BYTES, at += LINE + 2) {
    lines.write(content.toString('base64', from, from + LINE_BYTES), at, 'latin1');
  }
  return lines;
}

const boundaryOf = (kind: string): string => `=_${kind}`;

function multipart(kind: string, parts: readonly string[]): string {
  const boundary = boundaryOf(kind);
  return `${parts.map((each) => `--${boundary}\r\n${each}\r\n`).join('')}--${boundary}--\r\n`;
}

/** Headers here are constants of ours, and file names that the library encoded. */
function part(headers: Readonly<Record<string, string>>, body: string): string {
  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`);
  return `${lines.join('')}\r\n${body}`;
}
