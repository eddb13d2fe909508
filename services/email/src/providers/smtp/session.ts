import { Readable, type Transform } from 'node:stream';
import type { NodemailerError } from 'nodemailer';
import SMTPConnection, { type SMTPConnectionOptions } from 'nodemailer/lib/smtp-connection';
import { dotStuffed } from './dot-stuffing.ts';
import { ReplyMonitor, type Awaited } from './reply-monitor.ts';
import type { OutgoingMail } from '../outgoing-mail.ts';

/** The library's stream of a mail, which doubles dots and ends it. */
interface DataStream extends Transform {
  inByteCount: number;
  outByteCount: number;
  lastByte: number | false;
}

/** What the library calls for every chunk of a server, every command and every mail; its types leave them out. */
interface Wire {
  _onData(chunk: Buffer): void;
  _sendCommand(command: string, logged?: string): void;
  /** Makes the stream that a mail goes through to the socket. */
  _createSendStream(callback: unknown): DataStream;
  /** Of the reply to EHLO, those that the library knows. */
  readonly _supportedExtensions: readonly string[];
}
const Connection = SMTPConnection as unknown as new (options: SMTPConnectionOptions) => SMTPConnection & Wire;
// Without these a session would go unwatched and nothing would say so.
if (!['_onData', '_sendCommand', '_createSendStream'].every((name) => name in SMTPConnection.prototype)) {
  throw new TypeError('this version of nodemailer has other internals: adapt services/email/src/providers/session.ts');
}

/** A step of a session that ended without the reply it needed. The cause is the library's error. */
export class SessionFailure extends Error {
  override readonly name = 'SessionFailure';
  /** The library's error, or one with the code `EPROTOCOL` for bytes that are no reply. */
  readonly error: NodemailerError;
  /** The reply that was waited for. */
  readonly awaited: Awaited | undefined;
  /** The mail's last byte was handed to the socket: from then on only a reply can tell whether the server has it. */
  endSent = false;
  /** A byte of the mail was handed over. */
  begun = false;

  constructor(error: NodemailerError, awaited: Awaited | undefined) {
    super(error.message, { cause: error });
    this.error = error;
    this.awaited = awaited;
  }
}

/** The library's connection, with every reply checked before the library acts on it. */
class MonitoredConnection extends Connection {
  readonly monitor = new ReplyMonitor();
  onViolation: (error: NodemailerError) => void = () => {};
  /** The next mail has addresses outside ASCII. The library says so to the server only for those of the envelope. */
  smtpUtf8 = false;

  offers(extension: string): boolean {
    return this._supportedExtensions.includes(extension);
  }

  override _sendCommand(command: string, logged?: string): void {
    const declares = this.smtpUtf8 && command.startsWith('MAIL FROM:') && !/ SMTPUTF8\b/.test(command);
    const sent = declares ? `${command} SMTPUTF8` : command;
    this.monitor.sent(sent);
    super._sendCommand(sent, logged);
  }

  override _createSendStream(callback: unknown): DataStream {
    const stream = super._createSendStream(callback);
    const transform = stream._transform.bind(stream);
    stream._transform = (mail: Buffer, encoding, done) => {
      const pieces = stream.lastByte === false ? dotStuffed(mail) : undefined;
      if (pieces === undefined) return transform(mail, encoding, done);
      stream.inByteCount += mail.length;
      stream.lastByte = mail.at(-1) ?? false;
      for (const piece of pieces) {
        stream.outByteCount += piece.length;
        stream.push(piece);
      }
      done();
    };
    return stream;
  }

  override _onData(chunk: Buffer): void {
    const violation = this.monitor.received(chunk.toString('latin1'));
    if (violation === undefined) return super._onData(chunk);
    // First the cause: closing reports an end of its own.
    this.onViolation(failure(violation, 'EPROTOCOL'));
    this.close();
  }
}

/** One SMTP session: opened, used for mails one after the other, closed. */
export class SmtpSession {
  /** Mails sent or tried so far. */
  mails = 0;
  readonly #connection: MonitoredConnection;
  #fail: (error: NodemailerError) => void = () => {};
  #ended = false;

  private constructor(connection: MonitoredConnection) {
    this.#connection = connection;
    connection.on('error', (error: NodemailerError) => this.#end(error));
    connection.once('end', () => this.#end(failure('Connection closed', 'ECONNECTION')));
    connection.onViolation = (error) => this.#end(error);
  }

  /**
   * Opens a session and logs in.
   *
   * @throws {SessionFailure}
   */
  static async open(
    options: SMTPConnectionOptions,
    auth: { readonly user: string; readonly pass: string } | undefined,
    signal: AbortSignal,
  ): Promise<SmtpSession> {
    const session = new SmtpSession(new MonitoredConnection(options));
    const connection = session.#connection;
    await session.#step(signal, (done) => connection.connect(done));
    if (auth !== undefined && connection.allowsAuth) {
      await session.#step(signal, (done) => connection.login({ ...auth }, done));
    }
    return session;
  }

  /** Whether another mail may be sent in it. */
  get isUsable(): boolean {
    return !this.#ended && this.#connection.monitor.isIdle;
  }

  /**
   * Sends a mail and resolves with the server's reply to it.
   *
   * @throws {SessionFailure}
   */
  async send(mail: OutgoingMail, signal: AbortSignal): Promise<string> {
    this.mails += 1;
    const { monitor } = this.#connection;
    if (mail.smtpUtf8 && !this.#connection.offers('SMTPUTF8')) {
      throw new SessionFailure(
        failure('does not offer SMTPUTF8, which an address of this mail needs', NO_SMTPUTF8),
        undefined,
      );
    }
    this.#connection.smtpUtf8 = mail.smtpUtf8;
    let begun = false;
    let endSent = false;
    const content = new Readable({
      read() {
        begun = true;
        this.push(mail.raw);
        this.push(null);
      },
    }).once('end', () => {
      endSent = true;
      monitor.mailEnded();
    });
    const envelope = { from: mail.from, to: [mail.to], size: mail.raw.length, use8BitMime: mail.smtpUtf8 };
    try {
      return await this.#step(signal, (done) =>
        this.#connection.send(envelope, content, (error, info) => done(error, info?.response)),
      );
    } catch (error) {
      if (error instanceof SessionFailure) Object.assign(error, { begun, endSent });
      throw error;
    }
  }

  /** Ends the transaction that a refused mail left open. Resolves to whether the session can go on. */
  async reset(signal: AbortSignal): Promise<boolean> {
    if (!this.isUsable) return false;
    try {
      await this.#step(signal, (done) => this.#connection.reset(done));
      return this.isUsable;
    } catch {
      return false;
    }
  }

  /** Says goodbye. */
  quit(): void {
    if (!this.#ended) this.#connection.quit();
    this.#ended = true;
  }

  /** Closes without a word: what was sent so far stays half a mail. */
  close(): void {
    this.#ended = true;
    this.#connection.close();
  }

  /** Runs one operation of the library until it calls back, the session ends or the signal is aborted. */
  async #step<T>(signal: AbortSignal, run: (done: (error?: Error | null, value?: T) => void) => void): Promise<T> {
    const monitor = this.#connection.monitor;
    const { promise, resolve, reject } = Promise.withResolvers<T>();
    const fail = (error: Error): void => reject(new SessionFailure(error, monitor.awaited));
    const abort = (): void => {
      const reason: unknown = signal.reason;
      fail(failure(reason instanceof Error ? reason.message : 'aborted', 'ETIMEDOUT'));
      this.close();
    };
    this.#fail = fail;
    signal.addEventListener('abort', abort, { once: true });
    try {
      if (this.#ended) fail(failure('Connection closed', 'ECONNECTION'));
      else if (signal.aborted) abort();
      else run((error, value) => (error ? fail(error) : resolve(value as T)));
      return await promise;
    } finally {
      signal.removeEventListener('abort', abort);
      this.#fail = () => {};
    }
  }

  #end(error: NodemailerError): void {
    this.#ended = true;
    this.#fail(error);
  }
}

/** The code of a failure of a session that stays in order: nothing was sent. */
export const NO_SMTPUTF8 = 'ENOSMTPUTF8';

const failure = (message: string, code: string): NodemailerError => Object.assign(new Error(message), { code });
