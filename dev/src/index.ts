export { chartDigest, chartFolder, findHelm, MANIFEST_FLAGS, manifestFiles, renderChart } from './kubernetes/chart.ts';
export { NoDebianPackageError, withDebianPackage } from './debian-package.ts';
export { toolCacheDir } from './nats/cache.ts';
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
export { startNatsCluster, type NatsCluster } from './nats/cluster.ts';
export { newNatsIdentity, type NatsIdentity } from './nats/identity.ts';
export { MINIMUM_NATS_VERSION } from './nats/version.ts';
export { freePort } from './free-port.ts';
export { findPostgres, startPostgres, type PostgresProcess } from './postgres-server.ts';
export { onParentExit } from './parent-exit.ts';
export { WORK_NICENESS, setNice } from './priority.ts';
export { findPortHolder, PortInUseError, type PortHolder } from './port-holder.ts';
export type { S3Fault, S3FaultEffect, S3FaultRule } from './s3/fault.ts';
export { startS3, type S3Server, type StartS3Options } from './s3/server.ts';
export type { MailAddress, Mailbox, StoredMail } from './smtp/mailbox.ts';
export {
  startScriptedSmtp,
  type ScriptedMail,
  type ScriptedSmtp,
  type SmtpAction,
  type SmtpScript,
  type SmtpStage,
} from './smtp/scripted.ts';
export { startSmtpSink, type SmtpSink, type StartSmtpSinkOptions } from './smtp/sink.ts';
export {
  startFaultProxy,
  type FaultProxy,
  type FaultProxyOptions,
  type ProxyToxics,
  type Toxics,
} from './faults/proxy.ts';
export { printTrace, type PrintTraceOptions } from './otlp/print-trace.ts';
export { startOtlpReceiver, type OtlpReceiver, type OtlpReceiverOptions } from './otlp/receiver.ts';
export { readSpans, type LogRecord, type SpanRecord } from './otlp/otlp-json.ts';
export { readTraces } from './otlp/otlp-protobuf.ts';
export { renderTraceTree } from './otlp/trace-tree.ts';
export { startService, type ServiceProcess } from './service-process.ts';
export { serviceNames, startStack, type DevPorts, type ServiceName, type Stack, type StackOptions } from './stack.ts';
