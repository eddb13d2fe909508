export { asyncApiDocument, type AsyncApiDocument } from './asyncapi/document.ts';
export { apiErrorCode, isFull, isWrongLastSequence, JS_ERROR } from './nats/api-error.ts';
export { changeEntry, EntryContendedError, writeEntry } from './kv/compare-and-set.ts';
export { followStream, type Follower, type FollowOptions, type StartAt } from './nats/follow-stream.ts';
export { isBrokerFault } from './nats/broker-fault.ts';
export { onceBrokerAnswers } from './nats/once-broker-answers.ts';
export { entriesAfter } from './kv/entries-after.ts';
export { deleteEntry } from './kv/delete-entry.ts';
export { BucketMissingError, createBucket, openBucket, valueOf } from './kv/bucket.ts';
export { directBucket, openDirectBucket, type DirectBucket } from './kv/direct-bucket.ts';
export type { BucketEntry } from './kv/entry.ts';
export { watchBucket, type BucketWatch } from './kv/watch-bucket.ts';
export {
  createBus,
  type BatchMessage,
  type Bus,
  type PublishSettings,
  type Stored,
  type TracePublish,
} from './channels/bus.ts';
export { connectNats, connectService, type ConnectionSettings } from './nats/connection.ts';
export type { Stalled, Stalls } from './channels/stalls.ts';
export { createPipelineHost, type PipelineHost, type PipelineHostSettings } from './pipelines/host.ts';
export {
  announcePresence,
  SILENT_MS,
  watchReplicas,
  type PresenceAnnouncer,
  type ReplicaWatch,
} from './pipelines/presence.ts';
export { createLifecycle, lifecycleObserver, type Lifecycle, type LifecycleFact } from './pipelines/lifecycle.ts';
export { jobIdOf, stepId } from './channels/message-id.ts';
export {
  accountStorage,
  DEFAULT_STORE_BYTES,
  inspect,
  provision,
  ProvisionError,
  TopologyDriftError,
  type ProvisionOptions,
  type ProvisionReport,
} from './provision/provision.ts';
export { describe as describeDifference, type Difference } from './provision/drift.ts';
export { watchTopology, type TopologyWatch } from './provision/watch.ts';
export {
  followPauseState,
  followPauseStateOf,
  openPauseState,
  type PauseEntry,
  type PauseFollower,
  type PauseState,
} from './pipelines/pause-state.ts';
export { restoreStream, SnapshotError, snapshotStream, type StreamSnapshot } from './nats/stream-snapshot.ts';
export { tail, type Tailed } from './channels/tail.ts';
export { bucketStream } from './provision/settings.ts';
export type { StreamInfo } from '@nats-io/jetstream';
export type { BucketSpec, ConsumerSpec } from './provision/specs.ts';
export { buckets } from './topology/buckets.ts';
export { lifetimes, scaledMs } from './topology/lifetimes.ts';
export { topology, topologyOf, type StreamSpec, type Topology } from './topology/topology.ts';
export { homeOf, layoutAt, placesOf, type JobLayout } from './job-partitions/layout.ts';
export { followJobLayouts, jobStreamsNow, readJobLayouts, recordJobLayout } from './job-partitions/recorded.ts';
export { decoder, encode } from './channels/wire.ts';
