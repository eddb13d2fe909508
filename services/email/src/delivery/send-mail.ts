import type { EmailRequest, SendEmail } from '@sluice/contracts';
import type { Context, Message, Outcome } from '@sluice/pipeline';
import { composeMail } from '../compose/compose-mail.ts';
import type { MailClaim, MailOutcome } from './inbox.ts';
import type { MailerDeps } from './mailer-deps.ts';
import { AttachmentError } from '../compose/pdf-attachments.ts';
import { prepare, type Refusal } from './prepare.ts';
import { publishResult } from './result.ts';
import { codeOf, sendWithFailover } from './send-with-failover.ts';
import type { OutgoingMail } from '../providers/transport.ts';
import { TemplateVariablesError } from '../templates/catalogue.ts';

/**
 * Sends one mail and says how it ended. The order is what makes it effectively once: claim (a write), send, complete (a
 * write), emit the result, ack. A repeat after that finds the outcome and sends nothing.
 */
export async function sendMail(message: Message<SendEmail>, context: Context<MailerDeps>): Promise<Outcome> {
  const { deps } = context;
  const { jobId, replays, email } = message.data;
  if (email === undefined) return { kind: 'deadLetter', reason: 'the message asks for no mail' };

  if (await deps.cancelled.has(message)) return { kind: 'skip', reason: 'the job was cancelled' };
  const claimed = await deps.inbox.claim(`${jobId}.${replays}`);
  if (claimed.kind === 'busy')
    return { kind: 'retry', afterMs: claimed.forMs, reason: 'another process is sending it' };
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
  if (claim.abandoned) deps.metrics.ambiguous('crash');
  if (claim.possiblySent && deps.policy === 'park') {
    await claim.release('unknown', claim.attempts);
    return { kind: 'deadLetter', reason: 'the mail may have been delivered; replay it to send it again' };
  }

  const complete = async (outcome: MailOutcome): Promise<Outcome> => {
    await claim.complete(outcome);
    deps.metrics.result(email.template, outcome.kind === 'sent' ? 'sent' : outcome.code);
    return publishResult(message, context, outcome);
  };

  let mail: OutgoingMail;
  let to: string;
  try {
    const prepared = await prepare(message.data, claim.fresh, context);
    if ('code' in prepared) return await complete({ kind: 'failed', ...prepared });
    to = prepared.to;
    mail = composeMail(prepared, deps.sender);
  } catch (error) {
    const refusal = refusalOf(error);
    if (refusal !== undefined) return complete({ kind: 'failed', ...refusal });
    await claim.release('waiting', claim.attempts);
    throw error;
  }

  const { decided, attempts, cancelled } = await sendWithFailover(mail, claim, message, context);
  if (decided === undefined) {
    await claim.release('waiting', attempts);
    if (cancelled) return { kind: 'skip', reason: 'the job was cancelled' };
    return { kind: 'retry', reason: 'no provider can be reached' };
  }
  const { verdict, provider } = decided;
  if (verdict.kind === 'delivered') {
    return complete({ kind: 'sent', messageId: mail.messageId, provider, attempts, ambiguous: claim.possiblySent });
  }
  if (verdict.kind === 'rejected') {
    if (verdict.deadAddress) await suppress(to, context);
    return complete({ kind: 'failed', code: verdict.code, detail: `${provider}: ${verdict.reply}` });
  }
  if (verdict.kind === 'deferred') {
    await claim.release('waiting', attempts);
    return { kind: 'retry', reason: `${provider} said ${codeOf(verdict.reply)}` };
  }
  deps.metrics.ambiguous('no_answer');
  await claim.release('unknown', attempts);
  const reason = `${provider} did not answer; the mail may have been delivered`;
  return { kind: deps.policy === 'park' ? 'deadLetter' : 'retry', reason };
}

/** Remembers a dead address. A mail's result does not wait on it: the next mail would bounce once more, no worse. */
async function suppress(address: string, { deps, log }: Context<MailerDeps>): Promise<void> {
  try {
    await deps.suppressions.add(address);
    deps.metrics.suppressed();
  } catch (error) {
    log.warn({ err: error }, 'a dead address could not be remembered');
  }
}

/** Failures that are about the request and not about the moment. */
function refusalOf(error: unknown): Refusal | undefined {
  if (error instanceof TemplateVariablesError) return { code: error.code, detail: error.message };
  if (error instanceof AttachmentError) return { code: error.code, detail: error.message };
  return undefined;
}
