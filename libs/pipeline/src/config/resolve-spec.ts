import { PipelineConfigError } from '../errors.ts';
import type { ConfigProblem } from '../errors.ts';
import * as options from './options.ts';
import { resolveLimits } from './resolve-limits.ts';
import type { ResolvedLimits } from './resolve-limits.ts';
import { isRecord, resolve } from './schema.ts';
import type { Resolved } from './schema.ts';
import type { AttemptOptions, BatchHandler, BatchOptions, Handler, IdempotencyOptions, PipelineSpec } from './spec.ts';
import type { AttemptStore } from '../attempts/store.ts';
import type { Message } from '../process/message.ts';

/** A consumer to read from. A source with partitions becomes one for each. */
export interface ResolvedSource {
  readonly stream: string;
  readonly consumer: string;
  readonly weight: number;
  readonly reserve: number;
  readonly body: 'full' | 'none';
  /** Its place in the list of sources of the spec. */
  readonly declared: number;
  readonly partition: SourcePartition | undefined;
}
/** Which part of a stream a consumer reads. */
export interface SourcePartition {
  readonly number: number;
  readonly count: number;
  /** The consumer as the spec names it, without the number. */
  readonly consumer: string;
  readonly by: string;
}

/** The consumer as the spec names it: in dead letters, metrics and what handlers see. */
export const declaredConsumer = ({ consumer, partition }: ResolvedSource): string => partition?.consumer ?? consumer;
export type ResolvedRate = Resolved<typeof options.rateFields>;

/** A spec with every default filled in and the middleware applied. */
export interface ResolvedSpec<T, D> {
  readonly name: string;
  readonly sources: readonly [ResolvedSource, ...ResolvedSource[]];
  readonly decode: (bytes: Uint8Array, subject: string) => T;
  readonly flow: Omit<Resolved<typeof options.flowFields>, 'orderBy'>;
  readonly orderBy: ((message: Message<T>) => string | undefined) | undefined;
  readonly rate: ResolvedRate | undefined;
  readonly limits: ResolvedLimits<T> | undefined;
  readonly ack: Resolved<typeof options.ackFields>;
  readonly timeout: Resolved<typeof options.timeoutFields>;
  readonly retry: Resolved<typeof options.retryFields>;
  readonly deadLetter: Resolved<typeof options.deadLetterFields>;
  readonly idempotency:
    | (Omit<Resolved<typeof options.idempotencyFields>, 'key'> & Pick<IdempotencyOptions<T>, 'key' | 'store'>)
    | undefined;
  readonly attempts: (Resolved<typeof options.attemptFields> & Pick<AttemptOptions, 'store'>) | undefined;
  readonly breaker: Resolved<typeof options.breakerFields> | undefined;
  readonly delayed: Resolved<typeof options.delayedFields> | undefined;
  readonly onDeadLetter: PipelineSpec<T, D>['onDeadLetter'];
  readonly drainTimeoutMs: number;
  readonly work:
    | { readonly kind: 'single'; readonly handle: Handler<T, D> }
    | {
        readonly kind: 'batch';
        readonly handle: BatchHandler<T, D>;
        readonly batch: Omit<Resolved<typeof options.batchFields>, 'by'> & Pick<BatchOptions<T>, 'by'>;
      };
}

const GROUPS = [
  'sources',
  'flow',
  'limits',
  'ack',
  'timeout',
  'retry',
  'deadLetter',
  'idempotency',
  'attempts',
  'breaker',
  'delayed',
] as const;
const WORK = ['handle', 'handleBatch', 'batch', 'use'] as const;

/** Fills in the defaults, or throws one `PipelineConfigError` with every problem. */
export function resolveSpec<T, D>(spec: PipelineSpec<T, D>): ResolvedSpec<T, D> {
  const problems: ConfigProblem[] = [];
  const raw: Readonly<Record<string, unknown>> = isRecord(spec) ? spec : {};
  const pick = (names: readonly string[]): Record<string, unknown> =>
    Object.fromEntries(Object.entries(raw).filter(([name]) => names.includes(name)));
  const known = [...Object.keys(options.topFields), ...GROUPS, ...WORK];
  for (const name of Object.keys(raw)) {
    if (!known.includes(name)) {
      problems.push({ path: name, message: `is not an option; known: ${known.join(', ')}` });
    }
  }

  const top = resolve(options.topFields, pick(Object.keys(options.topFields)), '', problems);
  const { declared, sources } = resolveSources(raw['sources'], problems);
  const { rate: rawRate, ...rawFlow } = isRecord(raw['flow']) ? raw['flow'] : {};
  const flow = resolve(options.flowFields, raw['flow'] === undefined ? undefined : rawFlow, 'flow', problems);
  if (raw['flow'] !== undefined && !isRecord(raw['flow']))
    problems.push({ path: 'flow', message: 'must be an object' });
  const rate = rawRate === undefined ? undefined : resolve(options.rateFields, rawRate, 'flow.rate', problems);
  const limits = resolveLimits<T>(raw['limits'], top.name, problems);
  const ack = resolve(options.ackFields, raw['ack'], 'ack', problems);
  const timeout = resolve(options.timeoutFields, raw['timeout'], 'timeout', problems);
  const retry = resolve(options.retryFields, raw['retry'], 'retry', problems);
  const deadLetter = resolve(options.deadLetterFields, raw['deadLetter'], 'deadLetter', problems);
  const breaker =
    raw['breaker'] === undefined ? undefined : resolve(options.breakerFields, raw['breaker'], 'breaker', problems);
  const delayed =
    raw['delayed'] === undefined ? undefined : resolve(options.delayedFields, raw['delayed'], 'delayed', problems);
  const idempotency = resolveIdempotency<T>(raw['idempotency'], problems);
  const attempts = resolveAttempts(raw['attempts'], problems);
  const work = resolveWork<T, D>(raw, problems);

  crossCheck();
  if (problems.length > 0) {
    throw new PipelineConfigError(`pipeline ${typeof raw['name'] === 'string' ? raw['name'] : '(unnamed)'}`, problems);
  }
  return {
    name: top.name,
    sources,
    decode: top.decode as ResolvedSpec<T, D>['decode'],
    flow,
    orderBy: flow.orderBy as ResolvedSpec<T, D>['orderBy'],
    rate,
    limits,
    ack,
    timeout,
    retry,
    deadLetter,
    idempotency,
    attempts,
    breaker,
    delayed,
    onDeadLetter: top.onDeadLetter as PipelineSpec<T, D>['onDeadLetter'],
    drainTimeoutMs: top.drainTimeoutMs,
    work,
  };

  function crossCheck(): void {
    const say = (path: string, message: string): void => void problems.push({ path, message });
    const { waitMs, heartbeatMs } = ack;
    if (heartbeatMs !== undefined && waitMs !== undefined && heartbeatMs > waitMs / 3) {
      say('ack.heartbeatMs', `must be at most a third of waitMs (${Math.floor(waitMs / 3)}), got ${heartbeatMs}`);
    }
    if (retry.maxMs < retry.baseMs) say('retry.maxMs', `must be at least baseMs (${retry.baseMs}), got ${retry.maxMs}`);
    // nats-server refuses a pull whose heartbeat is more than half of its life.
    if (flow.expiresMs < 2 * flow.idleHeartbeatMs) {
      say('flow.expiresMs', `must be at least twice idleHeartbeatMs (${flow.idleHeartbeatMs}), got ${flow.expiresMs}`);
    }
    if (flow.concurrency < declared) {
      say('flow.concurrency', `must be at least the number of sources (${declared}), got ${flow.concurrency}`);
    }
    for (const { partition, declared: index, reserve } of sources) {
      if (partition === undefined || partition.number > 0) continue;
      const path = `sources[${index}].partitions`;
      if (work.kind === 'batch')
        say(path, 'cannot be combined with batches: batches of one key would run side by side');
      if (reserve > 0) say(path, 'cannot be combined with reserve');
    }
    if (limits !== undefined) {
      if (rate !== undefined) say('flow.rate', 'cannot be combined with limits; use limits.all');
      if (work.kind === 'batch') say('limits', 'cannot be combined with batches: a batch is of many keys');
      if (limits.shared !== undefined && limits.key !== undefined && attempts === undefined) {
        say('attempts.store', 'is required with limits.key and limits.shared, to tell deferrals from failed runs');
      }
    }
    if (work.kind === 'batch') {
      if (flow.orderBy !== undefined) say('flow.orderBy', 'cannot be combined with batches; use batch.by');
      if (waitMs !== undefined && work.batch.maxWaitMs >= waitMs) {
        say('batch.maxWaitMs', `must be less than waitMs (${waitMs}), got ${work.batch.maxWaitMs}`);
      }
      if (sources.some(({ reserve }) => reserve > 0))
        say('sources', 'cannot reserve slots for a source with batches: a batch may hold messages of several');
      if (flow.prefetch !== undefined)
        say('flow.prefetch', 'has no meaning with batches: the open batches are the buffer');
    }
  }
}

function resolveSources(
  raw: unknown,
  problems: ConfigProblem[],
): { readonly declared: number; readonly sources: [ResolvedSource, ...ResolvedSource[]] } {
  const list: readonly unknown[] = Array.isArray(raw) ? raw : [];
  if (list.length === 0) problems.push({ path: 'sources', message: 'must list at least one source' });
  const resolved = list.map((source, index) => resolve(options.sourceFields, source, `sources[${index}]`, problems));
  const seen = new Set<string>();
  const sources = resolved.flatMap(divide);
  for (const { stream, consumer, declared } of sources) {
    const name = `${stream}/${consumer}`;
    if (seen.has(name)) problems.push({ path: `sources[${declared}]`, message: `repeats ${name}` });
    seen.add(name);
  }
  // Empty only together with a problem, which throws before it is read.
  return { declared: resolved.length, sources: sources as [ResolvedSource, ...ResolvedSource[]] };
}

/** The consumers of a source: one, or one for each partition, which share its weight. */
function divide(source: Resolved<typeof options.sourceFields>, declared: number): ResolvedSource[] {
  const { partitions, partitionBy: by, consumer, weight, ...rest } = source;
  if (typeof partitions !== 'number') return [{ ...rest, consumer, weight, declared, partition: undefined }];
  return Array.from({ length: partitions }, (_, number) => ({
    ...rest,
    consumer: `${consumer}-${number}`,
    weight: weight / partitions,
    declared,
    partition: { number, count: partitions, consumer, by },
  }));
}

function resolveIdempotency<T>(raw: unknown, problems: ConfigProblem[]): ResolvedSpec<T, never>['idempotency'] {
  if (raw === undefined) return undefined;
  const { store, ...rest } = isRecord(raw) ? raw : {};
  const fields = resolve(options.idempotencyFields, isRecord(raw) ? rest : raw, 'idempotency', problems);
  if (!isRecord(store) || typeof store['begin'] !== 'function') {
    problems.push({ path: 'idempotency.store', message: 'must be an IdempotencyStore' });
  }
  return { ...fields, store, key: fields.key } as ResolvedSpec<T, never>['idempotency'];
}

function resolveAttempts(raw: unknown, problems: ConfigProblem[]): ResolvedSpec<never, never>['attempts'] {
  if (raw === undefined) return undefined;
  const { store, ...rest } = isRecord(raw) ? raw : {};
  const fields = resolve(options.attemptFields, isRecord(raw) ? rest : raw, 'attempts', problems);
  if (!isRecord(store) || typeof store['read'] !== 'function') {
    problems.push({ path: 'attempts.store', message: 'must be an AttemptStore' });
  }
  return { ...fields, store } as ResolvedSpec<never, never>['attempts'];
}

/** The spec with an attempt store, unless it names its own. */
export function withAttemptStore<T, D>(spec: ResolvedSpec<T, D>, store: AttemptStore | undefined): ResolvedSpec<T, D> {
  if (store === undefined || spec.attempts !== undefined) return spec;
  return { ...spec, attempts: resolveAttempts({ store }, []) };
}

function resolveWork<T, D>(
  raw: Readonly<Record<string, unknown>>,
  problems: ConfigProblem[],
): ResolvedSpec<T, D>['work'] {
  const say = (path: string, message: string): void => void problems.push({ path, message });
  const { handle, handleBatch, batch, use } = raw;
  if ((handle === undefined) === (handleBatch === undefined)) say('handle', 'give either handle or handleBatch');
  if (handle !== undefined && typeof handle !== 'function') say('handle', 'must be a function');
  if (handleBatch !== undefined && typeof handleBatch !== 'function') say('handleBatch', 'must be a function');
  const layers: readonly unknown[] = Array.isArray(use) ? use : [];
  const usable = use === undefined || (Array.isArray(use) && layers.every((layer) => typeof layer === 'function'));
  if (!usable) say('use', 'must be a list of functions');
  // The first in the list is the outermost.
  const wrap = (handler: unknown): unknown =>
    usable
      ? (layers as readonly ((next: unknown) => unknown)[]).reduceRight((next, layer) => layer(next), handler)
      : handler;
  if (handleBatch !== undefined) {
    if (batch === undefined) say('batch', 'is required with handleBatch');
    const batchOptions = resolve(options.batchFields, batch ?? { maxSize: 1, maxWaitMs: 0 }, 'batch', problems);
    return { kind: 'batch', handle: wrap(handleBatch), batch: batchOptions } as ResolvedSpec<T, D>['work'];
  }
  if (batch !== undefined) say('batch', 'needs handleBatch');
  return { kind: 'single', handle: wrap(handle) as Handler<T, D> };
}
