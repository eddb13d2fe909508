import type { NodemailerError } from 'nodemailer';
import { maskWords, refusalOf, withoutAddresses } from '@sluice/suppression';
import { NO_SMTPUTF8, type SessionFailure } from './smtp/session.ts';

/** What an attempt says about the way to a recipient: the whole provider, or the provider for this domain. */
export type Fault = 'provider' | 'domain';

/**
 * What became of one attempt at one provider. Everything the service does next hangs on telling these apart:
 *
 * - `delivered`: the provider took the mail.
 * - `rejected`: the recipient or the content is refused for good. No retry, no failover.
 * - `refused`: a 5xx that does not speak against the recipient or the content: the next provider may take the mail.
 * - `deferred`: it refused for now (4xx). `afterData` says whether it had seen the whole mail.
 * - `unreachable`: no session, or the session ended or lost its order before the mail's end was sent: nothing was taken.
 * - `unknown`: the mail's end was sent and no reply came that says whether it was taken. A repeat may double it.
 */
export type Verdict =
  | { readonly kind: 'delivered'; readonly reply: string }
  | {
      readonly kind: 'rejected';
      readonly reply: string;
      readonly code: 'mail_rejected' | 'mail_too_large';
      /** There is no such mailbox: `certain` by its enhanced code, `likely` in words only. */
      readonly deadMailbox?: 'certain' | 'likely' | undefined;
    }
  | { readonly kind: 'refused'; readonly reply: string; readonly fault: Fault | undefined }
  | {
      readonly kind: 'deferred';
      readonly reply: string;
      readonly afterData: boolean;
      readonly fault: Fault | undefined;
    }
  | { readonly kind: 'unreachable'; readonly reply: string; readonly fault: Fault }
  | { readonly kind: 'unknown'; readonly reply: string; readonly fault: Fault };

/** A verdict that settles what happens next, as no further provider is asked. */
export type Decision = Exclude<Verdict, { readonly kind: 'unreachable' }>;

/** What a verdict says against the provider: what circuit breakers count. Undefined when it speaks of the mail alone. */
export function faultOf(verdict: Verdict): Fault | undefined {
  return 'fault' in verdict ? verdict.fault : undefined;
}

/**
 * Reads the failure of an attempt. Any reply is an answer, even if the session ends with it; without
 * one the end of the mail decides (RFC 5321 4.2.5; RFC 1047 describes the duplicates that follow from guessing).
 *
 * @param recipient the address that the mail is for. Servers repeat it, and what its local part says must decide nothing:
 * `550 no such user relay` is no refusal to relay.
 */
export function verdictOf({ error, awaited, endSent }: SessionFailure, recipient = ''): Verdict {
  const reply = maskedBehindCode(wordsOf(error), recipient.slice(0, Math.max(recipient.lastIndexOf('@'), 0)));
  const status = error.responseCode;
  // Up to MAIL a session is the same for every recipient.
  const atRecipient = awaited === 'RCPT' || awaited === 'DATA' || awaited === 'end of mail';
  if (status === undefined) {
    // Nothing was sent, and the provider is well.
    if (error.code === NO_SMTPUTF8) return { kind: 'refused', reply: error.message, fault: undefined };
    if (isTooLarge(error)) return { kind: 'rejected', code: 'mail_too_large', reply };
    if (error.command === 'API') return { kind: 'rejected', code: 'mail_rejected', reply };
    const fault = atRecipient ? 'domain' : 'provider';
    return { kind: endSent ? 'unknown' : 'unreachable', reply, fault };
  }
  if (endSent) {
    // RFC 5321 4.3.2: no reply to a mail. The server takes its lines for commands, so what became of it is open.
    if (isCommandError(status)) return { kind: 'unknown', reply, fault: 'domain' };
    return isPermanent(status)
      ? rejectionOf(reply, 'content')
      : { kind: 'deferred', reply, afterData: true, fault: status === 421 ? 'domain' : undefined };
  }
  if (error.command === 'RCPT TO' || error.command === 'DATA') {
    if (status === 421) return { kind: 'unreachable', reply, fault: 'domain' };
    return isPermanent(status)
      ? rejectionOf(reply, 'recipient')
      : { kind: 'deferred', reply, afterData: false, fault: undefined };
  }
  // 552 to MAIL answers the SIZE that was declared (RFC 1870 6.1).
  if (error.command === 'MAIL FROM' && isPermanent(status) && refusalOf(reply) === 'size') {
    return { kind: 'rejected', code: 'mail_too_large', reply };
  }
  // A refusal of the greeting, the login or the sender is about this side and this provider, not about the mail.
  // The reply to STARTTLS alone does not say what was refused.
  const words = error.command === 'STARTTLS' ? `STARTTLS: ${reply}` : reply;
  return { kind: 'unreachable', reply: words, fault: 'provider' };
}

/** The code stays: a local part of digits could be one. */
const maskedBehindCode = (reply: string, word: string): string => reply.slice(0, 4) + maskWords(reply.slice(4), [word]);

/**
 * What a 5xx is about. At RCPT only words about the recipient end the mail: everything else may be this provider's own
 * matter. After the content only words about the client leave it to another provider: a content that one provider calls
 * spam is not offered to the next.
 */
function rejectionOf(reply: string, seen: 'recipient' | 'content'): Verdict {
  const of = refusalOf(reply);
  const ofClientAlone = CLIENT_ALONE.test(withoutAddresses(reply));
  switch (of) {
    case 'mailbox':
      return { kind: 'rejected', code: 'mail_rejected', reply, deadMailbox: 'certain' };
    case 'mailboxInWords':
      return { kind: 'rejected', code: 'mail_rejected', reply, deadMailbox: 'likely' };
    case 'size':
      return { kind: 'rejected', code: 'mail_too_large', reply };
    case 'recipient':
      return { kind: 'rejected', code: 'mail_rejected', reply };
    case 'client':
      if (seen === 'content' && !ofClientAlone) return { kind: 'rejected', code: 'mail_rejected', reply };
      return { kind: 'refused', reply, fault: ofClientAlone ? 'provider' : 'domain' };
    default:
      if (seen === 'content') return { kind: 'rejected', code: 'mail_rejected', reply };
      return { kind: 'refused', reply, fault: undefined };
  }
}

/** Words and codes that are true of the client for every mail: no relaying, no login, listed, over its limit. */
const CLIENT_ALONE =
  /^5(?:2[13]|3[0458])|\brelay|authenticat|\blog ?in\b|\bclient host|\bb(?:lack|lock) ?list|\brbl\b|\bsending limit|\b5\.4\.5\b|\ballowed rcpthosts|\bhelo\b|\behlo\b|\breverse dns|\bptr\b/i;

/** The library compares a declared size with the SIZE of the server before it sends anything. */
const isTooLarge = ({ code, command }: NodemailerError): boolean => code === 'EMESSAGE' && command === 'MAIL FROM';

/** 500 to 504: the command was not understood or came out of order. A new session may well succeed. */
const isCommandError = (status: number): boolean => status >= 500 && status <= 504;
// 501 to RCPT refuses the address as such.
const isPermanent = (status: number): boolean => status >= 500 && (status === 501 || !isCommandError(status));

const MAX_REPLY_CHARS = 300;

/** Text of a server on one line, of bounded length, and without what turns the direction of the text around it. */
export function oneLine(text: string): string {
  return text
    .replace(/\p{Bidi_Control}/gu, '')
    .replace(/[\s\p{Cc}]+/gu, ' ')
    .trim()
    .slice(0, MAX_REPLY_CHARS);
}

/** The server's words, or the library's where the server said nothing. */
function wordsOf(error: NodemailerError): string {
  return oneLine(error.response ?? [error.timeoutType ?? error.originalCode ?? error.code, error.message].join(': '));
}
