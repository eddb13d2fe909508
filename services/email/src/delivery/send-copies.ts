import { mailCopies, type EmailRequest, type SendEmail } from '@sluice/contracts';
import type { Context, Message, Outcome } from '@sluice/pipeline';
import { composeMail, type MailInput } from '../compose/compose-mail.ts';
import type { CopiesProgress, CopyOutcome, CopyProgress, MailClaim, MailOutcome, Progress } from './inbox.ts';
import { learn } from './learn.ts';
import type { MailerDeps } from './mailer-deps.ts';
import { prepare, refusalOf, refusalOfRecipient, withFiles, type Refusal } from './prepare.ts';
import { decideRetry, MAX_UNANSWERED } from './retry-policy.ts';
import { sendWithFailover, type Sent } from './send-with-failover.ts';

interface Work {
  readonly message: Message<SendEmail>;
  readonly context: Context<MailerDeps>;
  readonly email: EmailRequest;
  readonly claim: MailClaim;
  readonly progress: Progress;
  readonly copies: CopiesProgress;
  /** The mail, where this delivery has sent it; made again if absent. */
  readonly input?: MailInput | undefined;
  readonly complete: (outcome: MailOutcome) => Promise<Outcome>;
}

/**
 * Sends the copies of a mail that was taken: one after the other, each a mail of its own with its own verdict, so that a
 * refusal of one says nothing about the others. The job has succeeded, and its result says what became of
 * each. What is recorded before each copy is what a crash would leave open.
 */
export async function sendCopies({
  message,
  context,
  email,
  claim,
  progress,
  copies,
  ...work
}: Work): Promise<Outcome> {
  const { deps } = context;
  const { account } = message.data;
  const recipients = mailCopies(email);
  const each: CopyProgress[] = [...copies.each];
  let { attempts, failures } = progress;
  let lastWords = '';
  let retryAfterMs: number | undefined;
  const progressAt = (current: number): Progress => ({
    ...progress,
    attempts,
    failures,
    copies: { ...copies, each, current },
  });
  const pending = (): number => each.findIndex(({ outcome }) => outcome === undefined);
  const endPending = (failure: Refusal): void => {
    for (const [index, copy] of each.entries()) {
      if (copy.outcome === undefined) each[index] = { ...copy, outcome: { kind: 'failed', ...failure } };
    }
  };

  let input: MailInput | undefined;
  try {
    const prepared = work.input ?? (await prepare(message.data, context));
    if ('code' in prepared) endPending(prepared);
    else input = work.input ?? (await withFiles(prepared, email, context));
  } catch (error) {
    const refusal = refusalOf(error);
    if (refusal === undefined) {
      failures += 1;
      lastWords = error instanceof Error ? error.message : String(error);
    } else endPending(refusal);
  }

  let recorded = copies.current;
  let failedNow = false;
  let deferredBy: string | undefined;
  for (const [index, { place, address }] of recipients.entries()) {
    const copy = each[index] ?? { charged: false, unanswered: 0 };
    if (input === undefined || copy.outcome !== undefined) continue;
    if (deps.stopping.aborted || context.signal.aborted) break;
    const { recurring } = input.template;
    const refusal = await refusalOfRecipient(address, { account, recurring, charge: !copy.charged }, deps);
    const over = copy.unanswered >= MAX_UNANSWERED || (copy.unanswered > 0 && deps.policy === 'park');
    if (refusal !== undefined || over) {
      each[index] = { ...copy, outcome: { kind: 'failed', ...(refusal ?? possiblySent) } };
      continue;
    }
    each[index] = { ...copy, charged: true };
    if (recorded !== index) await claim.advance(progressAt(index));
    recorded = index;
    const mail = await composeMail(input, deps.senders.get(account) ?? deps.sender, index + 1);
    // The mail itself is gone: there is nothing to cancel, and no copy holds a slot while it waits.
    const sent = await sendWithFailover(mail, message, context, notHeld);
    attempts += sent.attempts;
    const { decided } = sent;
    if (decided === undefined) {
      lastWords = `${place}: ${sent.lastWords}`;
      retryAfterMs ??= sent.retryAfterMs;
      // Without a provider there is none for the next copy either; another domain may be well.
      if (sent.retryAfterMs === undefined) break;
      continue;
    }
    const outcome = outcomeOf(decided, copy.unanswered > 0);
    if (outcome !== undefined) {
      each[index] = { ...copy, charged: true, outcome };
      await learn(address, decided.verdict, context);
      continue;
    }
    lastWords = `${place}: ${decided.provider}: ${decided.verdict.reply}`;
    failedNow = true;
    if (decided.verdict.kind === 'deferred') deferredBy = lastWords;
    if (decided.verdict.kind !== 'unknown') continue;
    deps.metrics.ambiguous('no_answer');
    const unanswered = copy.unanswered + 1;
    each[index] =
      deps.policy === 'park' || unanswered >= MAX_UNANSWERED
        ? { charged: true, unanswered, outcome: { kind: 'failed', ...possiblySent } }
        : { charged: true, unanswered };
  }
  if (failedNow) failures += 1;

  const decision =
    pending() < 0 ? undefined : decideRetry(deps.retry, progressAt(pending()), Date.now(), Math.random());
  if (decision?.kind === 'retry') {
    await claim.release(progressAt(pending()));
    if (deferredBy !== undefined) await deps.tellDeferral(message, deferredBy);
    return { kind: 'retry', afterMs: retryAfterMs ?? decision.afterMs, reason: lastWords || 'the service is stopping' };
  }
  if (decision !== undefined) endPending({ code: 'undelivered', detail: `${decision.why}; ${lastWords}` });
  const outcomes = each.flatMap(({ outcome }) => outcome ?? []);
  return work.complete({ kind: 'sent', ...copies.mail, copies: outcomes });
}

const possiblySent: Refusal = {
  code: 'possibly_sent',
  detail: 'an attempt had no answer: the copy may have been delivered',
};

const notHeld: Pick<MailerDeps, 'holdMs' | 'cancelled'> = {
  holdMs: 0,
  cancelled: { has: () => Promise.resolve(false) },
};

/** The end of a copy by a verdict, or undefined when the verdict leaves it open. */
function outcomeOf({ verdict, provider }: NonNullable<Sent['decided']>, ambiguous: boolean): CopyOutcome | undefined {
  const detail = `${provider}: ${verdict.reply}`;
  switch (verdict.kind) {
    case 'delivered':
      return { kind: 'sent', provider, ambiguous };
    case 'rejected':
      return { kind: 'failed', code: verdict.code, detail };
    case 'refused':
      return { kind: 'failed', code: 'mail_rejected', detail };
    default:
      return undefined;
  }
}
