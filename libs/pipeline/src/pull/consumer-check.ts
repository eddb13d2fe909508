import type { ConfigProblem } from '../errors.ts';
import { RequestError } from '../errors.ts';
import { consumerInfo, PARTITION_GROUP, streamInfo, streamsOf } from '../nats/jetstream-api.ts';
import type { ConsumerConfig } from '../nats/jetstream-api.ts';
import type { NatsPort } from '../nats/port.ts';
import { declaredConsumer } from '../config/resolve-spec.ts';
import type { ResolvedSource, ResolvedSpec, SourcePartition } from '../config/resolve-spec.ts';

/** What the engine takes over from the live consumer. */
export interface LiveConsumer {
  /** When the consumer was made: another time means that it, and perhaps its stream, was made again. */
  readonly created?: string | undefined;
  readonly ackWaitMs: number;
  readonly maxBatch: number | undefined;
  readonly maxExpiresMs: number | undefined;
  /** Undefined: unlimited. */
  readonly maxAckPending: number | undefined;
  /** Whether an operator paused it on the server. */
  readonly paused?: boolean;
  /** Messages it has not delivered yet, and messages delivered and not settled, over all replicas. */
  readonly pending?: number;
  readonly ackPending?: number;
  /** Subjects it hands out. */
  readonly filters: string;
  /** How long a client may be silent before the consumer is pinned to another. */
  readonly pinTtlMs?: number | undefined;
}

export interface ConsumerReport {
  readonly problems: readonly ConfigProblem[];
  readonly live: LiveConsumer | undefined;
  /** The stream or consumer does not exist. */
  readonly missing: boolean;
}

const NS_PER_MS = 1_000_000;
const DEFAULT_ACK_WAIT_MS = 30_000;
const DEFAULT_MAX_ACK_PENDING = 1000;

/**
 * Compares the spec with the consumer as it is, and with the consumer as it was at the start when that is given. Nothing
 * is created or changed: two versions of a service that both "fix" a consumer overwrite each other without an error.
 */
export async function checkConsumer<T, D>(
  port: NatsPort,
  spec: ResolvedSpec<T, D>,
  index: number,
  started?: LiveConsumer,
): Promise<ConsumerReport> {
  const source = spec.sources[index] as ResolvedSource;
  const path = `sources[${index}]`;
  try {
    const info = await consumerInfo(port, source.stream, source.consumer);
    const { config, created, paused } = info;
    const live: LiveConsumer = {
      created,
      ackWaitMs: config.ack_wait === undefined ? DEFAULT_ACK_WAIT_MS : config.ack_wait / NS_PER_MS,
      maxBatch: positive(config.max_batch),
      maxAckPending: positive(config.max_ack_pending ?? DEFAULT_MAX_ACK_PENDING),
      maxExpiresMs: positive(config.max_expires === undefined ? undefined : config.max_expires / NS_PER_MS),
      paused: paused === true,
      pending: info.num_pending,
      ackPending: info.num_ack_pending,
      filters: filtersOf(config),
      pinTtlMs: positive(config.priority_timeout === undefined ? undefined : config.priority_timeout / NS_PER_MS),
    };
    const changes = started === undefined ? [] : compareWithStart(config, live, started, paused === true);
    const problems = [...compare(spec, source, config, live), ...changes].map((message) => ({
      path,
      message: `consumer ${source.consumer} on ${source.stream}: ${message}`,
    }));
    return { problems, live, missing: false };
  } catch (error) {
    if (error instanceof RequestError && (error.code === 'API' || error.code === 'NO_RESPONDERS')) {
      return { problems: [{ path, message: error.message }], live: undefined, missing: true };
    }
    throw error;
  }
}

function compare<T, D>(
  spec: ResolvedSpec<T, D>,
  { body, partition }: ResolvedSource,
  config: ConsumerConfig,
  live: LiveConsumer,
): string[] {
  const problems: string[] = [];
  const { flow, ack, retry, work } = spec;
  const capacity =
    work.kind === 'batch' ? flow.concurrency * work.batch.maxSize : flow.concurrency + (flow.prefetch ?? 0);
  const maxAckPending = config.max_ack_pending ?? DEFAULT_MAX_ACK_PENDING;
  if (config.deliver_subject !== undefined && config.deliver_subject !== '') {
    problems.push('is a push consumer; a pull consumer is needed');
  }
  if (config.ack_policy !== 'explicit') problems.push(`ack_policy is ${config.ack_policy ?? 'none'}, must be explicit`);
  if (ack.waitMs !== undefined && ack.waitMs !== live.ackWaitMs) {
    problems.push(`ack_wait is ${live.ackWaitMs} ms, ack.waitMs says ${ack.waitMs}`);
  }
  if (ack.heartbeatMs !== undefined && ack.heartbeatMs > live.ackWaitMs / 3) {
    problems.push(`ack_wait ${live.ackWaitMs} ms is less than three times ack.heartbeatMs ${ack.heartbeatMs}`);
  }
  if (work.kind === 'batch' && work.batch.maxWaitMs >= live.ackWaitMs) {
    problems.push(`ack_wait ${live.ackWaitMs} ms is not more than batch.maxWaitMs ${work.batch.maxWaitMs}`);
  }
  if (config.max_deliver !== undefined && config.max_deliver > 0 && config.max_deliver <= retry.maxAttempts) {
    problems.push(
      `max_deliver is ${config.max_deliver}: the server would strand a message before attempt ${retry.maxAttempts} + 1 can dead-letter it; set -1`,
    );
  }
  if (config.headers_only === true && body === 'full') {
    problems.push('has headers_only: messages come without their bodies; turn it off, or set body: "none"');
  }
  if (config.headers_only !== true && body === 'none') {
    problems.push('has no headers_only, and the source says body: "none"; turn it on');
  }
  if (partition !== undefined) problems.push(...comparePartition(spec, partition, config, live));
  else if (config.priority_groups !== undefined && config.priority_groups.length > 0) {
    problems.push('has priority_groups: pulls that name no group are refused; remove them');
  }
  if (config.backoff !== undefined && config.backoff.length > 0) {
    problems.push('has a backoff list; it adds to every nak delay, remove it');
  }
  if (maxAckPending > 0 && maxAckPending < capacity) {
    problems.push(`max_ack_pending ${maxAckPending} is less than the ${capacity} messages this pipeline may hold`);
  }
  if (live.maxExpiresMs !== undefined && live.maxExpiresMs < flow.expiresMs) {
    problems.push(`max_expires ${live.maxExpiresMs} ms is less than flow.expiresMs ${flow.expiresMs}`);
  }
  return problems;
}

/** A partition is read by one replica at a time only if the server pins its consumer. */
function comparePartition<T, D>(
  { flow }: ResolvedSpec<T, D>,
  { number, count }: SourcePartition,
  config: ConsumerConfig,
  live: LiveConsumer,
): string[] {
  const problems: string[] = [];
  const of = `partition ${number} of ${count}`;
  if (config.priority_policy !== 'pinned_client' || config.priority_groups?.includes(PARTITION_GROUP) !== true) {
    problems.push(
      `reads ${of} and is not pinned: set priority_policy pinned_client and priority_groups [${PARTITION_GROUP}]`,
    );
  } else if (live.pinTtlMs !== undefined && live.pinTtlMs <= flow.expiresMs) {
    problems.push(`priority_timeout ${live.pinTtlMs} ms is not more than flow.expiresMs ${flow.expiresMs}`);
  }
  if (!live.filters.split(', ').every((filter) => filter.startsWith(`${number}.`))) {
    problems.push(`reads ${of} and its filter is ${live.filters}; it must begin with ${number}.`);
  }
  return problems;
}

/** What is no fault at a start and one while a pipeline runs. */
function compareWithStart(
  config: ConsumerConfig,
  live: LiveConsumer,
  started: LiveConsumer,
  paused: boolean,
): string[] {
  const problems: string[] = [];
  if (paused) problems.push(`is paused on the server until ${config.pause_until ?? 'it is resumed'}`);
  if (live.filters !== started.filters) {
    problems.push(`its filter was changed from ${started.filters} to ${live.filters} since the pipeline started`);
  }
  return problems;
}

function filtersOf({ filter_subject: single, filter_subjects: several }: ConsumerConfig): string {
  const filters = several ?? (single === undefined || single === '' ? [] : [single]);
  return filters.length === 0 ? '>' : filters.toSorted().join(', ');
}

const DLQ_TIMEOUT_MS = 2000;

/**
 * Whether dead letters would be stored, and long enough. Without the right to ask (the answer never comes) it is taken
 * on trust.
 */
export async function checkDeadLetters<T, D>(port: NatsPort, spec: ResolvedSpec<T, D>): Promise<ConfigProblem[]> {
  const problems: ConfigProblem[] = [];
  const subjects = new Set(
    spec.sources.map((source) => spec.deadLetter.subject ?? `dlq.${source.stream}.${declaredConsumer(source)}`),
  );
  for (const subject of subjects) {
    try {
      const [stream] = await streamsOf(port, subject, DLQ_TIMEOUT_MS);
      if (stream === undefined) {
        problems.push({
          path: 'deadLetter.subject',
          message: `no stream stores ${subject}; dead letters would have nowhere to go`,
        });
        continue;
      }
      const { config } = await streamInfo(port, stream);
      const maxAgeMs = (config.max_age ?? 0) / NS_PER_MS;
      if (maxAgeMs > 0 && spec.retry.maxMs >= maxAgeMs) {
        problems.push({
          path: 'retry.maxMs',
          message: `${spec.retry.maxMs} ms is not less than the ${maxAgeMs} ms ${stream} keeps dead letters`,
        });
      }
    } catch (error) {
      if (!(error instanceof RequestError)) throw error;
    }
  }
  return problems;
}

const positive = (value: number | undefined): number | undefined =>
  value === undefined || value <= 0 ? undefined : value;
