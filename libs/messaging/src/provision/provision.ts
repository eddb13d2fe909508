import { jetstreamManager, type JetStreamManager } from '@nats-io/jetstream';
import { errors, type NatsConnection } from '@nats-io/transport-node';
import { apiErrorCode, JS_ERROR } from '../nats/api-error.ts';
import { isOwnValue, isRecorded, judge, provisionedMetadata, type Difference } from './drift.ts';
import { bucketConfig, bucketStream, consumerConfig, streamConfig, type Room, type Settings } from './settings.ts';
import type { ConsumerSpec, Topology } from './specs.ts';
import { takeOver } from './take-over.ts';

/** What a provisioning run did. */
export interface ProvisionReport {
  readonly created: readonly string[];
  readonly updated: readonly Difference[];
  /** What an operator set, and stays. */
  readonly kept: readonly Difference[];
  /** Streams that have fewer replicas or bytes than asked for, because the server has no room for them now. */
  readonly notRaised: readonly Difference[];
  /** Messages that an older version had stored in another stream. */
  readonly moved: readonly Moved[];
}

/** Messages that now lie in the stream that has their subject. */
export interface Moved {
  readonly from: string;
  readonly to: string;
  readonly messages: number;
}

/** What the broker's storage is taken for when neither a setting nor a limit of the account says it: 8 GiB. */
export const DEFAULT_STORE_BYTES = 8 * 2 ** 30;

export interface ProvisionOptions {
  /** Copies of every stream and bucket, on as many servers; 1 when absent. Raises what has fewer, lowers nothing. */
  readonly replicas?: number;
  /**
   * What one server stores at most (its `max_file_store`), which the streams and buckets share. 0 or absent: as much as
   * the account may hold, and {@link DEFAULT_STORE_BYTES} where it has no limit.
   */
  readonly storeBytes?: number;
}

/**
 * The server holds a stream or consumer whose settings differ in a way that no update can change. It is never deleted
 * and made again silently: what it holds would be gone.
 */
export class TopologyDriftError extends Error {
  override readonly name = 'TopologyDriftError';
  readonly code = 'topology_drift';
  readonly differences: readonly Difference[];
  constructor(differences: readonly Difference[], cause?: unknown) {
    super(
      `the server's topology differs from the application's and cannot be updated in place:\n` +
        `${differences.map((d) => `  ${d.where}: ${d.setting} is ${JSON.stringify(d.server)}, wanted ${JSON.stringify(d.wanted)}`).join('\n')}\n` +
        'Drain what the stream holds, then delete it with `nats stream rm` and start again.',
      { cause },
    );
    this.differences = differences;
  }
}

/** The server would not make a stream, bucket or consumer; the message says which setting to change. */
export class ProvisionError extends Error {
  override readonly name = 'ProvisionError';
  readonly code = 'provision_failed';
}

/**
 * Makes the server's streams, buckets and consumers what the topology says: get, compare, update, read back. Safe to run
 * from several processes at once and at every start; a second run changes nothing. What operators may set (see
 * `settings.ts`) stays as they set it, and replicas are never lowered.
 *
 * @throws {Error} when the server is too old for a setting.
 * @throws {TopologyDriftError} when a difference cannot be updated, or a server took an update and did not keep it.
 * @throws {ProvisionError} when something that is missing cannot be made.
 */
export async function provision(
  nc: NatsConnection,
  topology: Topology,
  options: ProvisionOptions = {},
): Promise<ProvisionReport> {
  assertServer(nc, topology);
  const jsm = await jetstreamManager(nc, { checkAPI: false });
  const report = { created: [], updated: [], kept: [], notRaised: [], moved: [] } as {
    created: string[];
    updated: Difference[];
    kept: Difference[];
    notRaised: Difference[];
    moved: Moved[];
  };
  const all = [...entries(jsm, topology, await roomOf(jsm, options))];
  // All at once: a restart, which finds everything as it is to be, waits for one answer and not for a hundred.
  const found = await Promise.all(all.map(({ access }) => access.get()));
  for (const [index, { where, wanted, access, givesUpRoom }] of all.entries()) {
    if (givesUpRoom === true) await giveUpRoom(where, wanted, access);
    // Another gateway that starts beside this one may have made it since.
    await converge(where, wanted, access, (givesUpRoom === true ? undefined : found[index]) ?? (await access.get()));
  }
  for (const spec of topology.streams) {
    if (spec.takesOverFrom === undefined) continue;
    const moved = await takeOver(nc, jsm, spec.takesOverFrom, spec);
    if (moved > 0) report.moved.push({ from: spec.takesOverFrom, to: spec.name, messages: moved });
  }
  return report;

  /** Makes room for the streams that share what this one had for itself: a server reserves the limit of every stream. */
  async function giveUpRoom(where: string, wanted: Settings, access: Access): Promise<void> {
    const current = await access.get();
    if (current === undefined || !isOwnValue(current, 'max_bytes')) return;
    const lower = Number(wanted['max_bytes']);
    if (Number(current['max_bytes']) <= lower) return;
    const { bytes } = (await jsm.streams.info(where)).state;
    if (bytes > lower / 2) return;
    const change = { max_bytes: lower };
    await access.update({ ...change, metadata: provisionedMetadata(where, { ...current, ...change }, wanted) });
    report.updated.push({
      where,
      setting: 'max_bytes',
      server: current['max_bytes'],
      wanted: lower,
      owner: 'application',
    });
  }

  async function converge(
    where: string,
    wanted: Settings,
    access: Access,
    current: Settings | undefined,
  ): Promise<void> {
    if (current === undefined) {
      await access
        .add({ ...wanted, metadata: provisionedMetadata(where, undefined, wanted) })
        .catch((cause: unknown) => {
          throw new ProvisionError(`${where} could not be made: ${reasonOf(cause, wanted)}`, { cause });
        });
      report.created.push(where);
    } else {
      const differences = judge(where, current, wanted);
      const stop = differences.filter(({ action }) => action === 'stop');
      if (stop.length > 0) throw new TopologyDriftError(stop);
      report.kept.push(...differences.filter(({ action }) => action === 'keep'));
      const set = differences.filter(({ action }) => action === 'set');
      const raises = differences.filter(({ action }) => action === 'raise');
      if (set.length + raises.length === 0 && isRecorded(where, current, wanted)) return;
      if (set.length > 0 || !isRecorded(where, current, wanted)) {
        const changes = Object.fromEntries(set.map(({ setting, wanted: value }) => [setting, value]));
        const metadata = provisionedMetadata(where, current, wanted);
        await access.update({ ...changes, metadata }).catch((cause: unknown) => {
          if (!(cause instanceof errors.PermissionViolationError)) throw new TopologyDriftError(set, cause);
          // Without a setting to set it was about the note of what was provisioned, which nothing depends on.
          if (set.length === 0) return;
          const settings = set.map(({ setting }) => setting).join(', ');
          throw new ProvisionError(
            `${where} may not be updated by this identity (${settings}): run \`pnpm provision\` as an operator`,
            { cause },
          );
        });
        report.updated.push(...set);
      }
      // Apart from the rest: a server that has no room for another copy or for more bytes must not be kept from everything
      // else by that.
      for (const raise of raises) {
        const change = { [raise.setting]: raise.wanted };
        const metadata = provisionedMetadata(where, { ...(await access.get()), ...change }, wanted);
        const raised = await access.update({ ...change, metadata }).then(
          () => true,
          () => false,
        );
        (raised ? report.updated : report.notRaised).push(raise);
      }
    }
    // Older servers take settings they do not know and answer as if all were well.
    const left = judge(where, (await access.get()) ?? {}, wanted).filter(
      ({ action }) => action === 'stop' || action === 'set',
    );
    if (left.length > 0) throw new TopologyDriftError(left);
  }
}

/** What is missing or different on the server, without changing anything. */
export async function inspect(
  nc: NatsConnection,
  topology: Topology,
  options: ProvisionOptions = {},
): Promise<readonly Difference[]> {
  const jsm = await jetstreamManager(nc, { checkAPI: false });
  const all = [...entries(jsm, topology, await roomOf(jsm, options))];
  const found = await Promise.all(all.map(({ access }) => access.get()));
  return all.flatMap(({ where, wanted }, index): readonly Difference[] => {
    const current = found[index];
    return current === undefined
      ? [{ where, setting: 'existence', server: 'absent', wanted: 'present', owner: 'application' }]
      : judge(where, current, wanted);
  });
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

interface Entry {
  readonly where: string;
  readonly wanted: Settings;
  readonly access: Access;
  readonly givesUpRoom?: boolean | undefined;
}

/** What there is to share: the least of what the server, the account and the setting allow for one copy. */
async function roomOf(jsm: JetStreamManager, { replicas = 1, storeBytes = 0 }: ProvisionOptions): Promise<Room> {
  const { limitBytes } = await accountStorage(jsm, replicas);
  const room = [storeBytes, limitBytes].filter((bytes) => bytes > 0);
  return { replicas, storeBytes: room.length === 0 ? DEFAULT_STORE_BYTES : Math.min(...room) };
}

/**
 * Bytes that one copy of everything in the account takes, and may take; 0 for no limit.
 *
 * @param replicas Copies of every stream. An account counts each of them, a tier of an account counts one.
 */
export async function accountStorage(
  jsm: JetStreamManager,
  replicas: number,
): Promise<{ readonly usedBytes: number; readonly limitBytes: number }> {
  const account = await jsm.getAccountInfo();
  const tier = account.tiers?.[`R${replicas}`];
  const { storage, limits } = tier ?? account;
  const copies = tier === undefined ? replicas : 1;
  return { usedBytes: storage / copies, limitBytes: Math.max(0, Math.floor(limits.max_storage / copies)) };
}

function* entries(jsm: JetStreamManager, topology: Topology, room: Room): Generator<Entry> {
  for (const spec of topology.streams) {
    const { name, givesUpRoom } = spec;
    yield { where: name, wanted: streamConfig(spec, room), access: streamAccess(jsm, name), givesUpRoom };
    for (const consumer of spec.consumers) {
      const where = `${spec.name}/${consumer.name}`;
      yield { where, wanted: consumerConfig(consumer), access: consumerAccess(jsm, spec.name, consumer) };
    }
  }
  for (const spec of topology.buckets) {
    const where = bucketStream(spec);
    yield { where, wanted: bucketConfig(spec, room), access: streamAccess(jsm, where) };
  }
}

interface Access {
  get(): Promise<Settings | undefined>;
  add(wanted: Settings): Promise<unknown>;
  update(changes: Settings): Promise<unknown>;
}

const absentAsUndefined = (error: unknown): undefined => {
  const code = apiErrorCode(error);
  if (code === JS_ERROR.streamNotFound || code === JS_ERROR.consumerNotFound) return undefined;
  throw error;
};

const streamAccess = (jsm: JetStreamManager, name: string): Access => ({
  get: () => jsm.streams.info(name).then((info) => ({ ...info.config }), absentAsUndefined),
  add: (wanted) => jsm.streams.add({ ...wanted, name }),
  update: (changes) => jsm.streams.update(name, changes),
});

const consumerAccess = (jsm: JetStreamManager, stream: string, { name, startBehind }: ConsumerSpec): Access => ({
  get: () => jsm.consumers.info(stream, name).then((info) => normalise({ ...info.config }), absentAsUndefined),
  async add(wanted) {
    if (startBehind === undefined) return jsm.consumers.add(stream, withoutEmpty(wanted));
    const { ack_floor } = await jsm.consumers.info(stream, startBehind);
    return jsm.consumers.add(stream, { ...withoutEmpty(wanted), opt_start_seq: ack_floor.stream_seq + 1 });
  },
  update(changes) {
    const update: Record<string, unknown> = { ...changes };
    // A server keeps one filter or the list of them, and refuses both.
    if ('filter_subjects' in changes) update['filter_subject'] = undefined;
    // The client takes no empty list of groups; without the settings the server takes them away.
    if ('priority_groups' in changes)
      Object.assign(update, { priority_groups: undefined, priority_policy: undefined, priority_timeout: undefined });
    return jsm.consumers.update(stream, name, update);
  },
});

/** A server keeps a single filter as `filter_subject`, several as `filter_subjects`. */
function normalise(config: Settings): Settings {
  const single = config['filter_subject'];
  return typeof single === 'string' && single !== '' ? { ...config, filter_subjects: [single] } : config;
}

/** Settings that a server older than the setting would refuse even when they are off. */
const withoutEmpty = (config: Settings): Settings =>
  Object.fromEntries(Object.entries(config).filter(([, value]) => !(Array.isArray(value) && value.length === 0)));

/** Why a server made nothing, and what to change. */
function reasonOf(error: unknown, wanted: Settings): string {
  const text = error instanceof Error ? error.message : String(error);
  switch (apiErrorCode(error)) {
    case JS_ERROR.replicasNotSupported:
    case JS_ERROR.noSuitablePeers:
    case JS_ERROR.insufficientResources:
      return `${text}. It asks for ${String(wanted['num_replicas'])} replicas of ${String(wanted['max_bytes'])} bytes: NATS_REPLICAS must not be more than the servers of the cluster that are up, NATS_STORE_BYTES not more than the max_file_store of each`;
    case JS_ERROR.storageExceeded:
      return `${text}. It asks for ${String(wanted['max_bytes'])} bytes: set NATS_STORE_BYTES to what the server may store (max_file_store), or raise that and the limit of the account`;
    default:
      return text;
  }
}
