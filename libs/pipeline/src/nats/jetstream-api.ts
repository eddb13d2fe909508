import { RequestError } from '../errors.ts';
import type { NatsPort } from './port.ts';

/** The one priority group of a partition's consumer. */
export const PARTITION_GROUP = 'partition';

/** The part of a consumer's configuration the engine looks at. Durations in nanoseconds, as the server sends them. */
export interface ConsumerConfig {
  readonly ack_policy?: string;
  readonly ack_wait?: number;
  readonly max_deliver?: number;
  readonly max_ack_pending?: number;
  readonly max_batch?: number;
  readonly max_expires?: number;
  readonly max_waiting?: number;
  readonly backoff?: readonly number[];
  readonly headers_only?: boolean;
  readonly priority_groups?: readonly string[];
  readonly priority_policy?: string;
  /** How long a pinned client may be silent. */
  readonly priority_timeout?: number;
  readonly pause_until?: string;
  readonly deliver_subject?: string;
  readonly filter_subject?: string;
  readonly filter_subjects?: readonly string[];
}
export interface ConsumerInfo {
  readonly created?: string;
  readonly name: string;
  readonly config: ConsumerConfig;
  /** Absent on servers before 2.11. */
  readonly paused?: boolean;
  readonly num_pending: number;
  readonly num_ack_pending: number;
  readonly ack_floor: { readonly stream_seq: number };
  readonly delivered: { readonly stream_seq: number; readonly consumer_seq: number };
  readonly priority_groups?: readonly { readonly group: string; readonly pinned_client_id?: string }[];
}
export interface StreamInfo {
  readonly config: {
    readonly name: string;
    readonly retention?: string;
    readonly max_age?: number;
    readonly max_msgs?: number;
    readonly max_bytes?: number;
    readonly max_msgs_per_subject?: number;
    readonly allow_msg_schedules?: boolean;
    readonly subjects?: readonly string[];
    readonly subject_transform?: { readonly src: string; readonly dest: string };
  };
  readonly state: { readonly messages: number; readonly first_seq: number; readonly last_seq: number };
}
export interface StoredMessage {
  readonly subject: string;
  readonly seq: number;
  readonly time: string;
  /** Base64. */
  readonly hdrs?: string;
  readonly data?: string;
}

/** JetStream's own error numbers that the engine tells apart. */
export const API_ERROR = {
  streamNotFound: 10_059,
  consumerNotFound: 10_014,
  messageNotFound: 10_037,
  wrongLastSequence: 10_071,
  /** The same while another write of the subject is on its way to the replicas of the stream (2.12). */
  wrongLastSequenceUnknown: 10_164,
} as const;

const decoder = new TextDecoder();

/** One JetStream API call. Rejects with a `RequestError`; code `API` carries the server's own number and text. */
export async function call<R>(port: NatsPort, path: string, body?: unknown, timeoutMs = 5000): Promise<R> {
  const data = body === undefined ? '' : JSON.stringify(body);
  const message = await port.request(`${port.apiPrefix}.${path}`, data, { timeoutMs });
  const reply = JSON.parse(decoder.decode(message.data)) as R & {
    readonly error?: { readonly err_code?: number; readonly description?: string };
  };
  if (reply.error !== undefined) {
    throw new RequestError('API', `${path}: ${reply.error.description ?? 'refused'}`, reply.error.err_code);
  }
  return reply;
}

export const consumerInfo = (port: NatsPort, stream: string, consumer: string): Promise<ConsumerInfo> =>
  call(port, `CONSUMER.INFO.${stream}.${consumer}`);

export const streamInfo = (port: NatsPort, stream: string, timeoutMs?: number): Promise<StreamInfo> =>
  call(port, `STREAM.INFO.${stream}`, undefined, timeoutMs);

/** Takes the pin of a consumer from the client that has it: the next one to pull gets it. */
export const unpin = (port: NatsPort, stream: string, consumer: string): Promise<unknown> =>
  call(port, `CONSUMER.UNPIN.${stream}.${consumer}`, { group: PARTITION_GROUP }, 2000);

/** The server's API level: 1 from nats-server 2.11 on, 0 before. */
export async function apiLevel(port: NatsPort): Promise<number> {
  const { api } = await call<{ readonly api?: { readonly level?: number } }>(port, 'INFO');
  return api?.level ?? 0;
}

/** Streams that store messages of this subject. */
export async function streamsOf(port: NatsPort, subject: string, timeoutMs: number): Promise<readonly string[]> {
  const reply = await call<{ readonly streams?: readonly string[] | null }>(
    port,
    'STREAM.NAMES',
    { subject },
    timeoutMs,
  );
  return reply.streams ?? [];
}
