import type { NodemailerError } from 'nodemailer';

/**
 * What became of one attempt at one provider. Everything the service does next hangs on telling these apart:
 *
 * - `delivered`: the provider took the mail.
 * - `rejected`: it refused this mail for good (5xx about the recipient or the content). No retry, no failover.
 * - `deferred`: it refused for now (4xx). `afterData` says whether it had seen the whole mail.
 * - `unreachable`: no session, or the session broke before the mail's end was sent: nothing was taken.
 * - `unknown`: the mail's end was sent and no answer came. It may have been taken; a repeat may double it.
 */
export type Verdict =
  | { readonly kind: 'delivered'; readonly reply: string }
  | {
      readonly kind: 'rejected';
      readonly reply: string;
      readonly code: 'mail_rejected' | 'mail_too_large';
      /** The address itself is dead: worth remembering. */
      readonly deadAddress: boolean;
    }
  | { readonly kind: 'deferred'; readonly reply: string; readonly afterData: boolean; readonly fault: boolean }
  | { readonly kind: 'unreachable'; readonly reply: string }
  | { readonly kind: 'unknown'; readonly reply: string };

/** A verdict that settles what happens next, as no further provider is asked. */
export type Decision = Exclude<Verdict, { readonly kind: 'unreachable' }>;

/** Whether a verdict speaks against the provider rather than against the mail: what the circuit breaker counts. */
export function isProviderFault(verdict: Verdict): boolean {
  return verdict.kind === 'unreachable' || verdict.kind === 'unknown' || (verdict.kind === 'deferred' && verdict.fault);
}

/**
 * Reads a failure of the mail library.
 *
 * @param endSent whether the mail's last byte had been handed to the socket. From then on only a reply can tell whether
 * the provider has it (RFC 5321 4.2.5; RFC 1047 describes the duplicates that follow from guessing).
 */
export function verdictOf(error: NodemailerError, endSent: boolean): Verdict {
  const reply = words(error);
  const status = error.responseCode;
  if (status === undefined) {
    if (error.code === 'EMESSAGE' && error.command === 'MAIL FROM') {
      return { kind: 'rejected', code: 'mail_too_large', reply, deadAddress: false };
    }
    if (OURS.has(error.code ?? '')) return { kind: 'rejected', code: 'mail_rejected', reply, deadAddress: false };
    return { kind: endSent ? 'unknown' : 'unreachable', reply };
  }
  // A reply to the mail itself is an answer, whatever it says and even if the connection ends with it.
  if (endSent) {
    return isPermanent(status)
      ? { kind: 'rejected', code: 'mail_rejected', reply, deadAddress: false }
      : { kind: 'deferred', reply, afterData: true, fault: status === 421 };
  }
  if (error.command === 'RCPT TO' && isPermanent(status)) {
    return { kind: 'rejected', code: 'mail_rejected', reply, deadAddress: isDeadAddress(reply) };
  }
  if (error.command === 'DATA' && isPermanent(status)) {
    return { kind: 'rejected', code: 'mail_rejected', reply, deadAddress: false };
  }
  if (error.command === 'MAIL FROM' && status === 552) {
    return { kind: 'rejected', code: 'mail_too_large', reply, deadAddress: false };
  }
  // 421 ends the session. A refusal of the greeting, of our name, our login or our sender is about us and this provider,
  // not about the mail: another provider may take it, and this one needs an operator.
  if (status === 421 || (error.command !== 'RCPT TO' && error.command !== 'DATA'))
    return { kind: 'unreachable', reply };
  return { kind: 'deferred', reply, afterData: false, fault: false };
}

/** The library refused to send what we gave it: no provider and no retry will change that. */
const OURS = new Set(['EENVELOPE', 'EMESSAGE', 'ESTREAM', 'EFILEACCESS', 'EURLACCESS', 'ECONFIG']);

// 503 is about the order of commands in this session; a new session may well succeed.
const isPermanent = (status: number): boolean => status >= 500 && status < 600 && status !== 503;

/** Enhanced codes (RFC 3463) that say the mailbox is not there; a bare 550 or 553 to RCPT is taken for the same. */
function isDeadAddress(reply: string): boolean {
  const enhanced = /^5\d\d[ -](5\.\d{1,3}\.\d{1,3})\b/.exec(reply)?.[1];
  if (enhanced === undefined) return /^55[03]\b/.test(reply);
  return ['5.1.1', '5.1.2', '5.1.3', '5.1.6', '5.1.10', '5.2.1'].includes(enhanced);
}

const MAX_REPLY_CHARS = 300;

/** The server's words on one line, or the library's where the server said nothing. */
function words(error: NodemailerError): string {
  const what = error.response ?? [error.timeoutType ?? error.originalCode ?? error.code, error.message].join(': ');
  return what
    .replace(/[\s\p{Cc}]+/gu, ' ')
    .trim()
    .slice(0, MAX_REPLY_CHARS);
}
