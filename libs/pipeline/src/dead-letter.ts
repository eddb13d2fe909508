import type { Delivery } from './delivery.ts';
import type { DeadLetterReason } from './events.ts';
import type { deadLetterFields } from './options.ts';
import type { HeaderInput } from './port.ts';
import type { Resolved } from './schema.ts';

/** Header names of a dead-letter record. */
export const DEAD_LETTER = {
  reason: 'Dlq-Reason',
  detail: 'Dlq-Detail',
  errorName: 'Dlq-Error-Name',
  errorCode: 'Dlq-Error-Code',
  pipeline: 'Dlq-Pipeline',
  stream: 'Dlq-Stream',
  consumer: 'Dlq-Consumer',
  sequence: 'Dlq-Sequence',
  subject: 'Dlq-Subject',
  deliveries: 'Dlq-Deliveries',
  publishedAt: 'Dlq-Published-At',
  failedAt: 'Dlq-Failed-At',
  messageId: 'Dlq-Message-Id',
  replays: 'Dlq-Replays',
  /** Full size of a body that was cut. */
  fullBytes: 'Dlq-Full-Bytes',
} as const;

export interface DeadLetterRecord {
  readonly subject: string;
  /** `Nats-Msg-Id`: the same message dead-lettered twice is one record. */
  readonly id: string;
  readonly headers: HeaderInput;
  readonly data: Uint8Array;
}

interface Failure {
  readonly why: DeadLetterReason;
  readonly reason: string;
  readonly error: unknown;
}

const DETAIL_CHARS = 500;

/**
 * The record of a message given up: its own headers and bytes, and what is known about the failure. `Nats-*` headers
 * stay behind: a copied Nats-TTL would expire the record, a copied Nats-Msg-Id would make the stream drop it.
 */
export function deadLetterRecord(
  delivery: Delivery<unknown>,
  failure: Failure,
  pipeline: string,
  policy: Resolved<typeof deadLetterFields>,
  failedAt: Date,
  extra: HeaderInput = {},
): DeadLetterRecord {
  const headers: Record<string, string | readonly string[]> = {};
  for (const [name, values] of delivery.headers) {
    if (/^nats-/i.test(name) || OWN_NAMES.has(name) || policy.redact?.(name) === true) continue;
    headers[name] = values;
  }
  const replays = delivery.headers.get(DEAD_LETTER.replays)?.[0] ?? '0';
  const cut = delivery.bytes > policy.maxPayloadBytes;
  Object.assign(headers, extra, {
    [DEAD_LETTER.reason]: failure.why,
    [DEAD_LETTER.detail]: oneLine(failure.reason),
    ...errorHeaders(failure.error),
    [DEAD_LETTER.pipeline]: pipeline,
    [DEAD_LETTER.stream]: delivery.stream,
    [DEAD_LETTER.consumer]: delivery.consumer,
    [DEAD_LETTER.sequence]: String(delivery.sequence),
    [DEAD_LETTER.subject]: delivery.subject,
    [DEAD_LETTER.deliveries]: String(delivery.attempt),
    [DEAD_LETTER.publishedAt]: delivery.publishedAt.toISOString(),
    [DEAD_LETTER.failedAt]: failedAt.toISOString(),
    [DEAD_LETTER.messageId]: oneLine(delivery.id),
    [DEAD_LETTER.replays]: replays,
    ...(cut ? { [DEAD_LETTER.fullBytes]: String(delivery.bytes) } : {}),
  });
  return {
    subject: policy.subject ?? `dlq.${delivery.stream}.${delivery.consumer}`,
    id: `dlq:${delivery.stream}:${delivery.consumer}:${delivery.sequence}`,
    headers,
    data: cut ? delivery.body.subarray(0, policy.maxPayloadBytes) : delivery.body,
  };
}

const OWN_NAMES: ReadonlySet<string> = new Set(Object.values(DEAD_LETTER));

function errorHeaders(error: unknown): Record<string, string> {
  if (error === undefined) return {};
  const code = error instanceof Error && 'code' in error ? error.code : undefined;
  return {
    [DEAD_LETTER.errorName]: oneLine(error instanceof Error ? error.name : typeof error),
    ...(typeof code === 'string' || typeof code === 'number' ? { [DEAD_LETTER.errorCode]: oneLine(String(code)) } : {}),
  };
}

/** Header values must not break the line; a stack trace has no place in one. */
const oneLine = (text: string): string =>
  text
    .replaceAll(/[^\x20-\x7e\u00a0-\uffff]+/g, ' ')
    .trim()
    .slice(0, DETAIL_CHARS);
