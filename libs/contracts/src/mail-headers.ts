/** Headers a mail may get from its caller, at most. */
const MAX_MAIL_HEADERS = 10;
const MAX_VALUE_CHARS = 500;

/**
 * Threading, what Gmail's feedback loop groups complaints by, and names that callers know their mails by. No list of what
 * must not stand could be complete: relays take recipients (`X-SMTPAPI`, `X-MC-BccAddress`, `X-MSYS-API`), senders and
 * templates from headers of their own, and mail programs send receipts to whom a header names.
 */
const ALLOWED = new Set([
  'in-reply-to',
  'references',
  'feedback-id',
  'x-entity-ref-id',
  'x-campaign',
  'x-campaign-id',
  'x-request-id',
  'x-correlation-id',
]);
/** Any other name of a caller's own; no mail system acts on these. */
const CUSTOM = /^x-custom-[a-z0-9-]{1,50}$/;

/** What is wrong with a header, and which. */
export interface MailHeaderProblem {
  /** As it was given; undefined when there are too many. */
  readonly name: string | undefined;
  readonly problem: string;
}

/**
 * Why a caller's headers must not stand in a mail; undefined when they may. Everything that routes a mail, names its
 * sender or recipients, describes its body or speaks for a server stays with the service.
 */
export function mailHeadersProblem(headers: Readonly<Record<string, string>>): MailHeaderProblem | undefined {
  const entries = Object.entries(headers);
  if (entries.length > MAX_MAIL_HEADERS) return { name: undefined, problem: `must be at most ${MAX_MAIL_HEADERS}` };
  const seen = new Set<string>();
  for (const [name, value] of entries) {
    const problem = seen.has(name.toLowerCase()) ? 'stands there twice' : problemOf(name.toLowerCase(), value);
    if (problem !== undefined) return { name, problem };
    seen.add(name.toLowerCase());
  }
  return undefined;
}

function problemOf(name: string, value: string): string | undefined {
  if (!ALLOWED.has(name) && !CUSTOM.test(name)) return `is not on the list: ${[...ALLOWED].join(', ')}, x-custom-...`;
  if (!/^[\x20-\x7e]{1,500}$/.test(value)) return `must be 1 to ${MAX_VALUE_CHARS} printable ASCII characters`;
  // Where such a value is folded, a line of nothing but spaces comes out: RFC 5322 3.2.2 forbids it, because there are
  // readers that take it for the end of the headers, and what follows for the body.
  if (/^ | $| {2}/.test(value)) return 'must not begin or end with a space, nor have two of them in a row';
  // An encoded word would be decoded into what it hides.
  return value.includes('=?') ? 'must not contain "=?"' : undefined;
}
