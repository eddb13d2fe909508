import { expect, test } from 'vitest';
import { definePipeline } from '../src/index.ts';
import { MemoryJetStream } from '../src/memory/index.ts';
import { decodeJson } from '../src/conformance/source.ts';

/** Every name that can be reached on a value, up to the prototype of all objects. */
function namesOf(value: object): readonly string[] {
  const names = new Set<string>();
  for (let at: unknown = value; at !== Object.prototype && at !== null; at = Object.getPrototypeOf(at)) {
    for (const name of Object.getOwnPropertyNames(at)) if (name !== 'constructor') names.add(name);
  }
  return [...names].toSorted();
}

const MESSAGE = [
  'attempt',
  'bytes',
  'consumer',
  'data',
  'deliveries',
  'headers',
  'id',
  'key',
  'maxAttempts',
  'publishedAt',
  'sequence',
  'stream',
  'subject',
];

test('what handlers, observers and functions of the spec are given can be read, and nothing more', async () => {
  const server = new MemoryJetStream();
  server.addStream({ name: 'W', subjects: ['w.>'], retention: 'workqueue' });
  server.addStream({ name: 'DLQ', subjects: ['dlq.>'] });
  server.addConsumer('W', 'worker');
  const given = new Map<string, object>();
  const running = await definePipeline({
    name: 'surface',
    sources: [{ stream: 'W', consumer: 'worker' }],
    decode: decodeJson,
    flow: {
      expiresMs: 300,
      idleHeartbeatMs: 100,
      orderBy: (message) => {
        given.set('orderBy', message);
        return 'key';
      },
    },
    handle: async (message, context) => {
      given.set('handler', message);
      given.set('context', context);
    },
  }).start({
    nats: server.connect(),
    deps: undefined,
    observe: (event) => {
      if ('message' in event) given.set(event.type, event.message);
    },
    instrument: (messages, run) => {
      given.set('instrument', messages[0]);
      return run();
    },
  });
  server.store('w.a', '{"n":1}');
  await expect.poll(() => server.messages('W')).toHaveLength(0);

  const { context, ...messages } = Object.fromEntries(given);
  expect(Object.keys(messages).toSorted()).toEqual([
    'handler',
    'instrument',
    'message.handled',
    'message.received',
    'message.settled',
    'message.started',
    'orderBy',
  ]);
  for (const message of Object.values(messages)) {
    expect(namesOf(message)).toEqual(MESSAGE);
    expect(() => Object.assign(message, { attempt: 9 })).toThrow(TypeError);
  }
  // An observer may keep what belongs to a message in a map.
  expect(new Set(Object.values(messages)).size).toBe(1);
  expect(namesOf(context ?? {})).toEqual(['deps', 'emit', 'fence', 'log', 'signal']);
  expect(namesOf(running)).toEqual(
    [
      'cancel',
      'done',
      'drain',
      'explain',
      'health',
      'pause',
      'resume',
      'setConcurrency',
      'setRate',
      'snapshot',
      'state',
    ].toSorted(),
  );
  await running.drain();
});
