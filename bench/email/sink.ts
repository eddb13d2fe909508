// An SMTP server in a process of its own, child of bench/email.ts. `embedded` is the sink of `pnpm dev`, which parses and
// keeps every mail; `bare` takes the bytes and remembers the Message-ID, about the least a server can do; `distant` is
// the same, 50 ms away for every mail, as servers that are not on this machine are.
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { startSmtpSink } from '@sluice/dev';
import { SMTPServer } from 'smtp-server';

export type SinkKind = 'embedded' | 'bare' | 'distant';

const DISTANCE_MS = 50;

/** What the sink saw since it was last asked. */
export interface SinkCount {
  readonly mails: number;
  /** Mails whose Message-ID had been seen before. */
  readonly repeated: number;
  /** Their Message-IDs. */
  readonly repeatedIds: readonly string[];
}

interface Counting {
  readonly port: number;
  /** Message-IDs since the last call, one per mail. */
  take(): string[] | Promise<string[]>;
}

const sink = await (process.argv[2] === 'embedded'
  ? embedded()
  : bare(process.argv[2] === 'distant' ? DISTANCE_MS : 0));
process.send?.({ port: sink.port });
process.on('message', () => {
  void Promise.resolve(sink.take()).then((ids) => {
    const seen = new Set<string>();
    const repeatedIds = ids.filter((id) => seen.size === seen.add(id).size);
    const count: SinkCount = { mails: ids.length, repeated: repeatedIds.length, repeatedIds };
    process.send?.(count);
  });
});
process.on('disconnect', () => process.exit(0));

async function embedded(): Promise<Counting> {
  const { smtpPort, mailbox } = await startSmtpSink({ maxMails: 1_000_000 });
  return {
    port: smtpPort,
    async take() {
      const mails = [...mailbox.all()];
      await mailbox.remove(mails);
      return mails.map(({ messageId }) => messageId);
    },
  };
}

async function bare(distanceMs: number): Promise<Counting> {
  let ids: string[] = [];
  const server = new SMTPServer({
    disabledCommands: ['AUTH', 'STARTTLS'],
    disableReverseLookup: true,
    logger: false,
    onData(stream, _session, done) {
      let head: Buffer | undefined;
      stream.on('data', (chunk: Buffer) => {
        head ??= chunk;
      });
      stream.on('end', () => {
        ids.push(/^message-id: *(\S+)/im.exec(head?.toString('latin1') ?? '')?.[1] ?? '');
        if (distanceMs === 0) done();
        else setTimeout(done, distanceMs);
      });
    },
  });
  server.listen(0, '127.0.0.1');
  await once(server.server, 'listening');
  return {
    port: (server.server.address() as AddressInfo).port,
    take() {
      const taken = ids;
      ids = [];
      return taken;
    },
  };
}
