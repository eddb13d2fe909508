import { channels, isSubjectToken, type SendEmail } from '@sluice/contracts';
import { decoder } from '@sluice/messaging';
import { definePipeline, type Pipeline, type RetryPolicy } from '@sluice/pipeline';
import type { MailerDeps } from '../delivery/mailer-deps.ts';
import { sendMail } from '../delivery/send-mail.ts';

export interface MailerSettings {
  readonly concurrency: { readonly welcome_mailer: number; readonly notification_mailer: number };
  readonly retry: Pick<RetryPolicy, 'baseMs' | 'maxMs'>;
  /** The longest a handler may run: holding a mail through an outage included. */
  readonly handlerTimeoutMs: number;
  /** Life of one pull, which a drain waits for; the engine's default when absent. */
  readonly pullExpiresMs?: number | undefined;
}

/** Beside so many slots that both lanes share, the express lane has one of its own. */
const RESERVE_SHARE = 8;
const reserveOf = (concurrency: number): number => Math.max(1, Math.ceil(concurrency / RESERVE_SHARE));

/** Mails in hand at once, at most: what is shared, and what is kept for express. */
export const mailsInHand = ({
  welcome_mailer: welcome,
  notification_mailer: others,
}: MailerSettings['concurrency']): number => welcome + reserveOf(welcome) + others + reserveOf(others);

const decode = decoder(channels.sendWelcome);

/** The job id becomes a key and a Message-ID: a message whose id is no plain token is no message of ours. */
function decodeSendEmail(bytes: Uint8Array): SendEmail {
  const message = decode(bytes);
  if (!isSubjectToken(message.jobId)) throw new TypeError('the job id is not a plain token');
  return message;
}

/**
 * The two mailers. Each reads its express lane and its normal lane, four to one while both have work, and neither can
 * keep the other waiting: a flood of notifications leaves welcome mails their own slots. Nor can an account keep another
 * one waiting.
 */
export function mailerPipelines(settings: MailerSettings): Pipeline<SendEmail, MailerDeps>[] {
  return (['welcome_mailer', 'notification_mailer'] as const).map((name) =>
    definePipeline<SendEmail, MailerDeps>({
      name,
      sources: [
        {
          stream: 'EMAILS_EXPRESS',
          consumer: name,
          weight: 4,
          reserve: reserveOf(settings.concurrency[name]),
        },
        { stream: 'EMAILS', consumer: name, weight: 1 },
      ],
      decode: decodeSendEmail,
      // Accounts take turns: a mail does not wait behind the backlog of another account.
      limits: { key: ({ data }) => data.account },
      flow: {
        concurrency: settings.concurrency[name],
        ...(settings.pullExpiresMs === undefined
          ? {}
          : { expiresMs: settings.pullExpiresMs, idleHeartbeatMs: Math.floor(settings.pullExpiresMs / 4) }),
      },
      timeout: { handlerMs: settings.handlerTimeoutMs },
      // The handler decides when a mail is given up: a delivery that found every provider away has tried nothing.
      retry: { ...settings.retry, maxAttempts: 1_000_000, factor: 3, jitter: 'equal' },
      handle: sendMail,
    }),
  );
}
