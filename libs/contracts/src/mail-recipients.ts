import { parseEmailAddress } from './email-address.ts';

/** Recipients in `cc` and `bcc` of one mail together, at most: each is a transaction of its own with a mail server. */
export const MAX_MAIL_COPIES = 20;

/** Who gets a mail, each by its bare address. */
export interface MailRecipients {
  readonly to: string;
  readonly cc: readonly string[];
  readonly bcc: readonly string[];
}

/** What is wrong with the recipients of a request, and where. */
export interface RecipientProblem {
  /** `/to`, `/cc`, `/bcc/2`. */
  readonly place: string;
  readonly problem: string;
}

/** Reads the recipients of a request: bare addresses, none of them twice, and so many copies at most. */
export function readRecipients({
  to,
  cc = [],
  bcc = [],
}: {
  readonly to: string;
  readonly cc?: readonly string[] | undefined;
  readonly bcc?: readonly string[] | undefined;
}): MailRecipients | RecipientProblem {
  if (cc.length + bcc.length > MAX_MAIL_COPIES) {
    return {
      place: cc.length > MAX_MAIL_COPIES ? '/cc' : '/bcc',
      problem: `makes more than ${MAX_MAIL_COPIES} copies`,
    };
  }
  const read = new Map<string, string>();
  const seen = new Set<string>();
  const given = [['/to', to], ...cc.map((text, n) => [`/cc/${n}`, text]), ...bcc.map((text, n) => [`/bcc/${n}`, text])];
  for (const [place = '', text = ''] of given) {
    const address = parseEmailAddress(text);
    if (address === undefined) return { place, problem: 'must be one bare e-mail address' };
    // Suppression and quotas take addresses without their case; two copies to one of them are two mails to one reader.
    if (seen.has(address.toLowerCase())) return { place, problem: 'is a recipient already' };
    seen.add(address.toLowerCase());
    read.set(place, address);
  }
  return {
    to: read.get('/to') ?? '',
    cc: cc.map((_, n) => read.get(`/cc/${n}`) ?? ''),
    bcc: bcc.map((_, n) => read.get(`/bcc/${n}`) ?? ''),
  };
}

/** The recipients of copies and their places in the request, `cc` first: results and returned mails count them so. */
export function mailCopies({ cc, bcc }: Pick<MailRecipients, 'cc' | 'bcc'>): readonly {
  readonly place: string;
  readonly address: string;
}[] {
  return [
    ...cc.map((address, n) => ({ place: `/cc/${n}`, address })),
    ...bcc.map((address, n) => ({ place: `/bcc/${n}`, address })),
  ];
}
