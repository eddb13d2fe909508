import type { OutgoingMail } from '../outgoing-mail.ts';
import type { Verdict } from '../verdict.ts';
import type { ApiAnswer, ApiRequest } from './api-request.ts';

/** What is particular about the API of one provider. Answers are judged as those of an SMTP server are. */
export interface MailApi {
  readonly endpoint: URL;
  /** What must stand in no log: keys. */
  readonly secrets: readonly string[];
  /** The request that sends a mail, or why this provider cannot send such a mail. */
  sending(mail: OutgoingMail): Promise<ApiRequest | string>;
  /** What an answer says that is not read by its status alone; undefined leaves it to that. */
  verdict(answer: ApiAnswer): Verdict | undefined;
  /** A request that shows whether the key works, with no mail at stake. */
  probing(): Promise<ApiRequest>;
  /** What is wrong by the answer to it; undefined when mails can be sent. */
  wrong(answer: ApiAnswer): string | undefined;
  /** The provider's own words in an answer that is an error; empty when it does not speak as the provider does. */
  words(answer: ApiAnswer): string;
}

/** A field of an answer. */
export function fieldOf(json: unknown, name: string): unknown {
  return typeof json === 'object' && json !== null ? (json as Readonly<Record<string, unknown>>)[name] : undefined;
}

/** The same, as a text. */
export function textOf(json: unknown, name: string): string {
  const value = fieldOf(json, name);
  return typeof value === 'string' ? value : '';
}

/**
 * What an answer says by its status. What the provider itself calls its own failure has not taken the mail; an answer that
 * is not the provider's, as a proxy gives it, says nothing about what became of the mail behind it.
 */
export function verdictByStatus(answer: ApiAnswer, words: string): Verdict {
  const { status } = answer;
  const reply = `${status} ${words || 'no answer of the API'}`;
  if (status === 413) return { kind: 'rejected', code: 'mail_too_large', reply };
  if (status === 429 || status === 408) return { kind: 'deferred', reply, afterData: false, fault: undefined };
  if (status === 400 || status === 422) return { kind: 'refused', reply, fault: undefined };
  // The key, the account or the endpoint: nothing was taken, and the next mail would meet the same.
  if (status >= 300 && status < 500) return { kind: 'unreachable', reply, fault: 'provider' };
  if (status === 503 && words !== '') return { kind: 'deferred', reply, afterData: false, fault: 'provider' };
  if (status >= 500 && words !== '') return { kind: 'deferred', reply, afterData: true, fault: 'provider' };
  return { kind: 'unknown', reply, fault: 'provider' };
}
