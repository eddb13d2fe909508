import type { DescMessage } from '@bufbuild/protobuf';
import { CreditEntrySchema } from './gen/sluice/v1/credits_pb.ts';
import { EmailDeferredSchema, EmailSentSchema, SendEmailSchema } from './gen/sluice/v1/email_pb.ts';
import { LifecycleEventSchema } from './gen/sluice/v1/events_pb.ts';
import { ConvertImageSchema, ImageConvertedSchema } from './gen/sluice/v1/image_pb.ts';
import { JobEventSchema, JobFinishedSchema } from './gen/sluice/v1/jobs_pb.ts';
import {
  ConvertImageRequestSchema,
  CreateUserRequestSchema,
  SendEmailRequestSchema,
} from './gen/sluice/v1/users_pb.ts';

/** Streams that jobs may be divided over. Permissions name each of them, so there are no more without a change of `users.conf`. */
export const MAX_JOB_PARTITIONS = 8;
/** The streams of jobs. `JOBS` is the first partition, and the only one unless `JOBS_PARTITIONS` says otherwise. */
export type JobStream = 'JOBS' | `JOBS_${1 | 2 | 3 | 4 | 5 | 6 | 7}`;

/** The streams of the system. Their limits and consumers are data in `@sluice/messaging`. */
export type StreamName =
  | JobStream
  | 'USERS'
  | 'RESULTS'
  | 'IMAGES'
  | 'IMAGES_EXPRESS'
  | 'EMAILS'
  | 'EMAILS_EXPRESS'
  | 'CLIENTS'
  | 'WEBHOOKS'
  | 'EVENTS'
  | 'DLQ'
  | 'AUDIT'
  | 'CREDITS';

/**
 * One kind of message on the wire: which subject carries which message into which stream. A subject with
 * `{placeholders}` is a template; `subject` fills it in.
 */
export interface Channel<Desc extends DescMessage = DescMessage> {
  readonly template: string;
  readonly stream: StreamName;
  readonly schema: Desc;
  /** What travels here, in a sentence: printed by the generated channel table. */
  readonly about: string;
}

const channel = <Desc extends DescMessage>(
  template: string,
  stream: StreamName,
  schema: Desc,
  about: string,
): Channel<Desc> => ({ template, stream, schema, about });

/** Every channel of the system: the only place where a subject, its message and its stream meet. */
export const channels = {
  job: channel('jobs.{jobId}', 'JOBS', JobEventSchema, 'one transition of a job, with its full snapshot'),

  createUser: channel('user.create', 'USERS', CreateUserRequestSchema, 'command: a user and their welcome mail'),
  sendEmail: channel('user.send.email', 'USERS', SendEmailRequestSchema, 'command: send one mail'),
  convertImage: channel('user.convert.image', 'USERS', ConvertImageRequestSchema, 'command: images to one PDF'),
  imageConverted: channel('user.image.converted', 'RESULTS', ImageConvertedSchema, 'result of a conversion'),
  emailSent: channel('user.email.sent', 'RESULTS', EmailSentSchema, 'result of a mail'),
  emailDeferred: channel('user.email.deferred', 'RESULTS', EmailDeferredSchema, 'a mail that is tried again later'),

  convertUrl: channel('image.convert.url', 'IMAGES', ConvertImageSchema, 'work: sources lie in the object store'),
  convertBinary: channel('image.convert.binary', 'IMAGES', ConvertImageSchema, 'work: sources travel inside'),
  convertUrlExpress: channel('image.express.url', 'IMAGES_EXPRESS', ConvertImageSchema, 'the express lane of it'),
  convertBinaryExpress: channel('image.express.binary', 'IMAGES_EXPRESS', ConvertImageSchema, 'the express lane of it'),

  sendWelcome: channel('email.send.welcome', 'EMAILS', SendEmailSchema, 'work: a welcome mail'),
  sendNotification: channel('email.send.notification', 'EMAILS', SendEmailSchema, 'work: any other mail'),
  sendWelcomeExpress: channel('email.express.welcome', 'EMAILS_EXPRESS', SendEmailSchema, 'the express lane of it'),
  sendNotificationExpress: channel(
    'email.express.notification',
    'EMAILS_EXPRESS',
    SendEmailSchema,
    'the express lane of it',
  ),

  clientImageConverted: channel('client.image.converted', 'CLIENTS', JobFinishedSchema, 'callback: an image job ended'),
  clientEmailSent: channel('client.email.sent', 'CLIENTS', JobFinishedSchema, 'callback: an e-mail job ended'),
  webhook: channel(
    'webhook.{account}.finished',
    'WEBHOOKS',
    JobFinishedSchema,
    'a job that has a URL to call ended, or its mail was deferred',
  ),

  event: channel('events.{appId}.{messageId}', 'EVENTS', LifecycleEventSchema, 'what happened to one message'),
  credits: channel('credits.{account}', 'CREDITS', CreditEntrySchema, 'one entry in the ledger of an account'),
  creditStep: channel(
    'credits.{account}.{jobId}.{step}',
    'CREDITS',
    CreditEntrySchema,
    'marks that the ledger has the entry for this step of a job',
  ),
} as const satisfies Record<string, Channel>;

/** The channel of each partition of the jobs, in order. Only the first is there by default. */
export const jobChannels: readonly (Channel<typeof JobEventSchema> & { readonly stream: JobStream })[] = [
  { ...channels.job, stream: 'JOBS' },
  ...([1, 2, 3, 4, 5, 6, 7] as const).map((partition) => ({
    ...channels.job,
    template: `jobs.${partition}.{jobId}`,
    stream: `JOBS_${partition}` as const,
  })),
];

const jobStreamNames: ReadonlySet<string> = new Set(jobChannels.map(({ stream }) => stream));

/** Whether a stream holds the events of jobs. */
export const isJobStream = (stream: string): stream is JobStream => jobStreamNames.has(stream);

/** The channel of the jobs in a stream. */
export const jobChannelOf = (stream: JobStream): (typeof jobChannels)[number] =>
  jobChannels.find((channel) => channel.stream === stream)!;

/**
 * The subject of a channel with its placeholders filled in.
 *
 * @throws {RangeError} when a value is missing, or is not one plain subject token: a dot, a space or a wildcard in it
 * would name another subject.
 */
export function subject(channel: Channel, values: Readonly<Record<string, string>> = {}): string {
  return channel.template.replace(/\{(\w+)\}/g, (_, name: string) => {
    const value = values[name];
    if (value === undefined || !isSubjectToken(value)) {
      throw new RangeError(`${channel.template}: ${name} must be one subject token, got ${JSON.stringify(value)}`);
    }
    return value;
  });
}

/** Whether a value can stand as one token of a subject. NATS's advice: letters, digits, dash and underscore. */
export function isSubjectToken(value: string): boolean {
  return /^[A-Za-z0-9_-]{1,128}$/.test(value);
}

const fixed = new Set<string>();
const patterns: { readonly template: string; readonly pattern: RegExp }[] = [];
for (const { template } of [...Object.values(channels), ...jobChannels.slice(1)]) {
  if (!template.includes('{')) fixed.add(template);
  else
    patterns.push({
      template,
      pattern: new RegExp(`^${template.replace(/\./g, '\\.').replace(/\{\w+\}/g, '[^.]+')}$`),
    });
}

/**
 * The template of the channel that a subject belongs to: a name of few values, for spans and metrics. A subject outside
 * the catalogue is its own template.
 */
export function templateOf(subject: string): string {
  if (fixed.has(subject)) return subject;
  return patterns.find(({ pattern }) => pattern.test(subject))?.template ?? subject;
}
