import { fromBinary, toJson, type JsonValue } from '@bufbuild/protobuf';
import type { StoredMsg } from '@nats-io/jetstream';
import { channels, type Channel } from '@sluice/contracts';
import { isJobId } from '@sluice/jobs';
import { jobIdOf } from '@sluice/messaging';
import { DEAD_LETTER } from '@sluice/pipeline';
import { Type, type Static } from 'typebox';
import { DateTime } from '../jobs/job-view.ts';

/** A dead letter as an operator sees it. */
export const DeadLetterView = Type.Object(
  {
    id: Type.String(),
    stream: Type.String(),
    consumer: Type.String(),
    pipeline: Type.String(),
    reason: Type.String({ description: '`exhausted`, `permanent`, `rejected`, `decode`, `crashLoop` or `stranded`.' }),
    detail: Type.String({ description: 'What the last failure said.' }),
    error: Type.Optional(Type.Object({ name: Type.String(), code: Type.String() })),
    attempts: Type.Integer(),
    subject: Type.String({ description: 'Where the message was published.' }),
    messageId: Type.String(),
    jobId: Type.Optional(Type.String()),
    replays: Type.Integer({ description: 'How often it was sent on its way again before.' }),
    publishedAt: Type.Optional(DateTime),
    failedAt: DateTime,
    traceId: Type.Optional(Type.String()),
    bytes: Type.Integer(),
    headers: Type.Record(Type.String(), Type.Array(Type.String()), {
      description: 'As they were, but for credentials.',
    }),
    payload: Type.Optional(Type.Unknown({ description: 'Decoded, with addresses masked and long bytes cut.' })),
    payloadBase64: Type.Optional(Type.String({ description: 'The first bytes of what cannot be decoded.' })),
  },
  { $id: 'DeadLetter', additionalProperties: false },
);
export type DeadLetterView = Static<typeof DeadLetterView>;

/** A dead letter as it is stored. */
export interface DeadLetter {
  readonly sequence: number;
  readonly data: Uint8Array;
  readonly storedAt: Date;
  readonly header: (name: string) => string;
  readonly headers: Readonly<Record<string, readonly string[]>>;
  readonly jobId: string | undefined;
}

const RAW_BYTES = 512;
const HIDDEN = /^(authorization|cookie|.*(secret|token|password|key).*)$/i;
const own: ReadonlySet<string> = new Set(Object.values(DEAD_LETTER));

export function deadLetterOf(message: StoredMsg): DeadLetter {
  const found = headersOf(message);
  const header = (name: string): string => found?.get(name) ?? '';
  const headers: Record<string, readonly string[]> = {};
  for (const name of found?.keys() ?? []) {
    if (!own.has(name) && !/^nats-/i.test(name)) headers[name] = found?.values(name) ?? [];
  }
  const jobId = jobIdOf(header(DEAD_LETTER.messageId));
  return {
    sequence: message.seq,
    data: message.data,
    storedAt: message.time,
    header,
    headers,
    jobId: isJobId(jobId) ? jobId : undefined,
  };
}

/**
 * Undefined for a header block that the client refuses to parse: it does so at the first access, and one such message
 * in the stream would make every list of dead letters fail.
 */
function headersOf(message: StoredMsg): StoredMsg['header'] | undefined {
  try {
    return message.header;
  } catch {
    return undefined;
  }
}

/** How often a job had been run again when its work was published: work names its run in its message id. */
export const runOf = (messageId: string): number => Number(/\.r(\d+)$/.exec(messageId)?.[1] ?? 0);

/** The record as it is shown. */
export function viewOf(letter: DeadLetter): DeadLetterView {
  const { header, jobId } = letter;
  const name = header(DEAD_LETTER.errorName);
  const publishedAt = header(DEAD_LETTER.publishedAt);
  const traceId = letter.headers['traceparent']?.[0]?.split('-')[1];
  return {
    id: String(letter.sequence),
    stream: header(DEAD_LETTER.stream),
    consumer: header(DEAD_LETTER.consumer),
    pipeline: header(DEAD_LETTER.pipeline),
    reason: header(DEAD_LETTER.reason),
    detail: masked(header(DEAD_LETTER.detail)),
    ...(name === '' ? {} : { error: { name, code: header(DEAD_LETTER.errorCode) } }),
    attempts: Number(header(DEAD_LETTER.deliveries)) || 0,
    subject: header(DEAD_LETTER.subject),
    messageId: header(DEAD_LETTER.messageId),
    ...(jobId === undefined ? {} : { jobId }),
    replays: Number(header(DEAD_LETTER.redrives)) || runOf(header(DEAD_LETTER.messageId)),
    ...(publishedAt === '' ? {} : { publishedAt }),
    failedAt: header(DEAD_LETTER.failedAt) || letter.storedAt.toISOString(),
    ...(traceId === undefined ? {} : { traceId }),
    bytes: Number(header(DEAD_LETTER.fullBytes)) || letter.data.length,
    headers: Object.fromEntries(
      Object.entries(letter.headers).map(([key, values]) => [key, HIDDEN.test(key) ? ['…'] : values.map(masked)]),
    ),
    ...payloadOf(header(DEAD_LETTER.subject), letter.data),
  };
}

/** The payload by its subject's channel. What is no such message is shown as bytes, which is why it died. */
function payloadOf(subject: string, data: Uint8Array): { payload?: unknown; payloadBase64?: string } {
  const channel = (Object.values(channels) as readonly Channel[]).find(({ template }) =>
    new RegExp(`^${template.replace(/\{\w+\}/g, '[^.]+')}$`).test(subject),
  );
  try {
    if (channel !== undefined && data.length > 0) {
      return { payload: shortened(toJson(channel.schema, fromBinary(channel.schema, data))) };
    }
  } catch {
    // shown as bytes
  }
  return { payloadBase64: Buffer.from(data.subarray(0, RAW_BYTES)).toString('base64') };
}

function shortened(value: JsonValue): JsonValue {
  if (typeof value === 'string')
    return masked(value.length > 1_000 ? `${value.slice(0, 64)}… (${value.length} characters)` : value);
  if (Array.isArray(value)) return value.map(shortened);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, entry]) => [key, shortened(entry)]));
}

/** Whom a mail was for is not an operator's business; that it was for an address of a domain can be. */
const masked = (text: string): string => text.replace(/[^\s@<>"',;:()]+@([\w.-]+\.\w+)/g, '***@$1');
