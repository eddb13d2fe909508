export {
  channels,
  isJobStream,
  isSubjectToken,
  jobChannelOf,
  jobChannels,
  MAX_JOB_PARTITIONS,
  subject,
  templateOf,
  type Channel,
  type JobStream,
  type StreamName,
} from './catalogue.ts';
export { needsSmtpUtf8, parseEmailAddress } from './email-address.ts';
export {
  attachmentNameProblem,
  isMailAttachmentType,
  mailAttachmentLimits,
  mailAttachmentTypes,
  type MailAttachmentType,
} from './mail-attachments.ts';
export { mailHeadersProblem } from './mail-headers.ts';
export {
  mailCopies,
  MAX_MAIL_COPIES,
  readRecipients,
  type MailRecipients,
  type RecipientProblem,
} from './mail-recipients.ts';
export {
  detectFileType,
  FILE_TYPE_BYTES,
  imageMediaTypes,
  type ImageFormat,
  type ImageMediaType,
} from './file-type.ts';
export { eventsIn, type SentEvent } from './lifecycle-events.ts';
export {
  jobKindEntries,
  jobKindName,
  jobKindNames,
  jobKinds,
  lanes,
  type JobKindName,
  type JobKindSpec,
  type Lane,
  type RequestOf,
  type ResultOf,
} from './job-kinds.ts';
export {
  callerProblems,
  checkVariables,
  isMailLink,
  isMailTemplateName,
  mailTemplateNames,
  mailTemplates,
  type MailTemplateName,
  type TemplateValues,
  type TemplateVariable,
  type TemplateVariables,
  type VariableProblem,
} from './mail-templates.ts';
export { pageLimits, pictureLimits } from './picture-limits.ts';
export { BadRequestSchema, ErrorInfoSchema, RetryInfoSchema } from './gen/google/rpc/error_details_pb.ts';
export {
  ServerReflection,
  ServerReflectionResponseSchema,
  type ServerReflectionResponse,
} from './gen/grpc/reflection/v1/reflection_pb.ts';
export { CreditEntryKind, CreditEntrySchema, type CreditEntry } from './gen/sluice/v1/credits_pb.ts';
export {
  EmailRequestSchema,
  EmailResultSchema,
  EmailDeferredSchema,
  EmailSentSchema,
  MailAttachmentSchema,
  MailCopySchema,
  MailReportSchema,
  SendEmailSchema,
  type EmailRequest,
  type EmailResult,
  type EmailDeferred,
  type EmailSent,
  type MailCopy,
  type MailAttachment,
  type MailReport,
  type SendEmail,
} from './gen/sluice/v1/email_pb.ts';
export {
  EventService,
  LifecycleEventSchema,
  RecordEventsRequestSchema,
  RecordEventsResponseSchema,
  type LifecycleEvent,
  type RecordEventsRequest,
} from './gen/sluice/v1/events_pb.ts';
export { CancelledSchema, FailureSchema, type Failure } from './gen/sluice/v1/failure_pb.ts';
export {
  ConvertImageSchema,
  ImageConvertedSchema,
  ImageFit,
  ImageOptionsSchema,
  ImageRequestSchema,
  ImageResultSchema,
  ImageSourceSchema,
  PageOrder,
  PageOrientation,
  PageSize,
  PdfStandard,
  Quality,
  type ConvertImage,
  type ImageConverted,
  type ImageOptions,
  type ImageRequest,
  type ImageResult,
  type ImageSource,
} from './gen/sluice/v1/image_pb.ts';
export {
  GetJobRequestSchema,
  GetJobResponseSchema,
  JobEventSchema,
  JobFinishedSchema,
  JobKind,
  JobRequestSchema,
  JobResultSchema,
  JobSchema,
  JobService,
  JobState,
  DeferralSchema,
  PlacementSchema,
  Priority,
  WaitingForSchema,
  WaitingReason,
  type Job,
  type JobEvent,
  type JobFinished,
  type JobRequest,
  type JobResult,
  type Deferral,
  type Placement,
  type WaitingFor,
} from './gen/sluice/v1/jobs_pb.ts';
export {
  ConvertImageRequestSchema,
  ConvertImageResponseSchema,
  CreateUserRequestSchema,
  CreateUserResponseSchema,
  SendEmailRequestSchema,
  SendEmailResponseSchema,
  UserService,
  type ConvertImageRequest,
  type CreateUserRequest,
  type SendEmailRequest,
} from './gen/sluice/v1/users_pb.ts';
