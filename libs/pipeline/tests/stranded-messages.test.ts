import { natsPort } from '../src/nats/index.ts';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { startStrandedMessageScanner } from '../src/index.ts';
import { natsSource } from './nats-source.ts';
import type { NatsSource } from './nats-source.ts';
import { wasteDeliveries } from '../src/conformance/source.ts';
import type { Place } from '../src/conformance/source.ts';

/** The server notices that a message is used up only when a client asks for messages, as other workers do all the time. */
async function lookAgain(place: Place): Promise<void> {
  const subject = `${place.port.apiPrefix}.CONSUMER.MSG.NEXT.${place.stream}.${place.consumer}`;
  await place.port.request(subject, '{"batch":1,"expires":100000000}');
}

describe.each([
  ['the newest server', undefined],
  ['the oldest supported server', '2.10'],
])('messages the server gave up on, %s', (_, series) => {
  let source: NatsSource;
  beforeAll(async () => {
    source = await natsSource(series);
  });
  afterAll(() => source.close());

  test('an advisory moves one to the dead letters at once', async () => {
    const place = await source.place({ maxDeliver: 2, ackWaitMs: 200 });
    const moved: [number, string][] = [];
    const scanner = startStrandedMessageScanner({
      nats: place.port,
      stream: place.stream,
      consumer: place.consumer,
      pipeline: 'mailer',
      onMoved: (sequence, found) => moved.push([sequence, found]),
    });
    await place.store('{"n":1}', { headers: { tenant: 'acme' } });
    await wasteDeliveries(place, 2);
    await expect.poll(() => lookAgain(place).then(() => place.left())).toBe(0);
    // The message is gone a moment before its mover knows.
    await expect.poll(() => moved).toEqual([[1, 'advisory']]);
    const [record] = await place.deadLetters();
    expect(record?.body).toBe('{"n":1}');
    expect(Object.fromEntries(record?.headers ?? [])).toMatchObject({
      'Dlq-Reason': 'stranded',
      'Dlq-Deliveries': '2',
      'Dlq-Pipeline': 'mailer',
      tenant: 'acme',
    });
    scanner.stop();
    await place.close();
  });

  test('a scan finds those whose advisory was missed, and leaves waiting messages alone', async () => {
    const place = await source.place({ maxDeliver: 1, ackWaitMs: 100 });
    await place.send({ n: 1 });
    await wasteDeliveries(place, 1);
    await expect.poll(() => lookAgain(place).then(() => place.ackPending())).toBe(0);
    await place.send({ n: 2 });
    const scanner = startStrandedMessageScanner({
      nats: place.port,
      stream: place.stream,
      consumer: place.consumer,
      pipeline: 'mailer',
    });
    expect(await scanner.scan()).toBe(1);
    expect(await scanner.scan()).toBe(0);
    expect((await place.deadLetters()).map(({ body }) => body)).toEqual(['{"n":1}']);
    expect(await place.left()).toBe(1);
    scanner.stop();
    await place.close();
  });

  test('a stream that keeps its messages loses none: handled ones are no stranded ones', async () => {
    const { jsm, js, admin } = source;
    await jsm.streams.add({ name: 'HISTORY', subjects: ['history.>'] });
    await jsm.streams.add({ name: 'DLQ_HISTORY', subjects: ['dlq.HISTORY.>'] });
    await jsm.consumers.add('HISTORY', {
      durable_name: 'live',
      ack_policy: 'explicit',
      max_deliver: 1,
      ack_wait: 100e6,
    });
    const port = natsPort(admin);
    const scanner = startStrandedMessageScanner({ nats: port, stream: 'HISTORY', consumer: 'live', pipeline: 'p' });
    const next = () => port.request('$JS.API.CONSUMER.MSG.NEXT.HISTORY.live', '{"batch":1,"expires":200000000}');
    for (let n = 0; n < 3; n++) await js.publish('history.a', `{"n":${n}}`);
    for (const ack of ['+ACK', '+ACK', '-NAK']) admin.publish((await next()).reply ?? '', ack);
    // The one that was given up is heard of by its advisory, and stays.
    await expect
      .poll(() => next().then(() => jsm.consumers.info('HISTORY', 'live')))
      .toMatchObject({ num_ack_pending: 0 });
    expect(await scanner.scan()).toBe(0);
    await expect.poll(async () => (await jsm.streams.info('DLQ_HISTORY')).state.messages).toBe(1);
    expect((await jsm.streams.info('HISTORY')).state.messages).toBe(3);
    scanner.stop();
    port.close();
  });
});
