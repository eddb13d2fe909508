import { expect, test } from 'vitest';
import { definePipeline } from '../src/index.ts';
import type { PipelineSpec } from '../src/index.ts';
import { MemoryJetStream } from '../src/memory/index.ts';
import { manualClock } from '../src/testing/manual-clock.ts';
import { decodeJson, gate, recordEvents } from '../src/conformance/source.ts';
import type { Job } from '../src/conformance/source.ts';

type SingleSpec = Extract<PipelineSpec<Job, undefined>, { handle: unknown }>;

async function started(maxAckPending: number, spec: Partial<Pick<SingleSpec, 'handle' | 'retry'>>) {
  const clock = manualClock();
  const server = new MemoryJetStream(clock);
  server.addStream({ name: 'W', subjects: ['w.>'], retention: 'workqueue' });
  server.addStream({ name: 'DLQ', subjects: ['dlq.>'] });
  server.addConsumer('W', 'worker', { max_ack_pending: maxAckPending });
  const log = recordEvents();
  const starting = definePipeline<Job>({
    name: 'w',
    sources: [{ stream: 'W', consumer: 'worker' }],
    decode: decodeJson,
    flow: { concurrency: 1, prefetch: 0 },
    timeout: { handlerMs: 3_600_000 },
    handle: async () => undefined,
    ...spec,
  }).start({ nats: server.connect(), deps: undefined, observe: log.observe, clock });
  await clock.settle();
  const running = await starting;
  const codes = (): readonly string[] => running.health().conditions.map(({ code }) => code);
  const told = (): readonly string[] => [
    ...log.of('condition.began').map(({ condition }) => `+${condition.code}`),
    ...log.of('condition.ended').map(({ code }) => `-${code}`),
  ];
  return { clock, server, running, codes, told };
}

test('messages that another worker does not settle fill max_ack_pending: not ok, and told of once', async () => {
  const { clock, server, running, codes, told } = await started(2, {});
  const other = server.connect();
  void running.pause('let the other have them');
  await clock.advance(3_000);
  const inbox = other.inbox();
  const replies: string[] = [];
  other.subscribe(inbox, ({ reply }) => {
    if (reply !== undefined) replies.push(reply);
  });
  for (let n = 0; n < 3; n++) server.store('w.a', JSON.stringify({ n }));
  other.send('$JS.API.CONSUMER.MSG.NEXT.W.worker', '{"batch":2,"expires":1000000000}', { reply: inbox });
  await clock.advance(100);
  expect(replies).toHaveLength(2);
  running.resume();
  await clock.advance(15_000);
  expect(codes()).toEqual(['ackPendingFull']);
  expect(running.health()).toMatchObject({ ok: false });
  expect(running.health().reason).toBe('W/worker: max_ack_pending (2) is reached, 1 messages wait behind it');
  for (const reply of replies) other.send(reply, '+ACK');
  await clock.advance(15_000);
  expect(running.health()).toMatchObject({ ok: true, conditions: [] });
  expect(told()).toEqual(['+ackPendingFull', '-ackPendingFull']);
});

test('retries that wait take all of max_ack_pending: not ok', async () => {
  const { clock, server, running, codes } = await started(2, {
    retry: { baseMs: 60_000, maxMs: 60_000, jitter: 'none' },
    handle: async () => {
      throw new Error('not now');
    },
  });
  for (let n = 0; n < 3; n++) server.store('w.a', JSON.stringify({ n }));
  await clock.advance(5_000);
  expect(codes()).toContain('retriesParked');
  expect(running.health().ok).toBe(false);
});

test('a backlog of a minute is told of, and is no reason to take the process out of service', async () => {
  const slow = gate();
  const { clock, server, running, codes, told } = await started(100, { handle: () => slow.opened });
  for (let n = 0; n < 3; n++) server.store('w.a', JSON.stringify({ n }));
  await clock.advance(30_000);
  expect(codes()).toEqual([]);
  await clock.advance(45_000);
  expect(codes()).toEqual(['notCaughtUp']);
  expect(running.health()).toMatchObject({ ok: true, reason: undefined });
  slow.open();
  await clock.advance(15_000);
  expect(codes()).toEqual([]);
  expect(told()).toEqual(['+notCaughtUp', '-notCaughtUp']);
});

test('a connection that throws from every call of a timer, as one that is being drained does, costs nothing but time', async () => {
  const clock = manualClock();
  const server = new MemoryJetStream(clock);
  server.addStream({ name: 'W', subjects: ['w.>'], retention: 'workqueue' });
  server.addStream({ name: 'DLQ', subjects: ['dlq.>'] });
  server.addConsumer('W', 'worker');
  const nats = server.connect();
  let draining = false;
  let thrown = 0;
  const refuse = (): void => {
    if (!draining) return;
    thrown++;
    throw new Error('connection draining');
  };
  const subscribe = nats.subscribe.bind(nats);
  nats.subscribe = (...args) => {
    refuse();
    return subscribe(...args);
  };
  const send = nats.send.bind(nats);
  nats.send = (subject, data, options) => {
    // Pulls get no answer, so the watch for a stall acts.
    if (!draining) send(subject, data, options);
  };
  const errors: string[] = [];
  const log = {
    debug() {},
    info() {},
    warn() {},
    error: (_fields: object, message: string) => void errors.push(message),
  };
  let handled = 0;
  const starting = definePipeline<Job>({
    name: 'w',
    sources: [{ stream: 'W', consumer: 'worker' }],
    decode: decodeJson,
    handle: async () => void handled++,
  }).start({ nats, deps: undefined, clock, log });
  await clock.settle();
  const running = await starting;
  draining = true;
  // Nothing that a timer throws is caught further out: it would reject this.
  await clock.advance(120_000);
  expect(thrown).toBeGreaterThan(1);
  expect(errors).toContain('a timer failed');
  draining = false;
  server.store('w.a', JSON.stringify({ n: 7 }));
  await clock.advance(60_000);
  expect(handled).toBe(1);
  expect(running.health().ok).toBe(true);
});
