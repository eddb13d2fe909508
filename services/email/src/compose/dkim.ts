import { createHash, sign } from 'node:crypto';
import { promisify } from 'node:util';

/** What mails are signed with: the private half of the key whose public half stands in DNS. */
export interface DkimKey {
  /** The signing domain, `d=`. */
  readonly domainName: string;
  /** `<selector>._domainkey.<domain>` is where the public key is. */
  readonly keySelector: string;
  /** PEM. */
  readonly privateKey: string;
}

/**
 * Named once more than the mail has them (RFC 6376 8.15): a second one, or the first of one that the mail has not, breaks
 * the signature. Without that, who has a signed mail sends it on with a `From`, `Subject` or `Content-Type` in front of
 * ours, which is what readers then see. `Sender` and the headers of lists are left out, because forwarders add them.
 */
const SEALED_HEADERS = [
  'From',
  'Reply-To',
  'To',
  'Cc',
  'Subject',
  'Date',
  'Message-ID',
  'MIME-Version',
  'Content-Type',
  'Content-Transfer-Encoding',
];
/**
 * The same where the mail has them. RFC 8058 section 4 wants both in the signature, or mail programs do not offer the one
 * click.
 */
const SEALED_IF_PRESENT = ['List-Unsubscribe', 'List-Unsubscribe-Post'];
/** Signed where the mail has them. */
const SIGNED_HEADERS = ['List-Id', 'In-Reply-To', 'References', 'Feedback-ID', 'Auto-Submitted', 'X-Sluice-Report'];

const signInThread = promisify(sign) as (algorithm: string, data: Buffer, key: string) => Promise<Buffer>;

/**
 * Signs a whole mail whose lines end with CRLF, in relaxed form (RFC 6376 3.4). The library's signer reads the body byte
 * by byte and names no header twice.
 */
export async function signMail(raw: Buffer, { domainName, keySelector, privateKey }: DkimKey): Promise<Buffer> {
  const headEnd = raw.indexOf('\r\n\r\n');
  const fields = readFields(raw.toString('latin1', 0, headEnd));
  const names = signedNames(new Set(fields.keys()));
  const signature = [
    `DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed; d=${domainName};`,
    ` q=dns/txt; s=${keySelector};`,
    ` bh=${relaxedBodyHash(raw.subarray(headEnd + 4))};`,
    ` h=${names.join(':\r\n  ')};`,
    ' b=',
  ].join('\r\n');
  // Of a name that stands twice in `h=`, the second finds no header and signs nothing.
  const signed = [...new Set(names)].flatMap((name) => fields.get(name) ?? []);
  const data = Buffer.from([...signed, relaxedField(signature)].join('\r\n'), 'latin1');
  const value = (await signInThread('sha256', data, privateKey)).toString('base64');
  const lines = value.match(/.{1,72}/g) ?? [];
  return Buffer.concat([Buffer.from(`${signature}${lines.join('\r\n  ')}\r\n`, 'latin1'), raw]);
}

/** What stands in `h=` of a mail with these headers, by their names in lower case. */
function signedNames(present: ReadonlySet<string>): readonly string[] {
  const has = (name: string): boolean => present.has(name.toLowerCase());
  const sealed = [...SEALED_HEADERS, ...SEALED_IF_PRESENT.filter(has)];
  return [...[...sealed, ...SIGNED_HEADERS].filter(has), ...sealed].map((name) => name.toLowerCase());
}

/** The headers of a mail in relaxed form, by their names in lower case. Ours stand once each. */
function readFields(head: string): Map<string, string> {
  const fields = head.split(/\r\n(?![ \t])/).map(relaxedField);
  return new Map(fields.map((field) => [field.slice(0, field.indexOf(':')), field]));
}

function relaxedField(field: string): string {
  const colon = field.indexOf(':');
  const value = field
    .slice(colon + 1)
    .replaceAll('\r\n', '')
    .replace(/[ \t]+/g, ' ');
  // Not `trim`, which takes the last byte of some UTF-8 letters for a space.
  return `${field.slice(0, colon).toLowerCase()}:${value.replace(/^ | $/g, '')}`;
}

const TAB = 0x09;
const LF = 0x0a;
const CR = 0x0d;
const SPACE = 0x20;
const isBlank = (byte: number | undefined): boolean => byte === SPACE || byte === TAB;

/**
 * The hash of a body in relaxed form: no white space at the end of a line, one space for a run of it, no empty lines at
 * the end. Base64 has none of these, so megabytes of it are hashed as they are.
 */
export function relaxedBodyHash(body: Buffer): string {
  const hash = createHash('sha256');
  let end = body.length;
  while (end > 0 && (isBlank(body[end - 1]) || body[end - 1] === CR || body[end - 1] === LF)) end -= 1;
  let from = 0;
  let space = body.indexOf(SPACE);
  let tab = body.indexOf(TAB);
  for (;;) {
    const at = space < 0 ? tab : tab < 0 ? space : Math.min(space, tab);
    if (at < 0 || at >= end) break;
    let next = at + 1;
    while (isBlank(body[next])) next += 1;
    const endsLine = body[next] === CR;
    if (endsLine || next > at + 1 || body[at] === TAB) {
      hash.update(body.subarray(from, at));
      if (!endsLine) hash.update(' ');
      from = next;
    }
    if (space >= 0 && space < next) space = body.indexOf(SPACE, next);
    if (tab >= 0 && tab < next) tab = body.indexOf(TAB, next);
  }
  if (end > 0) hash.update(body.subarray(from, end)).update('\r\n');
  return hash.digest('base64');
}
