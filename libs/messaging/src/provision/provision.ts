import {
  AckPolicy,
  DeliverPolicy,
  DiscardPolicy,
  jetstreamManager,
  ReplayPolicy,
  RetentionPolicy,
  StorageType,
  type JetStreamManager,
} from '@nats-io/jetstream';
import { nanos, type NatsConnection } from '@nats-io/transport-node';
import type { ConsumerSpec, StreamSpec, Topology } from './specs.ts';

/** One setting that differs between the topology and the server. */
export interface Difference {
  /** `STREAM` or `STREAM/consumer`. */
  readonly where: string;
  readonly setting: string;
  readonly server: unknown;
  readonly wanted: unknown;
}

/** What a provisioning run did. */
export interface ProvisionReport {
  readonly created: readonly string[];
  readonly updated: readonly Difference[];
}

/**
 * The server holds a stream or consumer whose settings differ in a way that no update can mend. It is never deleted
 * and made again silently: what it holds would be gone.
 */
export class TopologyDriftError extends Error {
  override readonly name = 'TopologyDriftError';
  readonly code = 'topology_drift';
  readonly differences: readonly Difference[];
  constructor(differences: readonly Difference[], cause?: unknown) {
    super(
      `the server's topology differs from ours and cannot be updated in place:\n${differences.map(line).join('\n')}\n` +
        'Drain what the stream holds, then delete it with `nats stream rm` and start again.',
      { cause },
    );
    this.differences = differences;
  }
}

const line = (d: Difference): string =>
  `  ${d.where}: ${d.setting} is ${JSON.stringify(d.server)}, wanted ${JSON.stringify(d.wanted)}`;

/**
 * Makes the server's streams and consumers what the topology says: get, diff, update, read back. Safe to run from
 * several processes at once and at every start; a second run changes nothing.
 *
 * @throws {Error} when the server is too old for a setting.
 * @throws {TopologyDriftError} when a difference cannot be updated, or a server took an update and did not keep it.
 */
export async function provision(
  nc: NatsConnection,
  topology: Topology,
  options: { readonly replicas?: number } = {},
): Promise<ProvisionReport> {
  assertServer(nc, topology);
  const jsm = await jetstreamManager(nc, { checkAPI: false });
  const created: string[] = [];
  const updated: Difference[] = [];
  for (const spec of topology.streams) {
    const config = streamConfig(spec, options.replicas ?? 1);
    await converge(spec.name, config, ['retention', 'storage', 'deny_delete', 'deny_purge'], streamAccess(jsm, spec));
    for (const consumer of spec.consumers) {
      const wanted = consumerConfig(consumer, config.num_replicas);
      const fixed = ['ack_policy', 'deliver_policy', 'replay_policy'];
      await converge(`${spec.name}/${consumer.name}`, wanted, fixed, consumerAccess(jsm, spec.name, consumer.name));
    }
  }
  return { created, updated };

  async function converge(where: string, wanted: Settings, fixed: readonly string[], access: Access): Promise<void> {
    const current = await access.get();
    if (current === undefined) {
      await access.add(wanted);
      created.push(where);
    } else {
      const differences = diff(where, current, wanted);
      const stuck = differences.filter((d) => fixed.includes(d.setting));
      if (stuck.length > 0) throw new TopologyDriftError(stuck);
      if (differences.length === 0) return;
      await access.update(wanted).catch((cause: unknown) => {
        throw new TopologyDriftError(differences, cause);
      });
      updated.push(...differences);
    }
    // Older servers take settings they do not know and answer as if all were well.
    const left = diff(where, (await access.get()) ?? {}, wanted);
    if (left.length > 0) throw new TopologyDriftError(left);
  }
}

/**
 * What is missing or different on the server, without changing anything: what a readiness check asks.
 */
export async function inspect(nc: NatsConnection, topology: Topology): Promise<readonly Difference[]> {
  const jsm = await jetstreamManager(nc, { checkAPI: false });
  const found: Difference[] = [];
  const compare = async (where: string, wanted: Settings, access: Access): Promise<void> => {
    const current = await access.get();
    if (current === undefined) found.push({ where, setting: 'existence', server: 'absent', wanted: 'present' });
    else found.push(...diff(where, current, wanted));
  };
  for (const spec of topology.streams) {
    const { num_replicas: _, ...config } = streamConfig(spec, 1);
    await compare(spec.name, config, streamAccess(jsm, spec));
    for (const consumer of spec.consumers) {
      const { num_replicas: _, ...wanted } = consumerConfig(consumer, 1);
      await compare(`${spec.name}/${consumer.name}`, wanted, consumerAccess(jsm, spec.name, consumer.name));
    }
  }
  return found;
}

/** Batches came with nats-server 2.12.0; from 2.12.1 on they recognise message ids. */
const BATCHES_SINCE = [2, 12, 1] as const;

/** An older server would take `allow_atomic`, not know it, and store every message of a batch by itself. */
function assertServer(nc: NatsConnection, topology: Topology): void {
  const needs = topology.streams.find(({ atomicBatches }) => atomicBatches === true);
  const version = nc.info?.version ?? '';
  const parts = version.split('-')[0]!.split('.').map(Number);
  const older = BATCHES_SINCE.map((least, i) => (parts[i] ?? 0) - least).find((difference) => difference !== 0);
  if (needs === undefined || older === undefined || older > 0) return;
  throw new Error(
    `nats-server is ${version}, and stream ${needs.name} needs ${BATCHES_SINCE.join('.')} or newer: upgrade the server`,
  );
}

type Settings = Readonly<Record<string, unknown>>;

interface Access {
  get(): Promise<Settings | undefined>;
  add(wanted: Settings): Promise<unknown>;
  update(wanted: Settings): Promise<unknown>;
}

const ABSENT = new Set([10_059, 10_014]); // stream not found, consumer not found
const absentAsUndefined = (error: unknown): undefined => {
  const code = (error as { code?: unknown }).code;
  if (typeof code === 'number' && ABSENT.has(code)) return undefined;
  throw error;
};

const streamAccess = (jsm: JetStreamManager, spec: StreamSpec): Access => ({
  get: () => jsm.streams.info(spec.name).then((info) => ({ ...info.config }), absentAsUndefined),
  add: (wanted) => jsm.streams.add({ ...wanted, name: spec.name }),
  update: (wanted) => jsm.streams.update(spec.name, wanted),
});

const consumerAccess = (jsm: JetStreamManager, stream: string, name: string): Access => ({
  get: () => jsm.consumers.info(stream, name).then((info) => normalise({ ...info.config }), absentAsUndefined),
  add: (wanted) => jsm.consumers.add(stream, wanted),
  update: (wanted) => jsm.consumers.update(stream, name, wanted),
});

/** A server keeps a single filter as `filter_subject`, several as `filter_subjects`. */
function normalise(config: Settings): Settings {
  const single = config['filter_subject'];
  return typeof single === 'string' && single !== '' ? { ...config, filter_subjects: [single] } : config;
}

function streamConfig(spec: StreamSpec, replicas: number): Settings & { readonly num_replicas: number } {
  return {
    name: spec.name,
    description: spec.about,
    subjects: [...spec.subjects],
    retention: spec.kind === 'work' ? RetentionPolicy.Workqueue : RetentionPolicy.Limits,
    storage: StorageType.File,
    discard: spec.kind === 'work' ? DiscardPolicy.New : DiscardPolicy.Old,
    max_age: nanos(spec.maxAgeMs),
    max_msgs: spec.maxMessages,
    max_bytes: -1,
    duplicate_window: nanos(spec.duplicateWindowMs),
    allow_direct: true,
    deny_delete: spec.appendOnly ?? false,
    deny_purge: spec.appendOnly ?? false,
    allow_atomic: spec.atomicBatches ?? false,
    allow_msg_ttl: spec.messageTtl ?? false,
    num_replicas: replicas,
  };
}

function consumerConfig(spec: ConsumerSpec, replicas: number): Settings & { readonly num_replicas: number } {
  return {
    durable_name: spec.name,
    filter_subjects: [...spec.filterSubjects],
    ack_policy: AckPolicy.Explicit,
    deliver_policy: DeliverPolicy.All,
    replay_policy: ReplayPolicy.Instant,
    ack_wait: nanos(spec.ackWaitMs),
    max_ack_pending: spec.maxAckPending,
    max_deliver: -1,
    num_replicas: replicas,
  };
}

function diff(where: string, server: Settings, wanted: Settings): Difference[] {
  return Object.entries(wanted)
    .filter(([setting, value]) => !same(server[setting] ?? absentValue(value), value))
    .map(([setting, value]) => ({ where, setting, server: server[setting], wanted: value }));
}

/** Servers leave out settings that are off. */
const absentValue = (wanted: unknown): unknown =>
  typeof wanted === 'boolean' ? false : typeof wanted === 'number' ? 0 : undefined;

const same = (a: unknown, b: unknown): boolean => JSON.stringify(sorted(a)) === JSON.stringify(sorted(b));
const sorted = (value: unknown): unknown => (Array.isArray(value) ? value.map(String).sort() : value);
