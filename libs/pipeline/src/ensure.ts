import { PipelineConfigError, RequestError } from './errors.ts';
import type { ConfigProblem } from './errors.ts';
import { declaredConsumer } from './config/resolve-spec.ts';
import type { ResolvedSource, ResolvedSpec, SourcePartition } from './config/resolve-spec.ts';
import { checkPartitions } from './partitions/server-check.ts';
import { isCovered, partitionTransform } from './partitions/subject-transform.ts';
import { API_ERROR, call, consumerInfo, PARTITION_GROUP, streamInfo, streamsOf } from './nats/jetstream-api.ts';
import type { NatsPort } from './nats/port.ts';

/** What a stream that is missing is made with. */
export interface EnsureOptions {
  /** Subjects of the streams to read: a list for all of them, or one per stream. */
  readonly subjects: readonly string[] | Readonly<Record<string, readonly string[]>>;
  /** `workqueue`: a message is gone when it is acknowledged. `limits` and `interest` keep it. */
  readonly retention?: 'workqueue' | 'interest' | 'limits';
  /** By consumer: the subjects it reads; all of its stream's when absent. A work queue wants them disjoint. */
  readonly filters?: Readonly<Record<string, readonly string[]>>;
  /** Copies in a cluster; 1 when absent. */
  readonly replicas?: number;
  /**
   * With partitions: how long one stays with a replica that was killed or hangs, in milliseconds; 10,000 when absent. A
   * process that does not run for so long loses its partitions.
   */
  readonly pinTtlMs?: number;
}

/** What was made; the rest was there. */
export interface EnsureReport {
  readonly created: readonly string[];
}

const NS = 1_000_000;
const DEFAULT_ACK_WAIT_MS = 30_000;
const DEFAULT_MAX_ACK_PENDING = 1000;
const DEFAULT_PIN_TTL_MS = 10_000;
/** A dead letter that was not redriven within this is dropped. */
const DEAD_LETTER_AGE_MS = 30 * 86_400_000;
const DEAD_LETTER_BYTES = 1_073_741_824;

/**
 * Makes the streams, consumers and the dead letters' stream of a pipeline that are missing. What is there is compared and
 * never changed: two versions of a service that both rewrite a consumer overwrite each other. Throws a
 * `PipelineConfigError` with every difference, before anything is made.
 */
export async function ensure<T, D>(
  nats: NatsPort,
  spec: ResolvedSpec<T, D>,
  options: EnsureOptions,
): Promise<EnsureReport> {
  const problems: ConfigProblem[] = [...(await checkPartitions(nats, spec))];
  const missing: { readonly what: string; readonly make: () => Promise<unknown> }[] = [];
  const streams = new Map(spec.sources.map((source) => [source.stream, source]));
  for (const [stream, { declared: index, partition }] of streams) {
    const subjects = subjectsOf(stream, options);
    const found = await orMissing(streamInfo(nats, stream), API_ERROR.streamNotFound);
    if (found === undefined) {
      if (subjects.length === 0) problems.push({ path: 'subjects', message: `name the subjects of stream ${stream}` });
      const retention = options.retention ?? 'workqueue';
      const basics = { name: stream, subjects, retention, storage: 'file', num_replicas: options.replicas ?? 1 };
      const config = partition === undefined ? basics : { ...basics, subject_transform: transformOf(partition) };
      const outside = subjects.filter((subject) => partition !== undefined && !isCovered(subject, partition.by));
      if (outside.length > 0) {
        const message = `${partition?.by ?? ''} leaves out ${outside.join(', ')}: no consumer would read it`;
        problems.push({ path: `sources[${index}].partitionBy`, message });
      }
      missing.push({ what: `stream ${stream}`, make: () => call(nats, `STREAM.CREATE.${stream}`, config) });
      continue;
    }
    const without = subjects.filter((subject) => found.config.subjects?.includes(subject) !== true);
    if (without.length > 0) {
      const message = `stream ${stream} stores ${(found.config.subjects ?? []).join(', ')}, not ${without.join(', ')}`;
      problems.push({ path: `sources[${index}].stream`, message });
    }
  }
  for (const source of spec.sources) {
    const { stream, consumer } = source;
    const found = await orMissing(
      consumerInfo(nats, stream, consumer),
      API_ERROR.consumerNotFound,
      API_ERROR.streamNotFound,
    );
    if (found !== undefined) continue;
    const config = consumerConfig(spec, source, options);
    const body = { stream_name: stream, config, action: 'create' };
    const path = `CONSUMER.CREATE.${stream}.${consumer}`;
    missing.push({ what: `consumer ${consumer} on ${stream}`, make: () => call(nats, path, body) });
  }
  for (const subject of deadLetterSubjects(spec)) {
    if ((await streamsOf(nats, subject, 5000)).length > 0) continue;
    const name = `dlq-${spec.name}-${subject.replaceAll(/[^A-Za-z0-9_-]/g, '-')}`.slice(0, 255);
    // Bounded, and not a work queue: dead letters are looked at before they are redriven.
    const bounds = { max_age: DEAD_LETTER_AGE_MS * NS, max_bytes: DEAD_LETTER_BYTES, discard: 'old' };
    const config = { name, subjects: [subject], retention: 'limits', storage: 'file', ...bounds };
    const sized = { ...config, num_replicas: options.replicas ?? 1 };
    missing.push({ what: `stream ${name}`, make: () => call(nats, `STREAM.CREATE.${name}`, sized) });
  }
  if (problems.length > 0) throw new PipelineConfigError(`pipeline ${spec.name} does not fit the server`, problems);
  for (const { make } of missing) await make();
  return { created: missing.map(({ what }) => what) };
}

function consumerConfig<T, D>(
  { flow, work, ack }: ResolvedSpec<T, D>,
  source: ResolvedSource,
  options: EnsureOptions,
): object {
  const { consumer, body, partition } = source;
  const asked = options.filters?.[declaredConsumer(source)];
  // The stream puts the partition in front of every subject.
  const filters = partition === undefined ? asked : (asked ?? ['>']).map((filter) => `${partition.number}.${filter}`);
  const held = work.kind === 'batch' ? flow.concurrency * work.batch.maxSize : flow.concurrency + (flow.prefetch ?? 0);
  return {
    name: consumer,
    durable_name: consumer,
    ack_policy: 'explicit',
    ack_wait: (ack.waitMs ?? DEFAULT_ACK_WAIT_MS) * NS,
    // The server would give up without a word; the engine counts, and dead-letters.
    max_deliver: -1,
    // For several replicas, and for retries that are parked.
    max_ack_pending: Math.max(DEFAULT_MAX_ACK_PENDING, 4 * held),
    ...(body === 'none' ? { headers_only: true } : {}),
    ...(filters === undefined ? {} : { filter_subjects: filters }),
    ...(partition === undefined
      ? {}
      : {
          priority_groups: [PARTITION_GROUP],
          priority_policy: 'pinned_client',
          priority_timeout: (options.pinTtlMs ?? DEFAULT_PIN_TTL_MS) * NS,
        }),
  };
}

const subjectsOf = (stream: string, { subjects }: EnsureOptions): readonly string[] =>
  isList(subjects) ? subjects : (subjects[stream] ?? []);

const isList = (value: EnsureOptions['subjects']): value is readonly string[] => Array.isArray(value);

const deadLetterSubjects = <T, D>({ sources, deadLetter }: ResolvedSpec<T, D>): ReadonlySet<string> =>
  new Set(sources.map((source) => deadLetter.subject ?? `dlq.${source.stream}.${declaredConsumer(source)}`));

const transformOf = ({ count, by }: SourcePartition): object => partitionTransform(count, by);

/** The answer, or undefined when the server says with one of these numbers that it does not exist. */
async function orMissing<R>(answer: Promise<R>, ...missing: readonly number[]): Promise<R | undefined> {
  try {
    return await answer;
  } catch (error) {
    if (error instanceof RequestError && missing.includes(error.apiCode ?? 0)) return undefined;
    throw error;
  }
}
