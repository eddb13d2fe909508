import { BinaryWriter, WireType } from '@bufbuild/protobuf/wire';
import { createHash } from 'node:crypto';
import { create } from '@bufbuild/protobuf';
import { channels, isSubjectToken, LifecycleEventSchema } from '@sluice/contracts';
import { type BatchMessage, type Bus, isWrongLastSequence, lifetimes } from '@sluice/messaging';
import { Type, type Static } from 'typebox';
import { GatewayError, invalidField } from '../errors.ts';
import { ownApps } from '../jobs/timeline/timeline.ts';

const name = (maxLength: number, description: string) =>
  Type.Optional(Type.String({ minLength: 1, maxLength, description }));
const camelToo = 'The same under its camelCase name.';

const fields = {
  app_id: name(128, 'Who says so: letters, digits, "-" and "_".'),
  message_id: name(128, 'About which message: letters, digits, "-" and "_".'),
  event: name(64, 'What happened: `published`, `received`, or a name of your own.'),
  created_at: Type.Optional(Type.String({ format: 'date-time', description: 'When; now, if absent.' })),
  appId: name(128, camelToo),
  messageId: name(128, camelToo),
  createdAt: Type.Optional(Type.String({ format: 'date-time', description: camelToo })),
  attempt: Type.Optional(Type.Integer({ minimum: 0, maximum: 1_000_000 })),
  detail: Type.Optional(Type.String({ maxLength: 1_024 })),
  pipeline: Type.Optional(Type.String({ maxLength: 128 })),
  instance: Type.Optional(Type.String({ maxLength: 128 })),
};

/** A lifecycle event as it is posted. Names may be in snake_case or in camelCase, as protobuf JSON has it. */
const EventBody = Type.Object(fields, { additionalProperties: false });
type EventBody = Static<typeof EventBody>;

/** One event, or up to a thousand under `events`. */
export const IngestBody = Type.Object(
  { ...fields, events: Type.Optional(Type.Array(EventBody, { minItems: 1, maxItems: 1_000 })) },
  { additionalProperties: false },
);
export type IngestBody = Static<typeof IngestBody>;

/** An event that is complete and can be a subject. */
export interface CheckedEvent {
  readonly appId: string;
  readonly messageId: string;
  readonly event: string;
  readonly createdMs: number;
  readonly attempt: number;
  readonly detail: string;
  readonly pipeline: string;
  readonly instance: string;
  /** Of the sender's own trace, and how long what happened took: RPCs may say so. */
  readonly traceId?: string;
  readonly durationMs?: number;
}

const reserved: ReadonlySet<string> = new Set(ownApps);

/**
 * The events of a request.
 *
 * @throws {GatewayError} `invalid_request` naming the first that is not complete. Nothing is stored then.
 */
export function eventsOf(body: IngestBody, nowMs: number): readonly CheckedEvent[] {
  const { events, ...single } = body;
  if (events === undefined) return [checked(single, '', nowMs)];
  if (Object.keys(single).length > 0) throw invalidField('/events', 'stands alone: put every event into the list');
  return events.map((event, index) => checked(event, `/events/${index}`, nowMs));
}

function checked(event: EventBody, at: string, nowMs: number): CheckedEvent {
  const appId = event.app_id ?? event.appId;
  const messageId = event.message_id ?? event.messageId;
  const created = event.created_at ?? event.createdAt;
  const names = checkedNames({ appId, messageId, event: event.event }, at);
  const createdMs = created === undefined ? nowMs : checkedTime(Date.parse(created), at);
  const { attempt = 0, detail = '', pipeline = '', instance = '' } = event;
  return { ...names, createdMs, attempt, detail, pipeline, instance };
}

/** The years that RFC 3339 can write: what is outside could be stored and not be shown. */
const FIRST_MS = Date.parse('0001-01-01T00:00:00Z');
const LAST_MS = Date.parse('9999-12-31T23:59:59.999Z');

/**
 * When an event happened. Not every text that looks like a time is one: a leap second fits the format and no clock.
 *
 * @throws {GatewayError} `invalid_request`.
 */
export function checkedTime(ms: number, at: string): number {
  if (ms >= FIRST_MS && ms <= LAST_MS) return ms;
  throw invalidField(`${at}/created_at`, 'is no time between the years 1 and 9999');
}

/**
 * What names an event: about which message of which system, and what happened.
 *
 * @throws {GatewayError} `invalid_request`.
 */
export function checkedNames(
  { appId, messageId, event }: Readonly<Record<'appId' | 'messageId' | 'event', string | undefined>>,
  at: string,
): Pick<CheckedEvent, 'appId' | 'messageId' | 'event'> {
  if (!appId) throw invalidField(`${at}/app_id`, 'is missing');
  if (!isSubjectToken(appId)) throw invalidField(`${at}/app_id`, 'must be letters, digits, "-" and "_"');
  if (reserved.has(appId)) throw invalidField(`${at}/app_id`, 'is the name of a service of this system');
  if (!messageId) throw invalidField(`${at}/message_id`, 'is missing');
  if (!isSubjectToken(messageId)) throw invalidField(`${at}/message_id`, 'must be letters, digits, "-" and "_"');
  if (!event) throw invalidField(`${at}/event`, 'is missing');
  return { appId, messageId, event };
}

/** Messages of a batch that the server takes as one. */
const MAX_BATCH = 1_000;

/** Whose events they are, and the key that makes a repeat of the request the same one. */
export interface IngestRequest {
  readonly account: string;
  readonly key: string | undefined;
}

/**
 * Stores the events of a request, all of them or none: resolves once the broker has every one. With a key, the batch
 * begins with a marker that is there once: a repeat of the request stores nothing.
 *
 * @returns whether an earlier request with the key stored them.
 * @throws {GatewayError} `idempotency_key_reused` when the key belongs to other events.
 * @throws {PublishError} when the broker did not confirm: repeated with its key, the request finds out.
 */
export async function storeEvents(
  bus: Bus,
  events: readonly CheckedEvent[],
  { account, key }: IngestRequest,
): Promise<{ readonly repeated: boolean }> {
  const messages = events.map((event): BatchMessage => ({
    channel: channels.event,
    values: { appId: event.appId, messageId: event.messageId },
    message: encodeEvent(event),
  }));
  const [first, ...rest] = messages;
  if (first === undefined) return { repeated: false };
  if (key === undefined) {
    const [only] = events as readonly [CheckedEvent];
    if (events.length > 1) await bus.publishBatch([first, ...rest]);
    else await bus.port.publish(`events.${only.appId}.${only.messageId}`, encodeEvent(only));
    return { repeated: false };
  }
  if (events.length >= MAX_BATCH) {
    throw invalidField(
      '/events',
      `has more than ${MAX_BATCH - 1} entries, the most that one Idempotency-Key stands for`,
    );
  }
  const values = { appId: MARKER_APP, messageId: `request_${digest(`${account}\0${key}`)}` };
  // Without the times: an event that names none gets that of its request, and a repeat comes later.
  const requestHash = digest(JSON.stringify(events.map((event) => ({ ...event, createdMs: 0 }))));
  const marker = create(LifecycleEventSchema, { ...values, event: 'events_recorded', detail: requestHash });
  try {
    await bus.publishBatch([
      {
        channel: channels.event,
        values,
        message: marker,
        expectLastSubjectSequence: 0,
        ttlMs: lifetimes.idempotencyKey,
      },
      first,
      ...rest,
    ]);
    return { repeated: false };
  } catch (error) {
    if (!isWrongLastSequence(error)) throw error;
    const stored = await bus.last(channels.event, values, 'leader');
    if (stored === undefined || stored.data.detail === requestHash) return { repeated: true };
    throw new GatewayError('idempotency_key_reused', 'The Idempotency-Key was used for other events.');
  }
}

/** No client speaks for this app. */
const MARKER_APP = 'gateway';

const digest = (text: string): string => createHash('sha256').update(text).digest('hex').slice(0, 40);

/**
 * `LifecycleEvent` on the wire. Written field by field: the generated encoder walks a description of the message and
 * takes several times as long, which is most of what this route does besides parsing. A test compares the two.
 */
export function encodeEvent(event: CheckedEvent): Uint8Array {
  const writer = new BinaryWriter();
  const text = (field: number, value: string): void => {
    if (value !== '') writer.tag(field, WireType.LengthDelimited).string(value);
  };
  text(1, event.appId);
  text(2, event.messageId);
  text(3, event.event);
  const seconds = Math.floor(event.createdMs / 1000);
  const nanos = (event.createdMs - seconds * 1000) * 1_000_000;
  writer.tag(4, WireType.LengthDelimited).fork();
  if (seconds !== 0) writer.tag(1, WireType.Varint).int64(seconds);
  if (nanos !== 0) writer.tag(2, WireType.Varint).int32(nanos);
  writer.join();
  if (event.attempt !== 0) writer.tag(5, WireType.Varint).uint32(event.attempt);
  text(6, event.detail);
  text(7, event.traceId ?? '');
  text(8, event.pipeline);
  text(9, event.instance);
  if (event.durationMs) writer.tag(10, WireType.Bit64).double(event.durationMs);
  return writer.finish();
}
