import { blindCopies, type MailAddress, type StoredMail } from './mailbox.ts';

function addressMatches(addresses: readonly MailAddress[], term: string): boolean {
  return addresses.some(({ Name, Address }) => `${Name} <${Address}>`.toLowerCase().includes(term));
}

const FIELDS: Readonly<Record<string, (mail: StoredMail, term: string) => boolean>> = {
  to: (mail, term) => addressMatches([...mail.to, ...blindCopies(mail)], term),
  cc: (mail, term) => addressMatches(mail.cc, term),
  bcc: (mail, term) => addressMatches(blindCopies(mail), term),
  from: (mail, term) => addressMatches([mail.from, { Name: '', Address: mail.envelopeFrom }], term),
  subject: (mail, term) => mail.subject.toLowerCase().includes(term),
  'message-id': (mail, term) => mail.messageId.toLowerCase().includes(term),
};

/**
 * Whether a mail fits a query in Mailpit's words: `to:`, `from:`, `cc:`, `bcc:`, `subject:`, `message-id:` and bare
 * words over all of them, each with quotes for spaces; all must fit, upper and lower case are the same.
 */
export function mailMatcher(query: string): (mail: StoredMail) => boolean {
  const terms = [...query.matchAll(/(?:([a-z-]+):)?(?:"([^"]*)"|(\S+))/gi)].map(([whole, field, quoted, bare]) => {
    const known = FIELDS[field?.toLowerCase() ?? ''];
    const term = (known ? (quoted ?? bare ?? '') : whole.replaceAll('"', '')).toLowerCase();
    return (mail: StoredMail) => (known ? known(mail, term) : Object.values(FIELDS).some((fits) => fits(mail, term)));
  });
  return (mail) => terms.every((fits) => fits(mail));
}
