import { randomBytes } from 'node:crypto';
import { mkdirSync, readdirSync, readFileSync } from 'node:fs';
import { readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import PostalMime, { type Address, type Email } from 'postal-mime';

/** A mailbox as Mailpit's API writes it. */
export interface MailAddress {
  Name: string;
  Address: string;
}

/** A received mail: its envelope and the headers a list shows. The bytes are read when they are asked for. */
export interface StoredMail {
  id: string;
  /** ISO time of receipt. */
  received: string;
  envelopeFrom: string;
  envelopeTo: string[];
  messageId: string;
  subject: string;
  from: MailAddress;
  to: MailAddress[];
  cc: MailAddress[];
  replyTo: MailAddress[];
  sizeBytes: number;
}

/** The received mails, oldest first; the oldest make room when there are too many. */
export interface Mailbox {
  add(raw: Buffer, envelope: { from: string; to: string[] }, received: Date): Promise<StoredMail>;
  all(): readonly StoredMail[];
  find(id: string): StoredMail | undefined;
  raw(mail: StoredMail): Promise<Buffer>;
  remove(mails: readonly StoredMail[]): Promise<void>;
}

/** Address groups flattened, as the lists want them. */
export function mailAddresses(addresses: readonly Address[] | undefined): MailAddress[] {
  return (addresses ?? [])
    .flatMap((address) => address.group ?? [address])
    .map(({ name, address }) => ({ Name: name, Address: address ?? '' }));
}

/** Parses a whole mail. Half a second for 4 MB of attachments: so when someone looks, not on receipt. */
export async function parseMail(raw: Buffer): Promise<Email> {
  return await PostalMime.parse(raw, { attachmentEncoding: 'arraybuffer' });
}

const HEADER_END = Buffer.from('\r\n\r\n');

async function parseHeaders(raw: Buffer): Promise<Email> {
  const end = raw.indexOf(HEADER_END);
  return await PostalMime.parse(end < 0 ? raw : raw.subarray(0, end + HEADER_END.length));
}

function restore(directory: string): StoredMail[] {
  mkdirSync(directory, { recursive: true });
  const mails = readdirSync(directory)
    .filter((name) => name.endsWith('.json'))
    .map((name) => JSON.parse(readFileSync(join(directory, name), 'utf8')) as StoredMail);
  return mails.sort((a, b) => a.received.localeCompare(b.received));
}

/** An empty mailbox in memory, or the one in `directory` (`ID.eml` and `ID.json` per mail). */
export function openMailbox({ directory, maxMails }: { directory: string | undefined; maxMails: number }): Mailbox {
  let mails: StoredMail[] = directory === undefined ? [] : restore(directory);
  const bytes = new Map<string, Buffer>();
  const fileOf = (id: string, extension: string): string => join(directory ?? '', `${id}.${extension}`);

  const remove = async (gone: readonly StoredMail[]): Promise<void> => {
    const ids = new Set(gone.map((mail) => mail.id));
    mails = mails.filter((mail) => !ids.has(mail.id));
    for (const id of ids) {
      bytes.delete(id);
      if (directory === undefined) continue;
      await rm(fileOf(id, 'json'), { force: true });
      await rm(fileOf(id, 'eml'), { force: true });
    }
  };

  return {
    async add(raw, envelope, received) {
      const headers = await parseHeaders(raw);
      const mail: StoredMail = {
        id: randomBytes(11).toString('hex'),
        received: received.toISOString(),
        envelopeFrom: envelope.from,
        envelopeTo: envelope.to,
        messageId: (headers.messageId ?? '').replace(/^<|>$/g, ''),
        subject: headers.subject ?? '',
        from: mailAddresses(headers.from ? [headers.from] : [])[0] ?? { Name: '', Address: envelope.from },
        to: mailAddresses(headers.to),
        cc: mailAddresses(headers.cc),
        replyTo: mailAddresses(headers.replyTo),
        sizeBytes: raw.length,
      };
      if (directory === undefined) bytes.set(mail.id, raw);
      else {
        await writeFile(fileOf(mail.id, 'eml'), raw);
        await writeFile(fileOf(mail.id, 'tmp'), JSON.stringify(mail));
        await rename(fileOf(mail.id, 'tmp'), fileOf(mail.id, 'json'));
      }
      mails.push(mail);
      if (mails.length > maxMails) await remove(mails.slice(0, mails.length - maxMails));
      return mail;
    },
    all: () => mails,
    find: (id) => (id === 'latest' ? mails.at(-1) : mails.find((mail) => mail.id === id)),
    raw: async (mail) => bytes.get(mail.id) ?? (await readFile(fileOf(mail.id, 'eml'))),
    remove,
  };
}

/** Recipients of a mail that its headers do not name. */
export function blindCopies(mail: StoredMail): MailAddress[] {
  const named = new Set([...mail.to, ...mail.cc].map((one) => one.Address.toLowerCase()));
  return mail.envelopeTo
    .filter((address) => !named.has(address.toLowerCase()))
    .map((Address) => ({ Name: '', Address }));
}
