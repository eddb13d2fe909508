import { maskWords } from '@sluice/suppression';
import type { OutgoingMail } from './outgoing-mail.ts';
import { createPacer } from './pacer.ts';
import type { ProviderSettings } from './settings.ts';
import { SessionPool } from './session-pool.ts';
import { SessionFailure } from './session.ts';
import { oneLine, verdictOf, type Verdict } from './verdict.ts';

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

/** A pool of SMTP sessions to one provider. It reports verdicts and never throws for what a server does. */
export interface SmtpTransport {
  send(mail: OutgoingMail, signal: AbortSignal): Promise<Verdict>;
  /** Opens a session, logs in and says goodbye, without a mail at stake. Resolves to what is wrong, or undefined. */
  probe(): Promise<string | undefined>;
  /** TCP connections opened so far. */
  readonly connectionsOpened: number;
  close(): void;
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
}

/** Opens a pool of sessions. No traffic before the first mail. */
export function openTransport(settings: TransportSettings): SmtpTransport {
  const { provider, timeouts } = settings;
  const pool = new SessionPool({
    connection: {
      host: provider.host,
      port: provider.port,
      secure: provider.implicitTls,
      requireTLS: provider.requireTls,
      // Plain text is allowed only where the settings say so, and then the upgrade is left alone: a catcher's
      // certificate of its own making would fail the check, and an unchecked upgrade protects from no attacker.
      ignoreTLS: !provider.implicitTls && !provider.requireTls,
      tls: { minVersion: 'TLSv1.2', ...(settings.ca === undefined ? {} : { ca: settings.ca }) },
      name: settings.clientName,
      connectionTimeout: timeouts.connectMs,
      greetingTimeout: timeouts.greetingMs,
      socketTimeout: timeouts.silenceMs,
      dnsTimeout: timeouts.connectMs,
      socketCloseTimeout: 1_000,
      maxResponseSize: MAX_REPLY_BYTES,
    },
    auth: provider.auth,
    maxSessions: provider.connections ?? settings.connections,
  });
  const credentials = provider.auth === undefined ? [] : [provider.auth.user, provider.auth.pass];
  const pace = createPacer(provider.perSecond);
  const running = new Set<AbortController>();

  /** Runs an attempt until it ends, takes too long, is aborted or the transport is closed. */
  const attempt = async <T>(run: (signal: AbortSignal) => Promise<T>, signal?: AbortSignal): Promise<T> => {
    const ended = new AbortController();
    const abort = (): void => ended.abort(signal?.reason);
    const timer = setTimeout(() => ended.abort(new Error('the attempt took too long')), timeouts.attemptMs);
    running.add(ended);
    signal?.addEventListener('abort', abort, { once: true });
    if (signal?.aborted === true) abort();
    try {
      return await run(ended.signal);
    } finally {
      clearTimeout(timer);
      running.delete(ended);
      signal?.removeEventListener('abort', abort);
    }
  };

  return {
    get connectionsOpened() {
      return pool.opened;
    },
    async send(mail, signal) {
      await pace(signal);
      const secrets = [mail.to.slice(0, mail.to.lastIndexOf('@')), ...credentials];
      try {
        const reply = oneLine(await attempt((ended) => pool.send(mail, ended), signal));
        return { kind: 'delivered', reply: maskWords(reply, secrets) };
      } catch (error) {
        if (!(error instanceof SessionFailure)) throw error;
        const verdict = verdictOf(error);
        return { ...verdict, reply: maskWords(verdict.reply, secrets) };
      }
    },
    async probe() {
      try {
        await attempt((ended) => pool.probe(ended));
        return undefined;
      } catch (error) {
        return maskWords(error instanceof SessionFailure ? verdictOf(error).reply : String(error), credentials);
      }
    },
    close() {
      for (const ended of running) ended.abort(new Error('the service is stopping'));
      pool.close();
    },
  };
}

/** EHLO and the longest refusals have some hundred bytes. */
const MAX_REPLY_BYTES = 64 * 1024;
