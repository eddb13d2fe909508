export { isBrokerFault } from './nats/broker-fault.ts';
export { openBucket, valueOf, watchBucket, type BucketSpec } from './kv/bucket.ts';
export { createBus, type Bus, type PublishSettings, type Stored, type TracePublish } from './channels/bus.ts';
export { connectNats, connectService, type ConnectionSettings } from './nats/connection.ts';
export { createPipelineHost, type PipelineHost, type PipelineHostSettings } from './pipelines/host.ts';
export { createLifecycle, lifecycleObserver, type Lifecycle, type LifecycleFact } from './pipelines/lifecycle.ts';
export { jobIdOf, stepId } from './channels/message-id.ts';
export {
  inspect,
  provision,
  TopologyDriftError,
  type Difference,
  type ProvisionReport,
} from './provision/provision.ts';
export {
  followSwitchboard,
  openSwitchboard,
  watchSwitchboard,
  type PipelineSwitch,
  type Switchboard,
  type SwitchFollower,
} from './pipelines/switches.ts';
export { tail, type Tailed } from './channels/tail.ts';
export type { ConsumerSpec } from './provision/specs.ts';
export { JOB_KEPT_MS, topology, type StreamSpec, type Topology } from './topology/topology.ts';
export { decoder, encode } from './channels/wire.ts';
