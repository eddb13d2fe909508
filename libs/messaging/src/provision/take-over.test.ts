import { jetstream, jetstreamManager, type JetStreamManager } from '@nats-io/jetstream';
import { headers, type NatsConnection } from '@nats-io/transport-node';
import { startNats, type NatsProcess } from '@sluice/dev';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { connectNats } from '../nats/connection.ts';
import { topology, type Topology } from '../topology/topology.ts';
import { inspect, provision } from './provision.ts';

const spec = (name: string) => topology.streams.find((stream) => stream.name === name)!;
const users = spec('USERS');
const results = spec('RESULTS');
/** Commands and results in one stream, as the version before had them. */
const before: Topology = {
  streams: [
    {
      ...users,
      subjects: [...users.subjects, ...results.subjects],
      consumers: [...users.consumers, ...results.consumers],
    },
  ],
  buckets: [],
};
const after: Topology = { streams: [users, results], buckets: [] };
const [taken = '', waiting = ''] = results.subjects;

let server: NatsProcess;
let nc: NatsConnection;
let jsm: JetStreamManager;
beforeAll(async () => {
  server = await startNats();
  nc = await connectNats({ url: server.url, name: 'take-over-test' });
  jsm = await jetstreamManager(nc);
});
afterAll(async () => {
  await nc?.close();
  await server?.stop();
});

const publish = async (subject: string, text: string): Promise<void> => {
  const head = headers();
  head.set('traceparent', `trace of ${text}`);
  await jetstream(nc).publish(subject, text, { msgID: text, headers: head });
};
const held = async (stream: string): Promise<string[]> => {
  const found: string[] = [];
  const { first_seq, last_seq } = (await jsm.streams.info(stream)).state;
  for (let seq = first_seq; seq <= last_seq; seq += 1) {
    const message = await jsm.streams.getMessage(stream, { seq }).catch(() => null);
    if (message !== null) found.push(`${message.subject} ${message.string()} ${message.header.get('traceparent')}`);
  }
  return found;
};
const consumersOf = async (stream: string): Promise<string[]> =>
  (await jsm.consumers.list(stream).next()).map(({ name }) => name).sort();
const namesOf = (consumers: typeof results.consumers): string[] => consumers.map(({ name }) => name).sort();

test('an upgrade moves the results that wait among the commands, and no other message', async () => {
  await provision(nc, before);
  for (let n = 0; n < 3; n += 1) {
    await publish(waiting, `result ${n}`);
    await publish(users.subjects[0]!, `command ${n}`);
  }
  await publish(taken, 'in hand');
  // A gateway of the version before still works: one message in its hands, and it asks for more.
  const old = await jetstream(nc).consumers.get('USERS', results.consumers[0]!.name);
  const inHand = (await old.next())!;
  expect(inHand.string()).toBe('in hand');
  const messages = await old.fetch({ max_messages: 1, expires: 60_000 });
  const asking = (async () => {
    for await (const _ of messages) throw new Error('it got another one');
  })();

  const [one, two] = await Promise.all([provision(nc, after), provision(nc, after)]);
  expect([...one.moved, ...two.moved].every(({ from, to }) => from === 'USERS' && to === 'RESULTS')).toBe(true);
  expect((await held('RESULTS')).sort()).toEqual(
    [
      `${taken} in hand trace of in hand`,
      ...[0, 1, 2].map((n) => `${waiting} result ${n} trace of result ${n}`),
    ].sort(),
  );
  expect(await held('USERS')).toEqual([0, 1, 2].map((n) => `user.create command ${n} trace of command ${n}`));
  expect(await inspect(nc, after)).toEqual([]);
  // What comes now goes to its own stream, also from an older sender.
  await publish(taken, 'later');
  expect((await held('RESULTS')).at(-1)).toContain('later');

  // The consumer that is asked stays until it is not.
  expect(await consumersOf('USERS')).toEqual(namesOf([...users.consumers, results.consumers[0]!]));
  inHand.ack();
  await messages.close();
  await asking;
  await expect
    .poll(async () => {
      expect((await provision(nc, after)).moved).toEqual([]);
      return consumersOf('USERS');
    })
    .toEqual(namesOf(users.consumers));
  expect(await consumersOf('RESULTS')).toEqual(namesOf(results.consumers));
});
