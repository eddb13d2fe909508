import type { SMTPConnectionOptions } from 'nodemailer/lib/smtp-connection';
import { NO_SMTPUTF8, SessionFailure, SmtpSession } from './session.ts';
import type { OutgoingMail } from '../outgoing-mail.ts';

export interface SessionPoolSettings {
  readonly connection: SMTPConnectionOptions;
  readonly auth: { readonly user: string; readonly pass: string } | undefined;
  /** Sessions at most. */
  readonly maxSessions: number;
}

/** A session is replaced after so many mails: providers balance over sessions, and some end long ones themselves. */
const MAILS_PER_SESSION = 1_000;
/** Below the 5 minutes for which servers wait (RFC 5321 4.5.3.2.7), so that it is the client that closes. */
const IDLE_MS = 4 * 60_000;

/** Sessions to one provider, each with one mail at a time. */
export class SessionPool {
  /** TCP connections opened so far. */
  opened = 0;
  readonly #settings: SessionPoolSettings;
  readonly #idle: { readonly session: SmtpSession; readonly timer: NodeJS.Timeout }[] = [];
  readonly #waiting: (() => void)[] = [];
  #taken = 0;
  #closed = false;

  constructor(settings: SessionPoolSettings) {
    this.#settings = settings;
  }

  /**
   * Sends a mail in a session of its own turn and resolves with the server's reply.
   *
   * @throws {SessionFailure}
   */
  async send(mail: OutgoingMail, signal: AbortSignal): Promise<string> {
    await this.#slot(signal);
    try {
      const reused = this.#takeIdle();
      if (reused !== undefined) {
        try {
          return await this.#sendIn(reused, mail, signal);
        } catch (error) {
          if (!(error instanceof SessionFailure && endedWhileIdle(error))) throw error;
        }
      }
      return await this.#sendIn(await this.#open(signal), mail, signal);
    } finally {
      this.#taken -= 1;
      this.#waiting.shift()?.();
    }
  }

  /** Opens a session, logs in and says goodbye. */
  async probe(signal: AbortSignal): Promise<void> {
    (await this.#open(signal)).quit();
  }

  close(): void {
    this.#closed = true;
    for (const { session, timer } of this.#idle.splice(0)) {
      clearTimeout(timer);
      session.close();
    }
  }

  async #slot(signal: AbortSignal): Promise<void> {
    while (this.#taken >= this.#settings.maxSessions && !signal.aborted) {
      const { promise, resolve } = Promise.withResolvers<void>();
      const end = (): void => {
        // A waiter that is gone must not be woken in place of one that is there.
        this.#waiting.splice(this.#waiting.indexOf(resolve), 1);
        resolve();
      };
      this.#waiting.push(resolve);
      signal.addEventListener('abort', end, { once: true });
      await promise;
      signal.removeEventListener('abort', end);
    }
    this.#taken += 1;
  }

  #open(signal: AbortSignal): Promise<SmtpSession> {
    this.opened += 1;
    return SmtpSession.open(this.#settings.connection, this.#settings.auth, signal);
  }

  async #sendIn(session: SmtpSession, mail: OutgoingMail, signal: AbortSignal): Promise<string> {
    try {
      const reply = await session.send(mail, signal);
      this.#putBack(session);
      return reply;
    } catch (error) {
      // A refusal leaves the session in order; anything else does not.
      const { responseCode: status, code } = error instanceof SessionFailure ? error.error : {};
      if (code === NO_SMTPUTF8) {
        this.#putBack(session);
        throw error;
      }
      const inOrder = status !== undefined && status !== 421 && (await session.reset(signal));
      if (inOrder) this.#putBack(session);
      else session.close();
      throw error;
    }
  }

  #putBack(session: SmtpSession): void {
    if (this.#closed || !session.isUsable) return session.close();
    if (session.mails >= MAILS_PER_SESSION) return session.quit();
    const timer = setTimeout(() => {
      this.#idle.splice(
        this.#idle.findIndex((each) => each.session === session),
        1,
      );
      session.quit();
    }, IDLE_MS);
    timer.unref();
    this.#idle.push({ session, timer });
  }

  /** The session used last, so that those not needed run out of time. */
  #takeIdle(): SmtpSession | undefined {
    for (let last = this.#idle.pop(); last !== undefined; last = this.#idle.pop()) {
      clearTimeout(last.timer);
      if (last.session.isUsable) return last.session;
      last.session.close();
    }
    return undefined;
  }
}

/**
 * A session that its server ended while it was idle shows so only when it is used again, before a byte of the mail was
 * read: that mail gets a new session, and the attempt counts once.
 */
function endedWhileIdle({ error, begun }: SessionFailure): boolean {
  if (begun) return false;
  return error.responseCode === 421 || error.code === 'ECONNECTION' || error.code === 'ESOCKET';
}
