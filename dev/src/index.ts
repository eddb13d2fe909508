export {
  findNats,
  findNatsProgram,
  NATS_IMAGE,
  NatsUnavailableError,
  type FindNatsOptions,
  type NatsFound,
  type NatsProgram,
} from './nats/find.ts';
export { NatsStartError, startNats, type NatsProcess, type StartNatsOptions } from './nats/server.ts';
export { MINIMUM_NATS_VERSION } from './nats/version.ts';
export { findPortHolder, PortInUseError, type PortHolder } from './port-holder.ts';
export type { S3Fault, S3FaultEffect, S3FaultRule } from './s3/fault.ts';
export { startS3, type S3Server, type StartS3Options } from './s3/server.ts';
