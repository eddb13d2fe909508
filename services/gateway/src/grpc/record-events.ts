import { timestampMs } from '@bufbuild/protobuf/wkt';
import type { LifecycleEvent } from '@sluice/contracts';
import { invalidField } from '../errors.ts';
import { checkedNames, checkedTime, type CheckedEvent } from '../lifecycle/ingest.ts';

const MAX_EVENTS = 1_000;
const MAX_ATTEMPT = 1_000_000;
/** Characters of each text; the names are bounded by what can be a subject. */
const longest = { event: 64, detail: 1_024, pipeline: 128, instance: 128, traceId: 64 } as const;

/**
 * The events of a call, held to the limits of the HTTP route's schema.
 *
 * @throws {GatewayError} `invalid_request` naming the first that is not complete. Nothing is stored then.
 */
export function eventsOfCall(events: readonly LifecycleEvent[], nowMs: number): readonly CheckedEvent[] {
  if (events.length === 0) throw invalidField('/events', 'is empty');
  if (events.length > MAX_EVENTS) throw invalidField('/events', `has more than ${MAX_EVENTS} entries`);
  return events.map((event, index) => checked(event, `/events/${index}`, nowMs));
}

function checked(event: LifecycleEvent, at: string, nowMs: number): CheckedEvent {
  for (const [field, limit] of Object.entries(longest)) {
    const text = event[field as keyof typeof longest];
    if (text.length > limit) throw invalidField(`${at}/${field}`, `is longer than ${limit} characters`);
  }
  if (event.earlier.length > 0) throw invalidField(`${at}/earlier`, 'is for the services of this system alone');
  if (event.heldMs !== 0) throw invalidField(`${at}/heldMs`, 'is for the services of this system alone');
  const names = checkedNames(event, at);
  const { attempt, detail, pipeline, instance, traceId, durationMs, createdAt } = event;
  if (attempt > MAX_ATTEMPT) throw invalidField(`${at}/attempt`, `is more than ${MAX_ATTEMPT}`);
  if (!(durationMs >= 0 && durationMs < Infinity)) throw invalidField(`${at}/durationMs`, 'is no duration');
  const createdMs = createdAt === undefined ? nowMs : checkedTime(timestampMs(createdAt), at);
  return { ...names, createdMs, attempt, detail, pipeline, instance, traceId, durationMs };
}
