// An SMTP server in a process of its own that takes every mail and remembers only its Message-ID: child of bench/email.ts.
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { SMTPServer } from 'smtp-server';

/** What the sink saw since it was last asked. */
export interface SinkCount {
  readonly connections: number;
  readonly mails: number;
  /** Mails whose Message-ID had been seen before. */
  readonly repeated: number;
  readonly bytes: number;
}

let connections = 0;
let mails = 0;
let bytes = 0;
let ids = new Set<string>();

const server = new SMTPServer({
  disabledCommands: ['AUTH', 'STARTTLS'],
  disableReverseLookup: true,
  logger: false,
  maxClients: 1_000,
  onConnect(_session, done) {
    connections += 1;
    done();
  },
  onData(stream, _session, done) {
    let head: Buffer | undefined;
    stream.on('data', (chunk: Buffer) => {
      head ??= chunk;
      bytes += chunk.length;
    });
    stream.on('end', () => {
      mails += 1;
      ids.add(/^message-id: *(\S+)/im.exec(head?.toString('latin1') ?? '')?.[1] ?? `unknown ${mails}`);
      done();
    });
  },
});
server.listen(0, '127.0.0.1');
await once(server.server, 'listening');
process.send?.({ port: (server.server.address() as AddressInfo).port });
process.on('message', () => {
  const count: SinkCount = { connections, mails, repeated: mails - ids.size, bytes };
  [connections, mails, bytes, ids] = [0, 0, 0, new Set()];
  process.send?.(count);
});
process.on('disconnect', () => process.exit(0));
