import {
  AckPolicy,
  DeliverPolicy,
  DiscardPolicy,
  ReplayPolicy,
  RetentionPolicy,
  StorageType,
} from '@nats-io/jetstream';
import { nanos } from '@nats-io/transport-node';
import type { BucketSpec, ConsumerSpec, StreamSpec } from './specs.ts';

/** The settings of a stream or consumer by the server's own names; durations in nanoseconds. */
export type Settings = Readonly<Record<string, unknown>>;

/**
 * Who decides a setting, and what the provisioner does when the server's value differs from the topology's.
 *
 * - `fixed`: the code depends on it and no update can change it. The start ends with the difference printed.
 * - `application`: the code depends on it. Every start sets it.
 * - `operator`: the topology gives a first value. What an operator set afterwards stays; only a value that the
 *   provisioner set itself follows a new default, and only a value that breaks a promise is replaced.
 * - `room`: as `operator`, and never lowered: what an earlier start gave stays, and is no difference. Where the server has
 *   no room for more, it stays as it is.
 * - `replicas`: raised to what is asked for, never lowered.
 */
export interface SettingRule {
  readonly owner: 'fixed' | 'application' | 'operator' | 'room' | 'replicas';
  readonly why: string;
  /** For settings of operators: whether the server's value breaks what the system promises. */
  readonly breaks?: (server: unknown, wanted: unknown, all: Settings) => boolean;
}

const less = (server: unknown, wanted: unknown): boolean => Number(server ?? 0) < Number(wanted);
const isWork = (all: Settings): boolean => all['retention'] === RetentionPolicy.Workqueue;

/** Who owns which setting of a stream, and of the stream under a bucket. What is not listed is never touched. */
export const streamRules: Readonly<Record<string, SettingRule>> = {
  retention: { owner: 'fixed', why: 'a work queue forgets what was acknowledged, a log keeps it' },
  storage: { owner: 'fixed', why: 'a confirmed publish must survive a restart of the server' },
  description: { owner: 'application', why: 'says what the stream is for' },
  subjects: { owner: 'application', why: 'a subject without a stream loses what is published' },
  discard: { owner: 'application', why: '`new` refuses at the limit; `old` would delete what was accepted' },
  allow_direct: { owner: 'application', why: 'jobs and keys are read by direct get' },
  deny_delete: { owner: 'application', why: 'records of money and of operators stay as written' },
  deny_purge: { owner: 'application', why: 'records of money and of operators stay as written' },
  allow_atomic: { owner: 'application', why: 'batches are stored whole or not at all' },
  allow_msg_ttl: { owner: 'application', why: 'messages carry a lifetime of their own' },
  allow_rollup_hdrs: { owner: 'application', why: 'a purge of a key is a rollup' },
  max_age: {
    owner: 'operator',
    why: 'how long a log is kept; a work queue has none, because an age limit drops unconsumed work silently',
    breaks: (server, _, all) => isWork(all) && Number(server ?? 0) > 0,
  },
  max_msgs: { owner: 'operator', why: 'room for a backlog' },
  max_bytes: { owner: 'room', why: 'a share of `NATS_STORE_BYTES`, so that one full stream leaves room to the others' },
  max_msgs_per_subject: { owner: 'operator', why: 'history of a key; room for the backlog of one account' },
  discard_new_per_subject: {
    owner: 'application',
    why: 'refuses one account; without it the stream would delete its work',
  },
  duplicate_window: {
    owner: 'operator',
    why: 'may be longer; shorter than the retries of a publisher would store a message twice',
    breaks: less,
  },
  num_replicas: { owner: 'replicas', why: '`NATS_REPLICAS` raises it; it is never lowered' },
};

/** Who owns which setting of a consumer. What is not listed is never touched. */
export const consumerRules: Readonly<Record<string, SettingRule>> = {
  ack_policy: { owner: 'fixed', why: 'every message is acknowledged by itself' },
  deliver_policy: {
    owner: 'fixed',
    why: 'work that was stored before the consumer is work, unless another one did it',
  },
  replay_policy: { owner: 'fixed', why: 'messages are handed out as fast as they are asked for' },
  filter_subjects: { owner: 'application', why: 'a subject without a consumer fills its work queue for ever' },
  max_deliver: { owner: 'application', why: '-1: at any other limit the server strands messages silently' },
  backoff: { owner: 'application', why: 'none: it would be added to the delays of the engine' },
  headers_only: {
    owner: 'application',
    why: 'a pipeline that reads bodies gets them, one that does not is spared them',
  },
  priority_groups: { owner: 'application', why: 'none: the engine names no group, so its pulls would be refused' },
  ack_wait: { owner: 'operator', why: 'how soon a crash shows; the engine takes over the value it finds' },
  max_ack_pending: { owner: 'operator', why: 'messages in hand and waiting for a retry, over all replicas' },
  num_replicas: { owner: 'replicas', why: '0: as many as the stream has' },
};

/** What the broker gives: copies of each stream, and bytes for one copy of all of them. */
export interface Room {
  readonly replicas: number;
  readonly storeBytes: number;
}

const maxBytes = (spec: { readonly storeShare: number }, { storeBytes }: Room): number =>
  Math.floor(spec.storeShare * storeBytes);

/** What the topology wants of a stream. */
export function streamConfig(spec: StreamSpec, room: Room): Settings {
  const work = spec.kind === 'work';
  return {
    name: spec.name,
    description: spec.about,
    subjects: [...spec.subjects],
    retention: work ? RetentionPolicy.Workqueue : RetentionPolicy.Limits,
    storage: StorageType.File,
    discard: DiscardPolicy.New,
    max_age: nanos(spec.maxAgeMs),
    max_msgs: spec.maxMessages,
    ...(spec.maxMessagesPerSubject === undefined
      ? {}
      : { max_msgs_per_subject: spec.maxMessagesPerSubject, discard_new_per_subject: true }),
    max_bytes: maxBytes(spec, room),
    duplicate_window: nanos(spec.duplicateWindowMs),
    allow_direct: true,
    ...(spec.appendOnly === true ? { deny_delete: true, deny_purge: true } : {}),
    ...(spec.atomicBatches === true ? { allow_atomic: true } : {}),
    ...(spec.messageTtl === true ? { allow_msg_ttl: true } : {}),
    num_replicas: room.replicas,
  };
}

/** The prefix of the stream under a bucket. */
const BUCKET_PREFIX = 'KV_';

/** The name of the stream under a bucket. */
export const bucketStream = ({ name }: Pick<BucketSpec, 'name'>): string => `${BUCKET_PREFIX}${name}`;

/** What the topology wants of the stream under a bucket, as ADR-8 of NATS describes it. */
export function bucketConfig(spec: BucketSpec, room: Room): Settings {
  return {
    name: bucketStream(spec),
    description: spec.about,
    subjects: [`$KV.${spec.name}.>`],
    retention: RetentionPolicy.Limits,
    storage: StorageType.File,
    // A full bucket refuses: it must not forget a key to remember another.
    discard: DiscardPolicy.New,
    max_age: nanos(spec.ttlMs),
    max_bytes: maxBytes(spec, room),
    max_msgs_per_subject: 1,
    allow_direct: true,
    allow_rollup_hdrs: true,
    num_replicas: room.replicas,
  };
}

/** What the topology wants of a consumer. */
export function consumerConfig(spec: ConsumerSpec): Settings {
  return {
    durable_name: spec.name,
    filter_subjects: [...spec.filterSubjects],
    ack_policy: AckPolicy.Explicit,
    deliver_policy: spec.startBehind === undefined ? DeliverPolicy.All : DeliverPolicy.StartSequence,
    replay_policy: ReplayPolicy.Instant,
    ack_wait: nanos(spec.ackWaitMs),
    max_ack_pending: spec.maxAckPending,
    max_deliver: -1,
    backoff: [],
    headers_only: spec.headersOnly ?? false,
    priority_groups: [],
    num_replicas: 0,
  };
}
