import { create } from '@bufbuild/protobuf';
import {
  channels,
  ConvertImageSchema,
  JobFinishedSchema,
  JobKind,
  Priority,
  SendEmailSchema,
  type Channel,
  type ConvertImage,
  type Job,
  type JobFinished,
  type SendEmail,
} from '@sluice/contracts';
import { stepId } from '@sluice/messaging';

/** A message to publish for a job, with the id that makes its repeat harmless. */
export type Step =
  | {
      readonly kind: 'convert';
      readonly channel: Channel<typeof ConvertImageSchema>;
      readonly message: ConvertImage;
      readonly id: string;
    }
  | {
      readonly kind: 'send';
      readonly channel: Channel<typeof SendEmailSchema>;
      readonly message: SendEmail;
      readonly id: string;
    }
  | {
      readonly kind: 'tell';
      readonly channel: Channel<typeof JobFinishedSchema>;
      readonly message: JobFinished;
      readonly id: string;
    };

/** The object a job's PDF is written to. */
export const outputKey = (jobId: string): string => `pdf/${jobId}.pdf`;

/**
 * The work of a job that was accepted or sent on its way again. Which lane and which consumer is decided here alone.
 * Undefined for a job whose request is of a kind this version does not know.
 */
export function workOf(job: Job): Step | undefined {
  const { id: jobId, replays, account } = job;
  const express = job.priority === Priority.EXPRESS;
  const id = stepId(jobId, 'work', replays);
  const work = job.request?.work;
  if (work?.case === 'image') {
    const { sources, options } = work.value;
    const inline = sources.every((source) => source.from.case === 'content');
    const channel = inline
      ? express
        ? channels.convertBinaryExpress
        : channels.convertBinary
      : express
        ? channels.convertUrlExpress
        : channels.convertUrl;
    const base = { jobId, sources, outputKey: outputKey(jobId), replays };
    return {
      kind: 'convert',
      channel,
      id,
      message: create(ConvertImageSchema, options === undefined ? base : { ...base, options }),
    };
  }
  if (work?.case === 'email') {
    const welcome = work.value.template === 'welcome';
    const channel = welcome
      ? express
        ? channels.sendWelcomeExpress
        : channels.sendWelcome
      : express
        ? channels.sendNotificationExpress
        : channels.sendNotification;
    return {
      kind: 'send',
      channel,
      id,
      message: create(SendEmailSchema, { jobId, email: work.value, account, replays }),
    };
  }
  return undefined;
}

/** The callback that tells the client's side of the end of a job. */
export function callbackOf(job: Job): Step {
  const channel = job.kind === JobKind.IMAGE ? channels.clientImageConverted : channels.clientEmailSent;
  return {
    kind: 'tell',
    channel,
    id: stepId(job.id, 'callback', job.replays),
    message: create(JobFinishedSchema, { job }),
  };
}

/** The call to the URL that the job's owner left, if any. */
export function webhookOf(job: Job): Step | undefined {
  if (job.callbackUrl === '') return undefined;
  return {
    kind: 'tell',
    channel: channels.webhook,
    id: stepId(job.id, 'webhook', job.replays),
    message: create(JobFinishedSchema, { job }),
  };
}

/** The objects a job's pictures were uploaded to. */
export function uploadsOf(job: Job): readonly string[] {
  const work = job.request?.work;
  if (work?.case !== 'image') return [];
  return work.value.sources.flatMap(({ from }) =>
    from.case === 'key' && from.value.startsWith('uploads/') ? [from.value] : [],
  );
}
