import { channels, type Channel, type StreamName } from './catalogue.ts';
import type { JobFinishedSchema, JobRequest, JobResult } from './gen/sluice/v1/jobs_pb.ts';
import { JobKind } from './gen/sluice/v1/jobs_pb.ts';

/** What a job can be: a case of `JobRequest.work`, and the word for it in the API, in labels and in settings. */
export type JobKindName = NonNullable<JobRequest['work']['case']>;

/** The request of a job of one kind. */
export type RequestOf<Name extends JobKindName> = Extract<JobRequest['work'], { readonly case: Name }>['value'];
/** The result of a job of one kind. */
export type ResultOf<Name extends JobKindName> = Extract<JobResult['work'], { readonly case: Name }>['value'];

/** Where a pipeline of a kind takes its work from: the same consumer name on both lanes. */
export interface WorkSource {
  readonly consumer: string;
  readonly normal: Channel;
  readonly express: Channel;
}

/**
 * Everything about a kind of job that more than one package needs. Streams and consumers, lanes, prices, metrics, the
 * API's enums and the filters of the history derive from it; Compose, NATS users, Prometheus targets, dashboards and
 * alerts are compared with it by `tests/job-kinds.test.ts`.
 */
export interface JobKindSpec {
  /** Its number on the wire. */
  readonly value: JobKind;
  /** What the work is, for tables: "images to convert". */
  readonly about: string;
  /** The service that does the work: its folder under `services/`, its container, the app of its lifecycle events. */
  readonly service: string;
  /** The streams that its work waits in. */
  readonly lanes: { readonly normal: StreamName; readonly express: StreamName };
  /** One per pipeline of the service. */
  readonly sources: readonly WorkSource[];
  /** How the service says what came of it, and the consumer of the gateway that reads it. */
  readonly result: { readonly channel: Channel; readonly consumer: string };
  /** How clients on NATS are told of the end. */
  readonly callback: Channel<typeof JobFinishedSchema>;
}

/** The kinds of jobs: the one place where a kind is added. The compiler asks for an entry per case of `JobRequest.work`. */
export const jobKinds = {
  image: {
    value: JobKind.IMAGE,
    about: 'images to convert',
    service: 'image',
    lanes: { normal: 'IMAGES', express: 'IMAGES_EXPRESS' },
    sources: [
      { consumer: 'url_to_pdf', normal: channels.convertUrl, express: channels.convertUrlExpress },
      { consumer: 'binary_to_pdf', normal: channels.convertBinary, express: channels.convertBinaryExpress },
    ],
    result: { channel: channels.imageConverted, consumer: 'image_converted' },
    callback: channels.clientImageConverted,
  },
  email: {
    value: JobKind.EMAIL,
    about: 'mails to send',
    service: 'email',
    lanes: { normal: 'EMAILS', express: 'EMAILS_EXPRESS' },
    sources: [
      { consumer: 'welcome_mailer', normal: channels.sendWelcome, express: channels.sendWelcomeExpress },
      {
        consumer: 'notification_mailer',
        normal: channels.sendNotification,
        express: channels.sendNotificationExpress,
      },
    ],
    result: { channel: channels.emailSent, consumer: 'email_sent' },
    callback: channels.clientEmailSent,
  },
} as const satisfies Record<JobKindName, JobKindSpec>;

/** A stream that work waits in. */
export type Lane = (typeof jobKinds)[JobKindName]['lanes']['normal' | 'express'];

export const jobKindNames = Object.keys(jobKinds) as readonly JobKindName[];

/** Name and entry of every kind. */
export const jobKindEntries: readonly (readonly [JobKindName, JobKindSpec])[] = jobKindNames.map((name) => [
  name,
  jobKinds[name],
]);

/** Every lane of every kind. */
export const lanes: readonly Lane[] = jobKindNames.flatMap((name) => [
  jobKinds[name].lanes.normal,
  jobKinds[name].lanes.express,
]);

const nameByValue = new Map<JobKind, JobKindName>(jobKindNames.map((name) => [jobKinds[name].value, name]));

/** The name of a kind on the wire; undefined for one that this version does not know. */
export function jobKindName(kind: JobKind): JobKindName | undefined {
  return nameByValue.get(kind);
}
