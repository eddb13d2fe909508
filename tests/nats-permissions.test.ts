// Every subject that matters, tried by every user of deploy/nats/users.conf on a real server. What is not listed here as a
// user's own has to be refused; tests/e2e/least-privilege.test.ts shows that what is granted is enough.
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { channels, jobChannels, jobKindEntries, MAX_JOB_PARTITIONS, type JobKindSpec } from '@sluice/contracts';
import { newNatsIdentity, startNats, type NatsProcess } from '@sluice/dev';
import { buckets, connectNats, topologyOf } from '@sluice/messaging';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';

const root = join(import.meta.dirname, '..');
const users = [...readdirSync(join(root, 'services')), 'operator'].toSorted();
const identities = new Map(users.map((user) => [user, newNatsIdentity()]));

const topology = topologyOf(MAX_JOB_PARTITIONS);
const partitions = jobChannels.map(({ stream }) => stream);
const bucketNames = Object.values(buckets).map(({ name }) => name);
const streams = [...topology.streams.map(({ name }) => name), ...bucketNames.map((name) => `KV_${name}`)];
const ofStreams = (verb: string, names: readonly string[] = streams): string[] =>
  names.map((stream) => `$JS.API.${verb}.${stream}${verb.startsWith('CONSUMER') ? '.c' : ''}`);
const ofBuckets = (...names: string[]): string[] => names.map((name) => `$KV.${name}.x`);
const ofChannels = [...Object.values(channels), ...jobChannels.slice(1)].map(({ template }) =>
  template.replaceAll(/\{\w+\}/g, 'x'),
);
const verbs = ['CREATE', 'UPDATE', 'DELETE', 'PURGE', 'MSG.DELETE', 'MSG.GET', 'SNAPSHOT', 'RESTORE'];
const consumerVerbs = ['CREATE', 'DELETE', 'MSG.NEXT'];

/** What is tried, as every user. */
const published = [
  ...ofChannels,
  'audit.x',
  'dlq.IMAGES.x',
  'control.cancel.x',
  ...users.flatMap((user) => [`events.${user}.x`, `control.presence.${user}`, `_INBOX_${user}.x`]),
  ...ofBuckets(...bucketNames),
  ...topology.streams.map(({ name }) => `$KV.attempts.${name}.x`),
  ...verbs.flatMap((verb) => ofStreams(`STREAM.${verb}`)),
  ...consumerVerbs.flatMap((verb) => ofStreams(`CONSUMER.${verb}`)),
  ...topology.streams.map(({ name }) => `$JS.ACK.${name}.c.1.1.1.1.0`),
];
const subscribed = [
  '>',
  '_INBOX.>',
  ...users.map((user) => `_INBOX_${user}.>`),
  ...topology.streams.flatMap(({ subjects }) => subjects),
  '$KV.>',
  '$JS.>',
  '$SYS.>',
  'control.cancel.*',
  'control.presence.*',
];

/** What a service that takes work from these streams does with them. */
const ofWorker = (name: string, lanes: readonly string[]): string[] => [
  `events.${name}.x`,
  `control.presence.${name}`,
  ...lanes.flatMap((lane) => [`$JS.ACK.${lane}.c.1.1.1.1.0`, `$KV.attempts.${lane}.x`]),
  ...ofStreams('CONSUMER.MSG.NEXT', [...lanes, 'KV_pipelines']),
  ...ofStreams('STREAM.MSG.GET', [...lanes, 'KV_attempts']),
  ...['CREATE', 'DELETE'].flatMap((verb) => ofStreams(`CONSUMER.${verb}`, ['KV_pipelines'])),
  ...(lanes.includes('IMAGES') ? ['dlq.IMAGES.x'] : []),
];
const ofKind = ({ service, lanes, result }: JobKindSpec): string[] => [
  ...ofWorker(service, Object.values(lanes)),
  result.channel.template,
];
const all = (prefix: RegExp): string[] => published.filter((subject) => prefix.test(subject));
const without = (subjects: readonly string[], ...left: readonly RegExp[]): string[] =>
  subjects.filter((subject) => left.every((pattern) => !pattern.test(subject)));

/** What each user may publish of it. */
const granted: Readonly<Record<string, readonly string[]>> = {
  ...Object.fromEntries(jobKindEntries.map(([, kind]) => [kind.service, ofKind(kind)])),
  email: [
    ...jobKindEntries.filter(([, { service }]) => service === 'email').flatMap(([, kind]) => ofKind(kind)),
    channels.emailDeferred.template,
    ...ofBuckets('email_inbox', 'email_quotas', 'email_suppressions', 'email_unsubscribes'),
  ],
  client: [
    ...ofWorker('client', ['CLIENTS']),
    ...[channels.createUser, channels.sendEmail, channels.convertImage].map(({ template }) => template),
  ],
  gateway: [
    ...ofChannels,
    ...all(/^(audit|dlq|events|control\.cancel)\./),
    'control.presence.gateway',
    // Keys of one's own account too; never what keeps a mail from going out twice.
    ...without(all(/^\$KV\./), /email_inbox|email_quotas/),
    ...all(/^\$JS\.(ACK|API\.CONSUMER|API\.STREAM\.(CREATE|MSG\.GET))\./),
    ...without(all(/^\$JS\.API\.STREAM\.UPDATE\./), /AUDIT|CREDITS/),
    ...ofStreams('STREAM.PURGE', ['DLQ']),
    ...ofStreams('STREAM.MSG.DELETE', ['DLQ', 'USERS', ...partitions, 'EVENTS', 'KV_email_inbox']),
    ...ofStreams('STREAM.MSG.DELETE', ['EMAILS', 'EMAILS_EXPRESS', 'CLIENTS', 'WEBHOOKS', 'KV_mail_templates']),
  ],
  operator: [
    ...without(ofChannels, /^jobs\./),
    ...all(/^(audit|events)\./),
    ...ofBuckets('api_keys', 'job_layouts', 'email_suppressions', 'email_unsubscribes', 'mail_templates'),
    ...without(all(/^\$JS\.API\./), /STREAM\.DELETE\./, /STREAM\.PURGE\.(JOBS(_\d)?|AUDIT|CREDITS)$/),
  ],
};
const readable: Readonly<Record<string, readonly string[]>> = {
  gateway: ['control.presence.*'],
  // A mail that is on its way is not called back.
  ...Object.fromEntries(
    jobKindEntries.filter(([name]) => name !== 'email').map(([, { service }]) => [service, ['control.cancel.*']]),
  ),
};

let server: NatsProcess;
beforeAll(async () => {
  const config = readFileSync(join(root, 'deploy/nats/users.conf'), 'utf8').replaceAll(
    /\$NATS_([A-Z]+)_NKEY/g,
    (_, name: string) => identities.get(name.toLowerCase())?.publicKey ?? '',
  );
  server = await startNats({ config });
});
afterAll(async () => await server?.stop());

/** Which of these the server refuses to a user. */
async function refusedTo(
  user: string,
  kind: 'publish' | 'subscription',
  subjects: readonly string[],
): Promise<string[]> {
  const nkeySeed = identities.get(user)?.seed;
  const nc = await connectNats({ url: server.url, name: 'matrix', inboxPrefix: `_INBOX_${user}`, nkeySeed });
  const refused = new Set<string>();
  const watched = (async () => {
    for await (const status of nc.status()) {
      const { error } = status as { error?: { operation?: string; subject?: string } };
      if (error?.operation === kind && error.subject !== undefined) refused.add(error.subject);
    }
  })();
  for (const subject of subjects) {
    if (kind === 'publish') nc.publish(subject, '');
    else nc.subscribe(subject, { callback: () => undefined });
  }
  // The server answers in order: what it refused has been said before this comes back.
  await nc.flush();
  await nc.close();
  await watched;
  return subjects.filter((subject) => refused.has(subject));
}

const sorted = (subjects: Iterable<string>): string[] => [...new Set(subjects)].toSorted();

describe('the users of the broker', () => {
  test.each(users)('%s publishes what is its own and nothing else', async (user) => {
    const refused = await refusedTo(user, 'publish', published);
    expect(sorted(published.filter((subject) => !refused.includes(subject)))).toEqual(sorted(granted[user] ?? []));
    console.log(`${user}: ${published.length} subjects tried, ${refused.length} refused`);
  });

  test.each(users)('%s reads its own answers and no traffic of others', async (user) => {
    const refused = await refusedTo(user, 'subscription', subscribed);
    const allowed = subscribed.filter((subject) => !refused.includes(subject));
    expect(sorted(allowed)).toEqual(sorted([`_INBOX_${user}.>`, ...(readable[user] ?? [])]));
  });

  test('are closed to who has no seed', async () => {
    const stranger = connectNats({
      url: server.url,
      name: 'x',
      nkeySeed: newNatsIdentity().seed,
      waitForServer: false,
    });
    await expect(stranger).rejects.toThrow(/authorization/i);
  });
});
