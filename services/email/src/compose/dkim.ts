import { buffer } from 'node:stream/consumers';
import DKIM from 'nodemailer/lib/dkim';

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
 * What the signature covers, besides the body: every header that the mail has of these. RFC 8058 section 4 wants both
 * List-Unsubscribe and List-Unsubscribe-Post in it, or mail programs do not offer the one click.
 */
const SIGNED_HEADERS = [
  'From',
  'Reply-To',
  'To',
  'Cc',
  'Subject',
  'Date',
  'Message-ID',
  'MIME-Version',
  'Content-Type',
  'List-Id',
  'List-Unsubscribe',
  'List-Unsubscribe-Post',
  'Auto-Submitted',
  'X-Sluice-Report',
].join(':');

/** Signs a whole mail. */
export async function signMail(raw: Buffer, key: DkimKey): Promise<Buffer> {
  return buffer(new DKIM({ ...key, headerFieldNames: SIGNED_HEADERS }).sign(raw));
}
