import { once } from 'node:events';
import { createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { freePort } from '../free-port.ts';
import { findPortHolder, PortInUseError } from '../port-holder.ts';
import { serveSmtp, type ScriptedMail, type SmtpScript } from './scripted-session.ts';

export type { ScriptedMail, SmtpAction, SmtpScript, SmtpStage } from './scripted-session.ts';

/** An SMTP server that does what a script says, wrong things above all. It listens, or refuses connections; both can be changed at run time. */
export interface ScriptedSmtp {
  readonly url: string;
  readonly port: number;
  /** Every mail whose DATA was sent in full or cut off by the script, in order, with what became of it. */
  readonly mails: readonly ScriptedMail[];
  /** How many connections were ever accepted. */
  readonly connections: number;
  /** How many are open now. */
  readonly openConnections: number;
  /** Replaces the script, for open connections too; without one everything is accepted. */
  play(script?: SmtpScript): void;
  /** Stops listening and cuts every connection: clients get ECONNREFUSED until accept(). */
  refuse(): Promise<void>;
  /** Listens again after refuse(). */
  accept(): Promise<void>;
  close(): Promise<void>;
}

async function listen(server: Server, port: number): Promise<number> {
  server.listen(port, '127.0.0.1');
  try {
    await once(server, 'listening');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EADDRINUSE') throw error;
    throw new PortInUseError(port, 'SMTP', await findPortHolder(port), { cause: error });
  }
  return (server.address() as AddressInfo).port;
}

/** Lists of actions are used up as they are played; the caller's stay as they are. */
function copyOf({ decide, ...entries }: SmtpScript): SmtpScript {
  return { ...structuredClone(entries), ...(decide === undefined ? {} : { decide }) };
}

/**
 * Starts a scripted SMTP server on 127.0.0.1.
 *
 * @throws PortInUseError
 * @example
 * const smtp = await startScriptedSmtp({ script: { body: [{ kind: 'reply', code: 451 }] } });
 * // the first mail gets 451 after its DATA, the next is accepted
 * smtp.play({ rcpt: { kind: 'hang' } });
 */
export async function startScriptedSmtp(options: { port?: number; script?: SmtpScript } = {}): Promise<ScriptedSmtp> {
  const mails: ScriptedMail[] = [];
  const sockets = new Set<Socket>();
  let connections = 0;
  let script = copyOf(options.script ?? {});
  const server = createServer((socket) => {
    connections++;
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket));
    // A reset is a client's right; the session sees the close.
    socket.on('error', () => {});
    // A client that hangs up mid-session ends the session's reads with its error; there is nothing left to serve.
    serveSmtp(
      socket,
      () => script,
      (mail) => mails.push(mail),
    ).catch(() => socket.destroy());
  });
  // Reserved, so that no other process gets the port while it refuses.
  const port = await listen(server, options.port ?? (await freePort()));
  const refuse = async (): Promise<void> => {
    if (!server.listening) return;
    const closed = once(server, 'close');
    server.close();
    for (const socket of sockets) socket.destroy();
    await closed;
  };
  return {
    url: `smtp://127.0.0.1:${port}`,
    port,
    mails,
    get connections() {
      return connections;
    },
    get openConnections() {
      return sockets.size;
    },
    play(next = {}) {
      script = copyOf(next);
    },
    refuse,
    async accept() {
      if (!server.listening) await listen(server, port);
    },
    close: refuse,
  };
}
