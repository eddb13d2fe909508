import { mailCopies, type EmailRequest, type SendEmail } from '@sluice/contracts';
import type { Context, Message, Outcome } from '@sluice/pipeline';
import { composeMail, type MailInput } from '../compose/compose-mail.ts';
import type { OutgoingMail } from '../providers/outgoing-mail.ts';
import { templateLabel } from '../templates/mail-template.ts';
import type { MailClaim, MailOutcome, Progress } from './inbox.ts';
import type { MailerDeps } from './mailer-deps.ts';
import { learn } from './learn.ts';
import { prepare, refusalOf, refusalOfRecipient, withFiles, type Refusal } from './prepare.ts';
import { publishResult } from './result.ts';
import { decideRetry } from './retry-policy.ts';
import { sendCopies } from './send-copies.ts';
import { sendWithFailover, type Decided } from './send-with-failover.ts';

/**
 * Sends one mail and says how it ended. The order is what makes it effectively once: claim (a write), send, complete (a
 * write), emit the result, ack. A repeat after that finds the outcome and sends nothing.
 */
export async function sendMail(message: Message<SendEmail>, context: Context<MailerDeps>): Promise<Outcome> {
  const { deps } = context;
  const { email } = message.data;
  if (email === undefined) return { kind: 'deadLetter', reason: 'the message asks for no mail' };

  // Before the claim: what waits here has tried nothing, and a crash must not make it look as if it had.
  const stopped = AbortSignal.any([context.signal, deps.stopping]);
  const release = await deps.filesInHand.take(bytesOf(email, deps.attachMaxBytes), stopped).catch(() => undefined);
  if (release === undefined) return { kind: 'retry', afterMs: 0, reason: 'the service is stopping' };
  try {
    return await claimAndSend(message, context, email);
  } finally {
    release();
  }
}

/** Bytes of the files that a mail is to carry, as its request says. */
function bytesOf({ attachments, attachmentKey, variables }: EmailRequest, pdfMaxBytes: number): number {
  const pdf = attachmentKey !== '' && variables?.['attach'] === true ? pdfMaxBytes : 0;
  return attachments.reduce((sum, { sizeBytes }) => sum + Number(sizeBytes), pdf);
}

async function claimAndSend(
  message: Message<SendEmail>,
  context: Context<MailerDeps>,
  email: EmailRequest,
): Promise<Outcome> {
  const { deps } = context;
  const { jobId, replays } = message.data;
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
  const complete = async (outcome: MailOutcome): Promise<Outcome> => {
    await claim.complete(outcome);
    deps.metrics.result(templateLabel(email), outcome.kind === 'failed' ? outcome.code : outcome.kind);
    return publishResult(message, context, outcome);
  };
  if (progress.copies !== undefined) {
    return sendCopies({ message, context, email, claim, progress, copies: progress.copies, complete });
  }
  if (progress.unanswered > 0 && deps.policy === 'park') {
    await claim.release(progress);
    return { kind: 'deadLetter', reason: 'the mail may have been delivered; replay it to send it again' };
  }

  // What an earlier attempt may have sent cannot be called off, and must not be sent again to find out.
  const completeCancelled = (): Promise<Outcome> =>
    complete(progress.unanswered > 0 ? { kind: 'failed', ...possiblySent } : { kind: 'cancelled' });
  if (await deps.cancelled.has(message)) return completeCancelled();

  const { account } = message.data;
  let input: MailInput;
  let mail: OutgoingMail;
  try {
    const prepared = await prepare(message.data, context);
    if ('code' in prepared) return await complete({ kind: 'failed', ...prepared });
    const { recurring } = prepared.template;
    const asked = { account, recurring, charge: claim.fresh };
    const refused = await refusalOfRecipient(prepared.recipients.to, asked, deps);
    if (refused !== undefined) return await complete({ kind: 'failed', ...refused });
    input = await withFiles(prepared, email, context);
    mail = await composeMail(input, deps.senders.get(account) ?? deps.sender);
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
  if (outcome?.kind === 'sent' && mailCopies(email).length > 0) {
    // From here on the mail itself is never sent again.
    const { kind: _, ...sentMail } = outcome;
    const each = mailCopies(email).map(() => ({ charged: false, unanswered: 0 }));
    const copies = { mail: sentMail, each, current: 0 };
    const begun: Progress = { since: tried.since, attempts: tried.attempts, failures: 0, unanswered: 0, copies };
    await claim.advance(begun);
    await learn(mail.to, decided.verdict, context);
    return sendCopies({ message, context, email, claim, progress: begun, copies, input, complete });
  }
  if (outcome !== undefined) {
    const ended = await complete(outcome);
    await learn(mail.to, decided.verdict, context);
    return ended;
  }

  const words = `${decided.provider}: ${decided.verdict.reply}`;
  if (decided.verdict.kind === 'deferred') {
    const ended = await retryOrGiveUp(message, context, claim, { ...tried, failures: tried.failures + 1 }, words);
    if (ended.kind === 'retry') await deps.tellDeferral(message, words);
    return ended;
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
