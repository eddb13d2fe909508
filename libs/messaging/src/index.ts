export { isBrokerFault } from './broker-fault.ts';
export { openBucket, valueOf, watchBucket, type BucketSpec } from './bucket.ts';
export { createBus, type Bus, type PublishSettings, type Stored, type TracePublish } from './bus.ts';
export { connectNats, connectService, type ConnectionSettings } from './connection.ts';
export { createPipelineHost, type PipelineHost, type PipelineHostSettings } from './host.ts';
export { createLifecycle, lifecycleObserver, type Lifecycle, type LifecycleFact } from './lifecycle.ts';
export { jobIdOf, stepId } from './message-id.ts';
export { inspect, provision, TopologyDriftError, type Difference, type ProvisionReport } from './provision.ts';
export {
  followSwitchboard,
  openSwitchboard,
  watchSwitchboard,
  type PipelineSwitch,
  type Switchboard,
  type SwitchFollower,
} from './switches.ts';
export { tail, type Tailed } from './tail.ts';
export { topology, type ConsumerSpec, type StreamSpec, type Topology } from './topology.ts';
export { decoder, encode } from './wire.ts';
