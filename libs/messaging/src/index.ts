export { openBucket, type BucketSpec } from './bucket.ts';
export { createBus, type Bus, type PublishSettings, type Stored, type TracePublish } from './bus.ts';
export { connectNats, type ConnectionSettings } from './connection.ts';
export { createLifecycle, lifecycleObserver, type Lifecycle, type LifecycleFact } from './lifecycle.ts';
export { jobIdOf, stepId } from './message-id.ts';
export { inspect, provision, TopologyDriftError, type Difference, type ProvisionReport } from './provision.ts';
export { tail, type Tailed } from './tail.ts';
export { topology, type ConsumerSpec, type StreamSpec, type Topology } from './topology.ts';
export { decoder, encode } from './wire.ts';
