import { Readable } from 'node:stream';
import { createTransport, type NodemailerError, type SMTPPoolOptions } from 'nodemailer';
import { createPacer } from './pacer.ts';
import type { ProviderSettings } from './settings.ts';
import { verdictOf, type Verdict } from './verdict.ts';

/** How long each step of a session may take. Each is below the consumer's ack_wait, and so is their sum per attempt. */
export interface SmtpTimeouts {
  /** From the first packet to a usable session: DNS, TCP, TLS. */
  readonly connectMs: number;
  readonly greetingMs: number;
  /** The server says nothing for this long. */
  readonly silenceMs: number;
  /** One attempt altogether: what ends a server that drips one byte at a time. */
  readonly attemptMs: number;
}

export const defaultTimeouts: SmtpTimeouts = {
  connectMs: 5_000,
  greetingMs: 5_000,
  silenceMs: 10_000,
  attemptMs: 20_000,
};

/** A mail as it goes out: complete, and addressed to one. */
export interface OutgoingMail {
  /** The id that every copy of it carries. */
  readonly messageId: string;
  /** Bare addresses, checked: the library would read a list out of anything else. */
  readonly from: string;
  readonly to: string;
  /** Headers and body. */
  readonly raw: Buffer;
}

/** A pool of SMTP sessions to one provider. It reports verdicts and never throws for what a server does. */
export interface SmtpTransport {
  send(mail: OutgoingMail, signal: AbortSignal): Promise<Verdict>;
  /** Opens a session, logs in and says goodbye: whether the provider is there, without a mail at stake. */
  reachable(): Promise<boolean>;
  /** TCP connections opened so far. */
  readonly connectionsOpened: number;
  close(): void;
}

/** What mails are signed with: the private half of the key whose public half stands in DNS. */
export interface DkimKey {
  /** The signing domain, `d=`. */
  readonly domainName: string;
  /** `<selector>._domainkey.<domain>` is where the public key is. */
  readonly keySelector: string;
  /** PEM. */
  readonly privateKey: string;
}

export interface TransportSettings {
  readonly provider: ProviderSettings;
  readonly timeouts: SmtpTimeouts;
  /** Sessions at most, unless the provider's URL says otherwise. */
  readonly connections: number;
  /** The name given in EHLO. */
  readonly clientName: string;
  /** PEM of a CA for a provider whose certificate no public authority signed. */
  readonly ca?: string | undefined;
  readonly dkim?: DkimKey | undefined;
}

/** A session is replaced after so many mails: providers balance over sessions, and some end long ones themselves. */
const MAILS_PER_CONNECTION = 1_000;

/** Opens a pool. No traffic before the first mail. */
export function openTransport(settings: TransportSettings): SmtpTransport {
  const { provider, timeouts } = settings;
  let connectionsOpened = 0;
  const options: SMTPPoolOptions & { pool: true } = {
    pool: true,
    host: provider.host,
    port: provider.port,
    secure: provider.implicitTls,
    requireTLS: provider.requireTls,
    // Plain text is allowed only where the settings say so, and then the upgrade is left alone: a catcher's certificate
    // of its own making would fail the check, and an unchecked upgrade protects from nobody.
    ignoreTLS: !provider.implicitTls && !provider.requireTls,
    tls: { minVersion: 'TLSv1.2', ...(settings.ca === undefined ? {} : { ca: settings.ca }) },
    ...(provider.auth === undefined ? {} : { auth: provider.auth }),
    name: settings.clientName,
    maxConnections: provider.connections ?? settings.connections,
    maxMessages: MAILS_PER_CONNECTION,
    // A session the server ended while it was idle shows only on its next use, before a byte of the mail was read: such
    // a mail gets one more session. Any other break comes back as an error.
    maxRequeues: 1,
    connectionTimeout: timeouts.connectMs,
    greetingTimeout: timeouts.greetingMs,
    socketTimeout: timeouts.silenceMs,
    dnsTimeout: timeouts.connectMs,
    socketCloseTimeout: 1_000,
    disableFileAccess: true,
    disableUrlAccess: true,
    ...(settings.dkim === undefined ? {} : { dkim: settings.dkim }),
    getSocket: (_options, done) => {
      connectionsOpened += 1;
      done(null, false);
    },
  };
  const pool = createTransport(options);

  // Which mails have been handed to the socket to their end. The library's errors do not say: a break before and a
  // break after the closing dot look alike, and only the first is safe to repeat.
  const endSent = new Set<string>();
  pool.use('stream', (mail, done) => {
    const { message } = mail;
    const id = message.messageId();
    const { raw } = mail.data;
    const read = message.createReadStream.bind(message);
    // One chunk, one write to the socket; the signer reads the mail twice and needs the library's own stream.
    const whole = settings.dkim === undefined && Buffer.isBuffer(raw) ? () => inOneChunk(raw) : read;
    message.createReadStream = (options) => whole(options).once('end', () => endSent.add(id));
    done();
  });

  const pace = createPacer(provider.perSecond);

  return {
    get connectionsOpened() {
      return connectionsOpened;
    },
    async send(mail, signal) {
      await pace(signal);
      const deadline = new AbortController();
      const abort = (): void => deadline.abort(signal.reason);
      const timer = setTimeout(() => deadline.abort(new Error('the attempt took too long')), timeouts.attemptMs);
      signal.addEventListener('abort', abort, { once: true });
      if (signal.aborted) abort();
      try {
        const { messageId, from, to, raw } = mail;
        const envelope = { from, to: [to] };
        const { response } = await pool.sendMail({ messageId, envelope, raw, signal: deadline.signal });
        return { kind: 'delivered', reply: response };
      } catch (error) {
        return verdictOf(error as NodemailerError, endSent.has(mail.messageId));
      } finally {
        clearTimeout(timer);
        signal.removeEventListener('abort', abort);
        endSent.delete(mail.messageId);
      }
    },
    async reachable() {
      const late = Promise.withResolvers<boolean>();
      const timer = setTimeout(() => late.resolve(false), timeouts.attemptMs);
      const verified = pool.verify().then(
        () => true,
        () => false,
      );
      const answer = await Promise.race([verified, late.promise]);
      clearTimeout(timer);
      return answer;
    },
    close: () => pool.close({ force: true }),
  };
}

function inOneChunk(content: Buffer): Readable {
  return new Readable({
    read() {
      this.push(content);
      this.push(null);
    },
  });
}
