export { ConfigError, fields, knownSecrets, loadConfig, natsFields, serviceFields, storeFields } from './config.ts';
export {
  engineOptions,
  pipelineFields,
  pipelineTuning,
  type PipelineFields,
  type PipelineTuning,
} from './pipeline-settings.ts';
export { startOpsServer, type OpsServer, type OpsServerSettings, type Readiness } from './ops-server.ts';
export { stopInOrder, type StopStep } from './stop-in-order.ts';
export {
  runService,
  type RunningService,
  type ServiceConfig,
  type ServiceContext,
  type ServiceDefinition,
} from './run.ts';
