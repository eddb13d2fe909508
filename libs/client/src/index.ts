export type {
  Account,
  ApiKey,
  Keys,
  NewApiKey,
  Scope,
  WebhookDelivery,
  WebhookDeliveryPage,
  Webhooks,
  WebhookSecret,
  WebhookTest,
} from './account.ts';
export { dataOf, type Api, type CallOptions, type NewJobOptions } from './api.ts';
export { createClient, type ClientOptions, type NewEmail, type NewUser, type Sluice } from './client.ts';
export {
  ConnectionError,
  IncompleteError,
  isProblem,
  ProblemError,
  SluiceError,
  TimeoutError,
  type Problem,
  type ProblemCode,
} from './errors.ts';
export type { components, operations, paths } from './gen/api.ts';
export type { ConvertOptions, ImageOptions, Images, ImageSource, UploadOptions } from './images.ts';
export {
  isEnded,
  whyWaiting,
  type Job,
  type JobFilter,
  type JobPage,
  type JobRef,
  type JobRequest,
  type Jobs,
  type JobState,
  type WaitOptions,
  type Waiting,
} from './jobs.ts';
export type { RetryOptions, Runtime } from './transport.ts';
export type { OnProgress, UploadProgress } from './upload.ts';
export type { System, SystemView } from './system.ts';
export type { FollowOptions, JobEvent, TimelineEntry, WatchOptions } from './watch.ts';
export {
  verifyWebhook,
  WebhookError,
  type ReceivedWebhook,
  type VerifiedWebhook,
  type VerifyOptions,
} from './webhook.ts';
