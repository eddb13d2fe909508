import type { OutgoingMail } from './outgoing-mail.ts';
import type { Verdict } from './verdict.ts';

/** The way to one provider, over SMTP or HTTP. It reports verdicts and never throws for what a provider does. */
export interface MailTransport {
  send(mail: OutgoingMail, signal: AbortSignal): Promise<Verdict>;
  /** Tries the provider and its key without a mail at stake. Resolves to what is wrong, or undefined. */
  probe(): Promise<string | undefined>;
  /** TCP connections opened so far. */
  readonly connectionsOpened: number;
  close(): void;
}

/** How long each step may take. Each is below the consumer's ack_wait, and so is their sum per attempt. */
export interface TransportTimeouts {
  /** From the first packet to a usable session: DNS, TCP, TLS. */
  readonly connectMs: number;
  readonly greetingMs: number;
  /** The server says nothing for this long. */
  readonly silenceMs: number;
  /** One attempt altogether: what ends a server that drips one byte at a time. */
  readonly attemptMs: number;
}

export const defaultTimeouts: TransportTimeouts = {
  connectMs: 5_000,
  greetingMs: 5_000,
  silenceMs: 10_000,
  attemptMs: 20_000,
};
