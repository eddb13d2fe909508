import { create } from '@bufbuild/protobuf';
import { timestampMs } from '@bufbuild/protobuf/wkt';
import { LifecycleEventSchema, type LifecycleEvent } from './gen/sluice/v1/events_pb.ts';

/** An event, and how long it had waited when the message that it came with was sent. */
export interface SentEvent {
  readonly event: LifecycleEvent;
  readonly heldMs: number;
}

/** A clock that jumped between two events says nothing: none waits longer. */
const MAX_HELD_MS = 60_000;

/** Of one message: several times what a service sends as one. Who sends more would fill the memory of every reader. */
const MAX_EARLIER = 100;

/** The events that one message of `EVENTS` tells, oldest first: the newest of them where they are too many. */
export function eventsIn(message: LifecycleEvent): readonly SentEvent[] {
  const { appId, messageId, instance } = message;
  const earlier = message.earlier.slice(-MAX_EARLIER);
  let heldMs = held(message.heldMs);
  const last = { event: message, heldMs };
  if (earlier.length === 0) return [last];
  const lastMs = heldMs + createdMs(message);
  const before = earlier.toReversed().map((event): SentEvent => {
    // An older one has waited at least as long.
    heldMs = Math.max(heldMs, held(lastMs - createdMs(event)));
    return { event: create(LifecycleEventSchema, { ...event, appId, messageId, instance }), heldMs };
  });
  return [...before.toReversed(), last];
}

const held = (ms: number): number => (ms > 0 && ms < MAX_HELD_MS ? ms : 0);
const createdMs = ({ createdAt }: LifecycleEvent): number => (createdAt === undefined ? 0 : timestampMs(createdAt));
