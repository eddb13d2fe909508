import { ORIGINAL_ID } from '../process/delivery.ts';
import type { Delivery } from '../process/delivery.ts';
import { errorCode, errorName } from '../process/describe-error.ts';
import type { DeadLetterReason } from '../events.ts';
import type { deadLetterFields } from '../config/options.ts';
import type { HeaderInput } from '../nats/port.ts';
import type { Resolved } from '../config/schema.ts';

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
  /** Runs of the handler, this one included; 0 when it never ran. */
  attempts: 'Dlq-Attempts',
  publishedAt: 'Dlq-Published-At',
  failedAt: 'Dlq-Failed-At',
  messageId: 'Dlq-Message-Id',
  redrives: 'Dlq-Redrives',
  /** On a redriven message: the id it had before, which is its `id` still. */
  originalId: ORIGINAL_ID,
  /** `true` when the message's own headers were left out because the record would have been too large with them. */
  headersOmitted: 'Dlq-Headers-Omitted',
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

/** How much of the message its record holds. */
export interface RecordSize {
  /** Whether the message's own headers are copied. */
  readonly headers: boolean;
  /** Bytes of the body at most. */
  readonly bodyBytes: number;
}

/**
 * The next smaller record of a message, undefined when there is none: without the message's headers first, as the whole
 * body can still be redriven, then with half of the body each time.
 */
export function smallerRecord(size: RecordSize, bytes: number): RecordSize | undefined {
  if (size.headers) return { ...size, headers: false };
  const bodyBytes = Math.min(size.bodyBytes, bytes);
  return bodyBytes === 0 ? undefined : { headers: false, bodyBytes: Math.floor(bodyBytes / 2) };
}

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
  size: RecordSize = { headers: true, bodyBytes: policy.maxPayloadBytes },
): DeadLetterRecord {
  const headers: Record<string, string | readonly string[]> = {};
  if (size.headers) {
    for (const [name, values] of delivery.headers) {
      if (/^nats-/i.test(name) || OWN_NAMES.has(name) || isRedacted(policy, name)) continue;
      headers[name] = values;
    }
  }
  const redrives = delivery.headers.get(DEAD_LETTER.redrives)?.[0] ?? '0';
  const cut = delivery.bytes > size.bodyBytes;
  const { publishedAt } = delivery;
  Object.assign(headers, extra, {
    [DEAD_LETTER.reason]: failure.why,
    [DEAD_LETTER.detail]: oneLine(failure.reason),
    ...errorHeaders(failure.error),
    [DEAD_LETTER.pipeline]: pipeline,
    [DEAD_LETTER.stream]: delivery.stream,
    [DEAD_LETTER.consumer]: delivery.consumer,
    [DEAD_LETTER.sequence]: String(delivery.sequence),
    [DEAD_LETTER.subject]: delivery.subject,
    [DEAD_LETTER.deliveries]: String(delivery.deliveries),
    [DEAD_LETTER.attempts]: String(
      failure.why === 'crashLoop' || failure.why === 'stranded' ? delivery.attempt - 1 : delivery.attempt,
    ),
    ...(Number.isNaN(publishedAt.getTime()) ? {} : { [DEAD_LETTER.publishedAt]: publishedAt.toISOString() }),
    [DEAD_LETTER.failedAt]: failedAt.toISOString(),
    [DEAD_LETTER.messageId]: oneLine(delivery.id),
    [DEAD_LETTER.redrives]: redrives,
    ...(size.headers ? {} : { [DEAD_LETTER.headersOmitted]: 'true' }),
    ...(cut ? { [DEAD_LETTER.fullBytes]: String(delivery.bytes) } : {}),
  });
  return {
    subject: policy.subject ?? `dlq.${delivery.stream}.${delivery.consumer}`,
    id: `dlq:${delivery.stream}:${delivery.consumer}:${delivery.sequence}:${delivery.storedAtMs}`,
    headers,
    data: cut ? delivery.body.subarray(0, size.bodyBytes) : delivery.body,
  };
}

const OWN_NAMES: ReadonlySet<string> = new Set(Object.values(DEAD_LETTER));

function errorHeaders(error: unknown): Record<string, string> {
  if (error === undefined) return {};
  const code = errorCode(error);
  return {
    [DEAD_LETTER.errorName]: oneLine(errorName(error)),
    ...(code === undefined ? {} : { [DEAD_LETTER.errorCode]: oneLine(code) }),
  };
}

/** A `redact` that throws cannot say that the header may be shown, so it is left out. */
function isRedacted({ redact }: Resolved<typeof deadLetterFields>, name: string): boolean {
  try {
    return redact?.(name) === true;
  } catch {
    return true;
  }
}

/** Header values must not break the line; a stack trace has no place in one. */
const oneLine = (text: string): string =>
  text
    .replaceAll(/[^\x20-\x7e\u00a0-\uffff]+/g, ' ')
    .trim()
    .slice(0, DETAIL_CHARS);
