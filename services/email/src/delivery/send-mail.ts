import type { EmailRequest, SendEmail } from '@sluice/contracts';
import type { Context, Message, Outcome } from '@sluice/pipeline';
import { composeMail } from '../compose/compose-mail.ts';
import { AttachmentError } from '../compose/attachments.ts';
import type { OutgoingMail } from '../providers/outgoing-mail.ts';
import { TemplateVariablesError } from '../templates/catalogue.ts';
import { templateLabel } from '../templates/mail-template.ts';
import type { MailClaim, MailOutcome, Progress } from './inbox.ts';
import type { MailerDeps } from './mailer-deps.ts';
import { prepare, type Refusal } from './prepare.ts';
import { publishResult } from './result.ts';
import { decideRetry } from './retry-policy.ts';
import { sendWithFailover, type Decided } from './send-with-failover.ts';

/**
 * Sends one mail and says how it ended. The order is what makes it effectively once: claim (a write), send, complete (a
 * write), emit the result, ack. A repeat after that finds the outcome and sends nothing.
 */
export async function sendMail(message: Message<SendEmail>, context: Context<MailerDeps>): Promise<Outcome> {
  const { deps } = context;
  const { jobId, replays, email } = message.data;
  if (email === undefined) return { kind: 'deadLetter', reason: 'the message asks for no mail' };

  const claimed = await deps.inbox.claim(`${jobId}.${replays}`);
  if (claimed.kind === 'busy') return { kind: 'snooze', forMs: claimed.forMs, reason: 'another process is sending it' };
  if (claimed.kind === 'done') {
    deps.metrics.repeatAvoided();
    return publishResult(message, context, claimed.outcome);
  }
  const { claim } = claimed;
  try {
    return await sendClaimed(message, context, email, claim);
  } catch (error) {
    claim.abandon();
    throw error;
  }
}

async function sendClaimed(
  message: Message<SendEmail>,
  context: Context<MailerDeps>,
  email: EmailRequest,
  claim: MailClaim,
): Promise<Outcome> {
  const { deps } = context;
  const { progress } = claim;
  if (claim.abandoned) deps.metrics.ambiguous('crash');
  if (progress.unanswered > 0 && deps.policy === 'park') {
    await claim.release(progress);
    return { kind: 'deadLetter', reason: 'the mail may have been delivered; replay it to send it again' };
  }

  const complete = async (outcome: MailOutcome): Promise<Outcome> => {
    await claim.complete(outcome);
    deps.metrics.result(templateLabel(email), outcome.kind === 'failed' ? outcome.code : outcome.kind);
    return publishResult(message, context, outcome);
  };

  // What an earlier attempt may have sent cannot be called off, and must not be sent again to find out.
  const completeCancelled = (): Promise<Outcome> =>
    complete(progress.unanswered > 0 ? { kind: 'failed', ...possiblySent } : { kind: 'cancelled' });
  if (await deps.cancelled.has(message)) return completeCancelled();

  let mail: OutgoingMail;
  try {
    const prepared = await prepare(message.data, claim.fresh, context);
    if ('code' in prepared) return await complete({ kind: 'failed', ...prepared });
    mail = await composeMail(prepared, deps.senders.get(message.data.account) ?? deps.sender);
  } catch (error) {
    const refusal = refusalOf(error);
    if (refusal !== undefined) return complete({ kind: 'failed', ...refusal });
    const reason = error instanceof Error ? error.message : String(error);
    return retryOrGiveUp(message, context, claim, { ...progress, failures: progress.failures + 1 }, reason);
  }

  const sent = await sendWithFailover(mail, message, context);
  const tried: Progress = { ...progress, attempts: progress.attempts + sent.attempts };
  if (sent.cancelled) {
    return completeCancelled();
  }
  const { decided, lastWords, retryAfterMs } = sent;
  if (decided === undefined) return retryOrGiveUp(message, context, claim, tried, lastWords, retryAfterMs);
  const outcome = outcomeOf(decided, mail, tried);
  if (outcome !== undefined) {
    const ended = await complete(outcome);
    await learn(mail.to, decided.verdict, context);
    return ended;
  }

  const words = `${decided.provider}: ${decided.verdict.reply}`;
  if (decided.verdict.kind === 'deferred') {
    return retryOrGiveUp(message, context, claim, { ...tried, failures: tried.failures + 1 }, words);
  }
  deps.metrics.ambiguous('no_answer');
  const unanswered = { ...tried, unanswered: tried.unanswered + 1 };
  const reason = `${words}; no answer to the mail, it may have been delivered`;
  if (deps.policy === 'resend') return retryOrGiveUp(message, context, claim, unanswered, reason);
  await claim.release(unanswered);
  return { kind: 'deadLetter', reason };
}

const possiblySent: Refusal = {
  code: 'possibly_sent',
  detail: 'The job was cancelled after an attempt whose outcome is not known: the mail may have been delivered.',
};

/** The end of a mail by a verdict, or undefined when the verdict leaves it open. */
function outcomeOf({ verdict, provider }: Decided, mail: OutgoingMail, tried: Progress): MailOutcome | undefined {
  const detail = `${provider}: ${verdict.reply}`;
  switch (verdict.kind) {
    case 'delivered': {
      const { attempts, unanswered } = tried;
      return { kind: 'sent', messageId: mail.messageId, provider, attempts, ambiguous: unanswered > 0 };
    }
    case 'rejected':
      return { kind: 'failed', code: verdict.code, detail };
    case 'refused':
      return { kind: 'failed', code: 'mail_rejected', detail };
    default:
      return undefined;
  }
}

/**
 * Remembers what a verdict says about the mailbox. A mail's result does not wait on it: without the note the next mail
 * would bounce once more, no worse.
 */
async function learn(address: string, verdict: Decided['verdict'], { deps, log }: Context<MailerDeps>): Promise<void> {
  try {
    if (verdict.kind === 'delivered') return await deps.suppressions.delivered(address);
    if (verdict.kind !== 'rejected' || verdict.deadMailbox === undefined) return;
    if (await deps.suppressions.bounced(address, verdict.deadMailbox)) deps.metrics.suppressed();
  } catch (error) {
    log.warn({ err: error }, 'what a server said about a mailbox could not be remembered');
  }
}

/**
 * Releases a mail that was not taken, for another delivery or to the dead letters.
 *
 * @param lastWords what the provider said last, masked: the job and the dead letter repeat it.
 */
async function retryOrGiveUp(
  message: Message<SendEmail>,
  { deps, log }: Context<MailerDeps>,
  claim: MailClaim,
  progress: Progress,
  lastWords: string,
  retryAfterMs?: number,
): Promise<Outcome> {
  await claim.release(progress);
  const decision = decideRetry(deps.retry, progress, Date.now(), Math.random());
  if (decision.kind === 'retry') {
    return { kind: 'retry', afterMs: retryAfterMs ?? decision.afterMs, reason: lastWords };
  }
  const { attempts, failures, unanswered } = progress;
  const line = { jobId: message.data.jobId, attempts, failures, unanswered, why: decision.why, lastWords };
  log.warn(line, 'gave up on a mail');
  return { kind: 'deadLetter', reason: `${decision.why}; ${lastWords}` };
}

/** Failures that are about the request and not about the moment. */
function refusalOf(error: unknown): Refusal | undefined {
  if (error instanceof TemplateVariablesError) return { code: error.code, detail: error.message };
  if (error instanceof AttachmentError) return { code: error.code, detail: error.message };
  return undefined;
}
