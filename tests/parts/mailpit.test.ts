// Mails of the services in a real Mailpit with the settings of docker-compose.yml, and whether the mail server of
// `pnpm dev` answers programs as Mailpit does. Without one here nothing is tried, and the output says so.
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startSmtpSink, startStack, type SmtpSink, type Stack } from '@sluice/dev';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { gatewayClient } from '../e2e/gateway-client.ts';
import { findPart } from '../tools/find-part.ts';
import { startMailpit, type Mailpit } from './store-parts.ts';

const ROOT = join(import.meta.dirname, '../..');
const program = await findPart('mailpit');
if (program === undefined) {
  console.warn('Mailpit: not tried, none here. `mailpit` on PATH or in ~/.cache/sluice runs these tests');
}

interface Person {
  readonly Name: string;
  readonly Address: string;
}
interface Summary {
  readonly ID: string;
  readonly MessageID: string;
  readonly From: Person;
  readonly To: readonly Person[];
  readonly Subject: string;
  readonly Attachments: number;
}
interface File {
  readonly FileName: string;
  readonly ContentType: string;
  readonly Size: number;
}
interface Mail extends Omit<Summary, 'Attachments'> {
  readonly Text: string;
  readonly HTML: string;
  readonly ReturnPath: string;
  readonly Attachments: readonly File[];
  readonly Inline: readonly File[];
}

describe.skipIf(program === undefined)('Mailpit', () => {
  let folder: string;
  let stack: Stack;
  let mailpit: Mailpit;
  let sink: SmtpSink;

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'sluice-mailpit-'));
    mailpit = await startMailpit(program ?? '', join(folder, 'mailpit'));
    sink = await startSmtpSink({ directory: join(folder, 'sink') });
    stack = await startStack({
      dataDirectory: join(folder, 'stack'),
      services: ['gateway', 'email', 'image'],
      smtpUrls: mailpit.smtpUrl,
    });
    const api = gatewayClient(stack.urls.gateway);
    const photo = await readFile(join(ROOT, 'samples/photo.jpg'));
    const ask = (body: object) =>
      api.accept('/v1/emails', JSON.stringify(body), { 'content-type': 'application/json' });
    const image = await api.ended((await api.accept('/v1/images', photo)).id);
    const jobs = await Promise.all([
      ask({ to: 'ada@example.com', template: 'welcome', variables: { name: 'Ada Müller' } }),
      ask({
        to: 'grace@example.com',
        template: 'notification',
        variables: { subject: 'Hello', message: 'Viele Grüße' },
        attachments: [{ jobId: image.id }],
      }),
      api.accept('/v1/images?notify=alan@example.com', photo),
    ]);
    for (const { id } of jobs) expect((await api.ended(id)).state).toBe('succeeded');
    for (const { ID } of await list(mailpit.url)) {
      const raw = Buffer.from(await (await fetch(`${mailpit.url}/api/v1/message/${ID}/raw`)).arrayBuffer());
      const { To, ReturnPath } = await mail(mailpit.url, ID);
      await sink.mailbox.add(raw, { from: ReturnPath, to: To.map(({ Address }) => Address) }, new Date());
    }
  });
  afterAll(async () => {
    await stack?.stop();
    await sink?.close();
    await mailpit?.stop();
    await rm(folder, { recursive: true, force: true });
  });

  const json = async (url: string): Promise<unknown> => {
    const answer = await fetch(url);
    if (!answer.ok) throw new Error(`${url}: HTTP ${answer.status} ${await answer.text()}`);
    return answer.json();
  };
  const search = async (url: string, query: string): Promise<readonly Summary[]> =>
    ((await json(`${url}/api/v1/search?query=${encodeURIComponent(query)}`)) as { messages: Summary[] }).messages;
  const list = async (url: string): Promise<readonly Summary[]> =>
    ((await json(`${url}/api/v1/messages`)) as { messages: Summary[] }).messages;
  const mail = async (url: string, id: string): Promise<Mail> => (await json(`${url}/api/v1/message/${id}`)) as Mail;

  test('has the mails that the services sent, each for its recipient', async () => {
    const recipients = (await list(mailpit.url)).flatMap(({ To }) => To.map(({ Address }) => Address));
    expect(recipients.toSorted()).toEqual(['ada@example.com', 'alan@example.com', 'grace@example.com']);
    const [welcome] = await search(mailpit.url, 'to:ada@example.com');
    const { HTML, Text } = await mail(mailpit.url, welcome?.ID ?? '');
    for (const body of [HTML, Text]) expect(body).toContain('Ada Müller');
    const [notification] = await search(mailpit.url, 'to:grace@example.com');
    const { HTML: greeting, Attachments } = await mail(mailpit.url, notification?.ID ?? '');
    expect(greeting).toContain('Grüße');
    expect(Attachments.map(({ ContentType }) => ContentType)).toEqual(['application/pdf']);
  });

  // Tests and tools of this repository read mails by it, and people move from one to the other.
  test('and the mail server of `pnpm dev` say the same of a mail, under the same names', async () => {
    const theirs = await list(mailpit.url);
    expect(theirs).toHaveLength(3);
    for (const { ID, MessageID, To, Subject, From, Attachments } of theirs) {
      const query = `message-id:${MessageID}`;
      expect(await search(mailpit.url, query)).toHaveLength(1);
      const [ours, ...more] = await search(sink.url, query);
      expect(more).toEqual([]);
      expect(ours).toMatchObject({ MessageID, To, Subject, From, Attachments });
      const [one, other] = [await mail(sink.url, ours?.ID ?? ''), await mail(mailpit.url, ID)];
      const shown = ({ From, To, Subject, MessageID, ReturnPath, Text, HTML, Attachments, Inline }: Mail) => ({
        From,
        To,
        Subject,
        MessageID,
        ReturnPath,
        texts: [Text, HTML].map((text) => text.replaceAll('\r\n', '\n').trim()),
        files: [Attachments, Inline].map((files) =>
          files.map(({ FileName, ContentType, Size }) => ({ FileName, ContentType, Size })),
        ),
      });
      expect(shown(one)).toEqual(shown(other));
      const headers = async (url: string, id: string) =>
        (await json(`${url}/api/v1/message/${id}/headers`)) as Record<string, readonly string[]>;
      const [ourHeaders, theirHeaders] = [await headers(sink.url, ours?.ID ?? ''), await headers(mailpit.url, ID)];
      for (const name of ['Message-Id', 'Subject', 'List-Unsubscribe', 'List-Unsubscribe-Post', 'Auto-Submitted']) {
        const of = (all: Record<string, readonly string[]>) =>
          Object.entries(all).find(([key]) => key.toLowerCase() === name.toLowerCase())?.[1];
        expect(of(ourHeaders), name).toEqual(of(theirHeaders));
      }
    }
  });
});
