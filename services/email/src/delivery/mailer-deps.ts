import type { Lifecycle } from '@sluice/messaging';
import type { Sender } from '../compose/compose-mail.ts';
import type { Inbox } from './inbox.ts';
import type { EmailMetrics } from '../metrics.ts';
import type { Attachments } from '../compose/attachments.ts';
import type { Quota } from '../quota/quota.ts';
import type { Dispatcher } from '../providers/dispatcher.ts';
import type { TemplateStore } from '@sluice/mail-templates';
import type { Suppressions } from '@sluice/suppression';
import type { RetryPolicy } from './retry-policy.ts';
import type { ByteBudget } from './byte-budget.ts';
import type { Cancellation } from './cancellation.ts';
import type { TellDeferral } from './deferral.ts';

/** What to do with a mail that may have been delivered: send it again under the same Message-ID, or leave it to a person. */
export type AmbiguityPolicy = 'resend' | 'park';

/** What a mailer works with. */
export interface MailerDeps {
  readonly inbox: Inbox;
  readonly quota: Quota;
  readonly suppressions: Suppressions;
  readonly templates: TemplateStore;
  readonly dispatcher: Dispatcher;
  readonly sender: Sender;
  /** Senders of accounts that have one of their own. */
  readonly senders: ReadonlyMap<string, Sender>;
  readonly attachments: Attachments;
  /** Bytes of files that mails in hand carry. */
  readonly filesInHand: ByteBudget;
  /** A PDF is attached only when not larger. */
  readonly attachMaxBytes: number;
  readonly metrics: EmailMetrics;
  readonly lifecycle: Lifecycle;
  readonly cancelled: Cancellation;
  readonly tellDeferral: TellDeferral;
  readonly policy: AmbiguityPolicy;
  readonly retry: RetryPolicy;
  /** How long a mail is kept in hand while no provider can be tried, before its delivery is given back. */
  readonly holdMs: number;
  /** Aborted when the process is to end: mails in hand are given back at once. */
  readonly stopping: AbortSignal;
}
