import { MemoryJetStream } from '../src/memory/index.ts';
import type { MemoryMessage } from '../src/memory/index.ts';
import { partitionTransform } from '../src/partitions/subject-transform.ts';
import type { Place, PlaceOptions, Source, Stored } from '../src/conformance/source.ts';

const NS = 1_000_000;
/** More than a busy machine takes to run a process again. */
const PIN_TTL_MS = 20_000;

/** The in-memory source on the real clock. */
export function memorySource(): Source {
  const server = new MemoryJetStream();
  let places = 0;
  return {
    name: 'memory',
    schedules: true,
    pinning: true,
    place: (options = {}) => Promise.resolve(makePlace(server, `W${++places}`, options)),
    close: () => Promise.resolve(),
  };
}

function makePlace(server: MemoryJetStream, stream: string, options: PlaceOptions): Place {
  const consumer = 'worker';
  const config = (ackWaitMs: number, lane?: string) => ({
    ack_wait: ackWaitMs * NS,
    max_deliver: options.maxDeliver ?? -1,
    max_ack_pending: options.maxAckPending ?? 1000,
    ...(options.lanes === undefined ? {} : { filter_subject: `${stream}.${lane ?? consumer}` }),
  });
  const addDeadLetters = (): void => server.addStream({ name: `DLQ_${stream}`, subjects: [`dlq.${stream}.>`] });
  const ackWaitMs = options.ackWaitMs ?? 30_000;
  const { partitions } = options;
  if (partitions === undefined) {
    server.addStream({ name: stream, subjects: [`${stream}.>`], retention: 'workqueue' });
    server.addConsumer(stream, consumer, config(ackWaitMs));
  } else {
    const transform = partitionTransform(partitions, `${stream}.*`);
    server.addStream({ name: stream, subjects: [`${stream}.*`], retention: 'workqueue', transform });
    for (let number = 0; number < partitions; number++) {
      server.addConsumer(stream, `${consumer}-${number}`, {
        ...config(ackWaitMs),
        filter_subject: `${number}.>`,
        priority_groups: ['partition'],
        priority_policy: 'pinned_client',
        priority_timeout: (options.pinTtlMs ?? PIN_TTL_MS) * NS,
      });
    }
  }
  server.addStream({ name: `OUT_${stream}`, subjects: [`out.${stream}.>`] });
  addDeadLetters();
  for (const lane of options.lanes ?? []) server.addConsumer(stream, lane, config(ackWaitMs, lane));
  if (options.delayed === true) {
    server.addStream({
      name: `LATER_${stream}`,
      subjects: [`later.${stream}.>`],
      retention: 'workqueue',
      schedules: true,
    });
    server.addConsumer(`LATER_${stream}`, 'due', { filter_subject: `later.${stream}.due.>` });
  }
  if (options.limits === true) {
    const bucket = `limits_${stream}`;
    server.addStream({ name: `KV_${bucket}`, subjects: [`$KV.${bucket}.>`], maxAgeMs: 60_000 });
  }
  const port = server.connect();
  const ports = [port];
  const pack = async (work: () => void): Promise<void> => work();
  return {
    stream,
    consumer,
    port,
    async connect() {
      const another = server.connect();
      ports.push(another);
      return another;
    },
    send: async (...bodies) => bodies.map((body) => server.store(`${stream}.${consumer}`, JSON.stringify(body))),
    store: async (body, { id, headers, lane } = {}) =>
      server.store(`${stream}.${lane ?? consumer}`, body, {
        ...headers,
        ...(id === undefined ? {} : { 'Nats-Msg-Id': id }),
      }),
    async storeForeign(headerLine, body) {
      const [name = '', value = ''] = headerLine.split(': ');
      server.store(`${stream}.${consumer}`, body, { [name]: value });
    },
    left: async () => server.messages(stream).length,
    ackPending: async () => server.ackPending(stream, consumer),
    deadLetters: async () => server.messages(`DLQ_${stream}`).map(toStored),
    emitted: async () => server.messages(`OUT_${stream}`).map(toStored),
    loseDeadLetters: () => pack(() => server.deleteStream(`DLQ_${stream}`)),
    restoreDeadLetters: () => pack(addDeadLetters),
    cut: () => pack(() => port.disconnect()),
    restore: () => pack(() => port.reconnect()),
    partition(on) {
      port.partitioned = on;
    },
    closeConnection: () => pack(() => port.close()),
    makeStreamAgain: () =>
      pack(() => {
        server.deleteStream(stream);
        server.addStream({ name: stream, subjects: [`${stream}.>`], retention: 'workqueue' });
        server.addConsumer(stream, consumer, config(ackWaitMs));
      }),
    setAckWait: (waitMs) => pack(() => server.updateConsumer(stream, consumer, { ack_wait: waitMs * NS })),
    deleteConsumer: () => pack(() => server.deleteConsumer(stream, consumer)),
    makeConsumer: (otherAckWaitMs = ackWaitMs) =>
      pack(() => server.addConsumer(stream, consumer, config(otherAckWaitMs))),
    close: () =>
      pack(() => {
        for (const one of ports) one.close();
        for (const name of [stream, `OUT_${stream}`, `DLQ_${stream}`, `LATER_${stream}`, `KV_limits_${stream}`])
          server.deleteStream(name);
      }),
  };
}

const toStored = ({ sequence, subject, data, headers }: MemoryMessage): Stored => ({
  sequence,
  subject,
  body: new TextDecoder().decode(data),
  headers: new Map(
    Object.entries(headers).map(([name, value]) => [name, typeof value === 'string' ? value : (value[0] ?? '')]),
  ),
});
