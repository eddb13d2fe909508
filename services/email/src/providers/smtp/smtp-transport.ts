import { maskWords } from '@sluice/suppression';
import { createAttempts } from '../attempts.ts';
import type { MailTransport, TransportTimeouts } from '../mail-transport.ts';
import { createPacer } from '../pacer.ts';
import type { SmtpProvider } from '../settings.ts';
import { oneLine, verdictOf } from '../verdict.ts';
import { SessionPool } from './session-pool.ts';
import { SessionFailure } from './session.ts';

interface SmtpTransportSettings {
  readonly provider: SmtpProvider;
  readonly timeouts: TransportTimeouts;
  /** Sessions at most, unless the provider's URL says otherwise. */
  readonly connections: number;
  /** The name given in EHLO. */
  readonly clientName: string;
  /** PEM of a CA for a provider whose certificate no public authority signed. */
  readonly ca?: string | undefined;
}

/** Opens a pool of sessions. No traffic before the first mail. */
export function openSmtpTransport(settings: SmtpTransportSettings): MailTransport {
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
  const attempts = createAttempts(timeouts.attemptMs);

  return {
    get connectionsOpened() {
      return pool.opened;
    },
    async send(mail, signal) {
      await pace(signal);
      const secrets = [mail.to.slice(0, mail.to.lastIndexOf('@')), ...credentials];
      try {
        const reply = oneLine(await attempts.run((ended) => pool.send(mail, ended), signal));
        return { kind: 'delivered', reply: maskWords(reply, secrets) };
      } catch (error) {
        if (!(error instanceof SessionFailure)) throw error;
        const verdict = verdictOf(error, mail.to);
        return { ...verdict, reply: maskWords(verdict.reply, secrets) };
      }
    },
    async probe() {
      try {
        await attempts.run((ended) => pool.probe(ended));
        return undefined;
      } catch (error) {
        return maskWords(error instanceof SessionFailure ? verdictOf(error).reply : String(error), credentials);
      }
    },
    close() {
      attempts.close();
      pool.close();
    },
  };
}

/** EHLO and the longest refusals have some hundred bytes. */
const MAX_REPLY_BYTES = 64 * 1024;
