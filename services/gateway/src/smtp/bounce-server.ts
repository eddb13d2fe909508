import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { readBounceToken } from '@sluice/suppression';
import type { Logger } from '@sluice/telemetry';
import { SMTPServer, type SMTPServerDataStream } from 'smtp-server';
import { MAX_REPORT_BYTES, takeReport, type BounceDeps } from '../bounces/take-report.ts';

export interface BounceServer {
  readonly port: number;
  close(): Promise<void>;
}

const MAX_CLIENTS = 100;
const IDLE_MS = 60_000;

const refusal = (responseCode: number, message: string): Error => Object.assign(new Error(message), { responseCode });

/**
 * Listens for mails that come back. It takes mail for signed addresses alone, so it is no relay and no mailbox; one
 * report per mail, a megabyte at most.
 *
 * @param settings.port 0 picks a free one.
 */
export async function startBounceServer(
  deps: BounceDeps,
  settings: { readonly host: string; readonly port: number },
  log: Logger,
): Promise<BounceServer> {
  const server = new SMTPServer({
    banner: 'takes returned mail',
    // There is nothing to log in to, and no certificate to show; what comes here are reports.
    disabledCommands: ['AUTH', 'STARTTLS'],
    hideSTARTTLS: true,
    logger: false,
    maxClients: MAX_CLIENTS,
    size: MAX_REPORT_BYTES,
    socketTimeout: IDLE_MS,
    closeTimeout: 1_000,
    disableReverseLookup: true,
    onRcptTo({ address }, session, done) {
      if (readBounceToken(address, deps.secret) === undefined) return done(refusal(550, '5.1.1 no such mailbox'));
      if (session.envelope.rcptTo.length > 0) return done(refusal(452, '4.5.3 one recipient at a time'));
      done();
    },
    onData(stream, session, done) {
      void answer(stream, session.envelope.rcptTo[0]?.address, done);
    },
  });
  async function answer(...[stream, to, done]: [...Parameters<typeof take>, (error?: Error) => void]): Promise<void> {
    done(await take(stream, to));
  }
  /** Resolves to why a mail is refused; undefined when it was taken. */
  async function take(stream: SMTPServerDataStream, to: string | undefined): Promise<Error | undefined> {
    try {
      const chunks: Buffer[] = [];
      // What is over the size is read to its end and dropped, because the client reads no reply before.
      for await (const chunk of stream as AsyncIterable<Buffer>) if (!stream.sizeExceeded) chunks.push(chunk);
      if (stream.sizeExceeded) return refusal(552, '5.3.4 too large for a report');
      await takeReport(deps, Buffer.concat(chunks), to);
      return undefined;
    } catch (error) {
      log.warn({ err: error }, 'a returned mail could not be taken; its server sends it again');
      return refusal(451, '4.3.0 try again later');
    }
  }
  // Clients that hang up or speak no SMTP are their own trouble.
  server.on('error', (error: Error) => log.debug({ err: error }, 'a session of the bounce server ended'));
  server.listen(settings.port, settings.host);
  await once(server.server, 'listening');
  return {
    port: (server.server.address() as AddressInfo).port,
    close: () => new Promise((resolve) => server.close(resolve)),
  };
}
