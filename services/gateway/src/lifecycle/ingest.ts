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
  if (body.events === undefined) return [checked(body, '', nowMs)];
  const { events, ...single } = body;
  if (Object.keys(single).length > 0) throw invalidField('/events', 'stands alone: put every event into the list');
  return events.map((event, index) => checked(event, `/events/${index}`, nowMs));
}

function checked(event: EventBody, at: string, nowMs: number): CheckedEvent {
  const created = event.created_at ?? event.createdAt;
  const {
    appId,
    messageId,
    event: name,
  } = checkedNames(
    { appId: event.app_id ?? event.appId, messageId: event.message_id ?? event.messageId, event: event.event },
    at,
  );
  const createdMs = created === undefined ? nowMs : checkedTime(Date.parse(created), at);
  const { attempt = 0, detail = '', pipeline = '', instance = '' } = event;
  // Field by field: to spread the names is slower than to check them.
  return { appId, messageId, event: name, createdMs, attempt, detail, pipeline, instance };
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
  const [first, ...rest] = events;
  if (first === undefined) return { repeated: false };
  if (key === undefined) {
    if (rest.length > 0) await bus.publishBatch([messageOf(first), ...rest.map(messageOf)]);
    else await bus.port.publish(`events.${first.appId}.${first.messageId}`, encodeEvent(first));
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
      messageOf(first),
      ...rest.map(messageOf),
    ]);
    return { repeated: false };
  } catch (error) {
    if (!isWrongLastSequence(error)) throw error;
    const stored = await bus.last(channels.event, values, 'leader');
    if (stored === undefined || stored.data.detail === requestHash) return { repeated: true };
    throw new GatewayError('idempotency_key_reused', 'The Idempotency-Key was used for other events.');
  }
}

const messageOf = (event: CheckedEvent): BatchMessage => ({
  channel: channels.event,
  values: { appId: event.appId, messageId: event.messageId },
  message: encodeEvent(event),
});

/** No client speaks for this app. */
const MARKER_APP = 'gateway';

const digest = (text: string): string => createHash('sha256').update(text).digest('hex').slice(0, 40);

/** Characters of a text that one byte of length is enough for, however long each is in UTF-8. */
const SHORT = 42;
/** Of all that is not text, at most: tags, lengths, times and numbers. */
const FIXED_BYTES = 96;
const LENGTH_DELIMITED = 2;
const BIT64 = 1;

/**
 * `LifecycleEvent` on the wire. Written byte by byte: the generated encoder walks a description of the message and takes
 * several times as long, and the library's writer grows its buffer as it goes. A test compares the bytes.
 */
export function encodeEvent(event: CheckedEvent): Uint8Array {
  const { appId, messageId, event: name, createdMs, attempt, detail, traceId = '', pipeline, instance } = event;
  const { durationMs = 0 } = event;
  const length =
    appId.length + messageId.length + name.length + detail.length + traceId.length + pipeline.length + instance.length;
  const bytes = Buffer.allocUnsafe(FIXED_BYTES + 3 * length);
  let at = 0;
  at = writeText(bytes, at, 1, appId);
  at = writeText(bytes, at, 2, messageId);
  at = writeText(bytes, at, 3, name);
  at = writeTime(bytes, at, 4, createdMs);
  if (attempt !== 0) at = writeVarint(bytes, tag(bytes, at, 5, 0), attempt);
  at = writeText(bytes, at, 6, detail);
  at = writeText(bytes, at, 7, traceId);
  at = writeText(bytes, at, 8, pipeline);
  at = writeText(bytes, at, 9, instance);
  if (durationMs !== 0) at = bytes.writeDoubleLE(durationMs, tag(bytes, at, 10, BIT64));
  return bytes.subarray(0, at);
}

/** The fields of this message are few enough for tags of one byte. Each function returns where it goes on. */
function tag(bytes: Buffer, at: number, field: number, wireType: number): number {
  bytes[at] = (field << 3) | wireType;
  return at + 1;
}

function writeText(bytes: Buffer, at: number, field: number, value: string): number {
  if (value === '') return at;
  const start = tag(bytes, at, field, LENGTH_DELIMITED);
  if (value.length <= SHORT) {
    const written = bytes.write(value, start + 1);
    bytes[start] = written;
    return start + 1 + written;
  }
  const from = writeVarint(bytes, start, Buffer.byteLength(value));
  return from + bytes.write(value, from);
}

function writeTime(bytes: Buffer, at: number, field: number, ms: number): number {
  const start = tag(bytes, at, field, LENGTH_DELIMITED) + 1;
  const seconds = Math.floor(ms / 1000);
  const nanos = Math.round((ms - seconds * 1000) * 1_000_000);
  let end = start;
  if (seconds !== 0) end = writeVarint(bytes, tag(bytes, end, 1, 0), seconds);
  if (nanos !== 0) end = writeVarint(bytes, tag(bytes, end, 2, 0), nanos);
  bytes[start - 1] = end - start;
  return end;
}

/** Of a negative number the 64 bits of its two's complement, as protobuf has it. */
function writeVarint(bytes: Buffer, at: number, value: number): number {
  let end = at;
  if (value < 0) {
    let left = BigInt.asUintN(64, BigInt(value));
    for (; left > 0x7fn; left >>= 7n) bytes[end++] = Number(left & 0x7fn) | 0x80;
    bytes[end++] = Number(left);
    return end;
  }
  let left = value;
  for (; left > 0x7f; left = Math.floor(left / 0x80)) bytes[end++] = (left % 0x80) | 0x80;
  bytes[end++] = left;
  return end;
}
