import { create } from '@bufbuild/protobuf';
import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import { expect, test } from 'vitest';
import { LifecycleEventSchema } from './gen/sluice/v1/events_pb.ts';
import { eventsIn } from './lifecycle-events.ts';

const at = (ms: number) => timestampFromMs(1_800_000_000_000 + ms);
const who = { appId: 'email', messageId: 'job_1', instance: 'email-1' };
const shown = (message: Parameters<typeof eventsIn>[0]) =>
  eventsIn(message).map(({ event, heldMs }) => [event.event, event.appId, event.messageId, event.instance, heldMs]);

test('a message of one event is that event', () => {
  const message = create(LifecycleEventSchema, { ...who, event: 'held', createdAt: at(0) });
  expect(shown(message)).toEqual([['held', 'email', 'job_1', 'email-1', 0]]);
});

test('events that were sent together come oldest first, each with the time that it waited', () => {
  const earlier = [
    { event: 'received', createdAt: at(0) },
    { event: 'attempt', createdAt: at(10) },
  ];
  const message = create(LifecycleEventSchema, { ...who, event: 'acked', createdAt: at(30), earlier, heldMs: 5 });
  expect(shown(message)).toEqual([
    ['received', 'email', 'job_1', 'email-1', 35],
    ['attempt', 'email', 'job_1', 'email-1', 25],
    ['acked', 'email', 'job_1', 'email-1', 5],
  ]);
});

test('a clock that jumps between two events changes neither their order nor the day', () => {
  const earlier = [
    { event: 'received', createdAt: at(0) },
    { event: 'attempt', createdAt: at(86_400_000) },
    { event: 'effect_done', createdAt: at(86_399_990) },
  ];
  const message = create(LifecycleEventSchema, { ...who, event: 'acked', createdAt: at(86_400_010), earlier });
  expect(shown(message).map(([event, , , , heldMs]) => [event, heldMs])).toEqual([
    ['received', 20],
    ['attempt', 20],
    ['effect_done', 20],
    ['acked', 0],
  ]);
});

test.each([[-1], [Number.NaN], [Number.POSITIVE_INFINITY], [86_400_000]])('a wait of %s ms is none', (heldMs) => {
  expect(eventsIn(create(LifecycleEventSchema, { ...who, event: 'acked', heldMs }))[0]?.heldMs).toBe(0);
});

test('of a message that tells too many, the newest are told', () => {
  const earlier = Array.from({ length: 5_000 }, (_, at) => ({ event: `e${at}` }));
  const found = eventsIn(create(LifecycleEventSchema, { ...who, event: 'last', earlier }));
  expect(found.map(({ event }) => event.event).slice(-2)).toEqual(['e4999', 'last']);
  expect(found.length).toBeLessThan(200);
});
