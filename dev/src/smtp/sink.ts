import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import type { AddressInfo, Server as NetServer } from 'node:net';
import { SMTPServer } from 'smtp-server';
import { findPortHolder, PortInUseError } from '../port-holder.ts';
import { handleMailRequest } from './api.ts';
import { openMailbox, type Mailbox } from './mailbox.ts';

/** How to start the mail sink. */
export interface StartSmtpSinkOptions {
  /** 0, the default, takes a free port. */
  smtpPort?: number;
  /** Port of the viewer and its API; 0, the default, takes a free port. */
  httpPort?: number;
  /** 127.0.0.1 by default. */
  host?: string;
  /** Keeps the mails here between runs; in memory by default. */
  directory?: string;
  /** The oldest make room beyond this. 500 by default. */
  maxMails?: number;
  /** 32 MiB by default; larger ones are refused with 552. */
  maxMailBytes?: number;
  /** Offers STARTTLS with a certificate of its own: clients must be told to accept it. */
  startTls?: boolean;
  /** Requires this login; without it no AUTH is offered. */
  auth?: { user: string; password: string };
  /** Recipients that do not exist: they get 550 and no mail. */
  refuse?: (address: string) => boolean;
  now?: () => Date;
}

/** A running mail sink: takes every mail, delivers none. */
export interface SmtpSink {
  readonly smtpUrl: string;
  readonly smtpPort: number;
  /** The viewer; the API of Mailpit lies under it (`/api/v1/messages`, ...). */
  readonly url: string;
  readonly httpPort: number;
  readonly mailbox: Mailbox;
  close(): Promise<void>;
}

function replyError(responseCode: number, message: string): Error {
  return Object.assign(new Error(message), { responseCode });
}

async function portOf(server: NetServer | Server, port: number, purpose: string): Promise<number> {
  try {
    await once(server, 'listening');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EADDRINUSE') throw error;
    throw new PortInUseError(port, purpose, await findPortHolder(port), { cause: error });
  }
  return (server.address() as AddressInfo).port;
}

async function answer(done: (error?: Error | null, text?: string) => void, received: Promise<string>): Promise<void> {
  try {
    done(null, await received);
  } catch (error) {
    done(error instanceof Error ? error : new Error(String(error)));
  }
}

function createSmtpServer(mailbox: Mailbox, options: StartSmtpSinkOptions): SMTPServer {
  const { auth, now = () => new Date() } = options;
  const server = new SMTPServer({
    size: options.maxMailBytes ?? 32 * 1024 * 1024,
    disabledCommands: [...(auth ? [] : ['AUTH']), ...(options.startTls ? [] : ['STARTTLS'])],
    authOptional: auth === undefined,
    disableReverseLookup: true,
    logger: false,
    // A client that hangs up must not hold up close() for smtp-server's default of 30 s.
    closeTimeout: 500,
    onAuth({ username, password }, _session, done) {
      const right = auth !== undefined && username === auth.user && password === auth.password;
      if (right) done(null, { user: auth.user });
      else done(replyError(535, 'invalid login'));
    },
    onRcptTo({ address }, _session, done) {
      if (options.refuse?.(address) === true) done(replyError(550, '5.1.1 no such mailbox here'));
      else done();
    },
    onData(stream, session, done) {
      const receive = async (): Promise<string> => {
        const chunks: Buffer[] = [];
        for await (const chunk of stream) chunks.push(chunk as Buffer);
        if (stream.sizeExceeded) throw replyError(552, 'message too big');
        const { mailFrom, rcptTo } = session.envelope;
        const envelope = { from: mailFrom ? mailFrom.address : '', to: rcptTo.map((one) => one.address) };
        const { id } = await mailbox.add(Buffer.concat(chunks), envelope, now());
        return `queued as ${id}`;
      };
      void answer(done, receive());
    },
  });
  // Resets and garbage from clients: their matter, the sink goes on.
  server.on('error', () => {});
  return server;
}

/**
 * Starts an SMTP server that keeps what it gets, and a viewer for it with Mailpit's API, both in this process.
 *
 * @throws PortInUseError
 * @example
 * const sink = await startSmtpSink();
 * await nodemailer.createTransport(sink.smtpUrl).sendMail({ ... });
 * const { messages } = await (await fetch(`${sink.url}/api/v1/search?query=to:ada@example.com`)).json();
 */
export async function startSmtpSink(options: StartSmtpSinkOptions = {}): Promise<SmtpSink> {
  const { host = '127.0.0.1', smtpPort = 0, httpPort = 0 } = options;
  const mailbox = openMailbox({ directory: options.directory, maxMails: options.maxMails ?? 500 });
  const smtp = createSmtpServer(mailbox, options);
  const smtpListener = smtp.listen(smtpPort, host);
  const boundSmtpPort = await portOf(smtpListener, smtpPort, 'SMTP');

  const http = createServer((request, response) => {
    handleMailRequest(mailbox, request, response).catch((error: unknown) => {
      if (!response.headersSent) response.writeHead(500, { 'content-type': 'text/plain' });
      response.end(error instanceof Error ? error.message : String(error));
    });
  });
  const closeSmtp = async (): Promise<void> => {
    await new Promise<void>((resolve) => smtp.close(resolve));
  };
  http.listen(httpPort, host);
  const boundHttpPort = await portOf(http, httpPort, 'mail viewer').catch(async (error: unknown) => {
    await closeSmtp();
    throw error;
  });
  return {
    smtpUrl: `smtp://${host}:${boundSmtpPort}`,
    smtpPort: boundSmtpPort,
    url: `http://${host}:${boundHttpPort}`,
    httpPort: boundHttpPort,
    mailbox,
    async close() {
      if (!http.listening) return;
      const closed = once(http, 'close');
      http.close();
      http.closeAllConnections();
      await Promise.all([closed, closeSmtp()]);
    },
  };
}
