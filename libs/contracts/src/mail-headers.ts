/** Headers a mail may get from its caller, at most. */
export const MAX_MAIL_HEADERS = 10;
const MAX_VALUE_CHARS = 500;

/** Threading, and what Gmail's feedback loop groups complaints by. */
const ALLOWED = new Set(['in-reply-to', 'references', 'feedback-id']);
/** `X-` names that mail systems act on, or that are ours. */
const RESERVED = /^x-(?:auto-response|original|envelope|delivered|forwarded|spam|virus|ms-|google-|priority|sluice)/i;

/**
 * Why a caller's header must not stand in a mail; undefined when it may. Everything that routes a mail, names its sender
 * or recipients, describes its body or speaks for a server stays with the service.
 */
export function mailHeaderProblem(name: string, value: string): string | undefined {
  const isOwn = /^X-[A-Za-z0-9-]{1,60}$/i.test(name) && !RESERVED.test(name);
  if (!isOwn && !ALLOWED.has(name.toLowerCase())) {
    return 'is not on the list: In-Reply-To, References, Feedback-ID, and X- names that no mail system acts on';
  }
  if (!/^[\x20-\x7e]{1,500}$/.test(value)) return `must be 1 to ${MAX_VALUE_CHARS} printable ASCII characters`;
  // An encoded word would be decoded into what it hides.
  return value.includes('=?') ? 'must not contain "=?"' : undefined;
}
