import { create } from '@bufbuild/protobuf';
import { channels, Priority, SendEmailSchema } from '@sluice/contracts';
import { Type } from 'typebox';
import { step, workId } from '../orchestrator/step.ts';
import type { KindRules } from './kind.ts';

/** One mail. */
export const emailKind: KindRules<'email'> = {
  defaultPrice: 1,
  work(job, email) {
    const [normal, express] =
      email.template === 'welcome'
        ? [channels.sendWelcome, channels.sendWelcomeExpress]
        : [channels.sendNotification, channels.sendNotificationExpress];
    const message = create(SendEmailSchema, { jobId: job.id, email, account: job.account, replays: job.replays });
    return step(job.priority === Priority.EXPRESS ? express : normal, message, workId(job));
  },
  resultFields: {
    messageId: Type.Optional(
      Type.String({ description: 'email: the Message-ID header, the same for every copy of this mail' }),
    ),
    provider: Type.Optional(Type.String({ description: 'email: the SMTP provider that took it' })),
    attempts: Type.Optional(Type.Integer({ description: 'email: how often it was tried' })),
    ambiguous: Type.Optional(
      Type.Boolean({ description: 'email: true when an earlier attempt may have been delivered too' }),
    ),
    bounce: Type.Optional(
      Type.String({ description: 'email: it was taken and came back: the status code and words of the server' }),
    ),
    complaint: Type.Optional(Type.Boolean({ description: 'email: true when its reader called it spam' })),
  },
  resultView({ messageId, provider, attempts, ambiguous, reports }) {
    const bounce = reports.find(({ kind }) => kind === 'bounce');
    const complained = reports.some(({ kind }) => kind === 'complaint');
    return {
      messageId,
      provider,
      attempts,
      ambiguous,
      ...(bounce === undefined ? {} : { bounce: `${bounce.status} ${bounce.detail}`.trim() }),
      ...(complained ? { complaint: true } : {}),
    };
  },
  recipient: ({ to }) => to,
  uploads: () => [],
  hasPdf: false,
};
