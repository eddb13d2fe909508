import { create } from '@bufbuild/protobuf';
import { channels, mailCopies, Priority, SendEmailSchema, type MailCopy, type MailReport } from '@sluice/contracts';
import { Type } from 'typebox';
import { step, workId } from '../orchestrator/step.ts';
import type { KindRules } from './kind.ts';

/** What came back from one recipient. */
function saidOf(reports: readonly MailReport[], place: string): { bounce?: string; complaint?: true } {
  const own = reports.filter(({ recipient }) => recipient === place);
  const bounce = own.find(({ kind }) => kind === 'bounce');
  return {
    ...(bounce === undefined ? {} : { bounce: `${bounce.status} ${bounce.detail}`.trim() }),
    ...(own.some(({ kind }) => kind === 'complaint') ? { complaint: true } : {}),
  };
}

const copyView = ({ recipient, provider, ambiguous, failed }: MailCopy, reports: readonly MailReport[]) => ({
  recipient,
  sent: failed === undefined,
  ...(failed === undefined ? { provider, ambiguous } : { code: failed.code, detail: failed.detail }),
  ...saidOf(reports, recipient),
});

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
    copies: Type.Optional(
      Type.Array(
        Type.Object(
          {
            recipient: Type.String({ description: 'Its place in the request, as `/cc/0`.' }),
            sent: Type.Boolean(),
            provider: Type.Optional(Type.String()),
            ambiguous: Type.Optional(Type.Boolean()),
            code: Type.Optional(Type.String({ description: 'Why it was not sent, as in `error`.' })),
            detail: Type.Optional(Type.String()),
            bounce: Type.Optional(Type.String()),
            complaint: Type.Optional(Type.Boolean()),
          },
          { additionalProperties: false },
        ),
        { description: 'email: what became of each copy, `cc` first' },
      ),
    ),
  },
  resultView({ messageId, provider, attempts, ambiguous, reports, copies }) {
    return {
      messageId,
      provider,
      attempts,
      ambiguous,
      ...saidOf(reports, ''),
      ...(copies.length === 0 ? {} : { copies: copies.map((copy) => copyView(copy, reports)) }),
    };
  },
  recipient: ({ to }) => to,
  copies: (request) => mailCopies(request).map(({ address }) => address),
  uploads: () => [],
  hasPdf: false,
};
