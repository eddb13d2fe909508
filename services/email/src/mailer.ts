import { create } from '@bufbuild/protobuf';
import { timestampFromDate } from '@bufbuild/protobuf/wkt';
import { channels, EmailSentSchema, type EmailRequest, type EmailSent, type SendEmail } from '@sluice/contracts';
import { encode, stepId, type Lifecycle } from '@sluice/messaging';
import type { Context, Message, Outcome } from '@sluice/pipeline';
import { currentSpan, currentTraceparent, withSpan } from '@sluice/telemetry';
import { parseAddress } from './address.ts';
import { composeMail, mayLink, type Letter, type Sender } from './compose.ts';
import type { Inbox, MailClaim, MailOutcome } from './inbox.ts';
import type { EmailMetrics } from './metrics.ts';
import { AttachmentError, type PdfPost } from './pdf-post.ts';
import type { Quota } from './quota.ts';
import type { Dispatched, Dispatcher, Tried } from './smtp/dispatcher.ts';
import type { OutgoingMail } from './smtp/transport.ts';
import type { Suppressions } from './suppressions.ts';
import { isTemplateName, TemplateVariablesError } from './templates/catalogue.ts';

/** What to do with a mail that may have been delivered: send it again under the same Message-ID, or leave it to a person. */
export type AmbiguityPolicy = 'resend' | 'park';

/** What a mailer works with. */
export interface MailerDeps {
  readonly inbox: Inbox;
  readonly quota: Quota;
  readonly suppressions: Suppressions;
  readonly dispatcher: Dispatcher;
  readonly sender: Sender;
  readonly pdfs: PdfPost;
  readonly metrics: EmailMetrics;
  readonly lifecycle: Lifecycle;
  readonly policy: AmbiguityPolicy;
  /** How long a mail is kept in hand while no provider can be tried, before its delivery is given back. */
  readonly holdMs: number;
  /** Aborted when the process is to end: mails in hand are given back at once. */
  readonly stopping: AbortSignal;
}

/**
 * Sends one mail and says how it ended. The order is what makes it effectively once: claim (a write), send, settle (a
 * write), emit the result, ack. Whatever is repeated after the settling finds the outcome and sends nothing.
 */
export async function sendMail(message: Message<SendEmail>, context: Context<MailerDeps>): Promise<Outcome> {
  const { deps } = context;
  const { jobId, replays, email } = message.data;
  if (email === undefined) return { kind: 'deadLetter', reason: 'the message asks for no mail' };

  const claimed = await deps.inbox.claim(`${jobId}.${replays}`);
  if (claimed.kind === 'busy')
    return { kind: 'retry', afterMs: claimed.forMs, reason: 'another process is sending it' };
  if (claimed.kind === 'done') {
    deps.metrics.repeatAvoided();
    return publish(message, context, claimed.outcome);
  }
  const { claim } = claimed;
  try {
    return await sendClaimed(message, context, email, claim);
  } catch (error) {
    claim.forget();
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
  if (claim.doubtful && deps.policy === 'park') {
    await claim.giveBack('unknown', claim.attempts);
    return { kind: 'deadLetter', reason: 'the mail may have been delivered; replay it to send it again' };
  }

  const settle = async (outcome: MailOutcome): Promise<Outcome> => {
    await claim.settle(outcome);
    deps.metrics.result(email.template, outcome.kind === 'sent' ? 'sent' : outcome.code);
    return publish(message, context, outcome);
  };

  let mail: OutgoingMail;
  let to: string;
  try {
    const prepared = await prepare(message.data, claim.fresh, context);
    if ('code' in prepared) return await settle({ kind: 'failed', ...prepared });
    to = prepared.to;
    mail = composeMail(prepared, deps.sender);
  } catch (error) {
    const failure = failureOf(error);
    if (failure !== undefined) return settle({ kind: 'failed', ...failure });
    await claim.giveBack('waiting', claim.attempts);
    throw error;
  }

  const { decided, attempts } = await sendOrHold(mail, claim, message, context);
  if (decided === undefined) {
    await claim.giveBack('waiting', attempts);
    return { kind: 'retry', reason: 'no provider can be reached' };
  }
  const { verdict, provider } = decided;
  if (verdict.kind === 'delivered') {
    return settle({ kind: 'sent', messageId: mail.messageId, provider, attempts, ambiguous: claim.doubtful });
  }
  if (verdict.kind === 'rejected') {
    if (verdict.deadAddress) await suppress(to, context);
    return settle({ kind: 'failed', code: verdict.code, detail: `${provider}: ${verdict.reply}` });
  }
  if (verdict.kind === 'deferred') {
    await claim.giveBack('waiting', attempts);
    return { kind: 'retry', reason: `${provider} said ${codeOf(verdict.reply)}` };
  }
  deps.metrics.ambiguous('no_answer');
  await claim.giveBack('unknown', attempts);
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

type Decided = Extract<Dispatched, { readonly kind: 'decided' }>;

/**
 * Sends, and while no provider can be tried keeps the mail in hand instead of giving it back: a delivery that is given
 * back counts as an attempt, and an outage must not use up the attempts of what waits for its end. `decided` undefined:
 * nothing was sent in all that time.
 */
async function sendOrHold(
  mail: OutgoingMail,
  claim: MailClaim,
  message: Message<SendEmail>,
  context: Context<MailerDeps>,
): Promise<{ decided: Decided | undefined; attempts: number }> {
  const { dispatcher, metrics, lifecycle, holdMs, stopping } = context.deps;
  const { jobId } = message.data;
  let attempts = claim.attempts;
  const send = async (): Promise<Decided | undefined> => {
    const dispatched = await traced(() => dispatcher.dispatch(mail, context.signal));
    attempts += dispatched.tried.length;
    for (const tried of dispatched.tried) {
      const detail = `${tried.provider}: ${describe(tried)}`;
      lifecycle(jobId, { event: 'smtp_attempt', attempt: message.attempt, durationMs: tried.durationMs, detail });
    }
    return dispatched.kind === 'decided' ? dispatched : undefined;
  };

  let decided = await send();
  if (decided !== undefined) return { decided, attempts };
  const giveUp = AbortSignal.any([context.signal, stopping, AbortSignal.timeout(holdMs)]);
  const breakers = dispatcher.states.map(({ provider, state }) => `${provider} ${state}`).join(', ');
  lifecycle(jobId, { event: 'held', attempt: message.attempt, detail: breakers });
  metrics.held(1);
  try {
    for (let pauseMs = 100; decided === undefined && !giveUp.aborted; pauseMs = Math.min(pauseMs * 2, 5_000)) {
      await pause(pauseMs, giveUp);
      await dispatcher.whenAvailable(giveUp);
      if (!giveUp.aborted) decided = await send();
    }
    return { decided, attempts };
  } finally {
    metrics.held(-1);
  }
}

/** One span for all attempts of a mail; each is an event on it. */
function traced(dispatch: () => Promise<Dispatched>): Promise<Dispatched> {
  return withSpan('smtp send', { kind: 'client' }, async (span) => {
    const dispatched = await dispatch();
    const last = dispatched.tried.at(-1);
    span.setAttributes({
      'email.provider': last?.provider ?? 'none',
      'email.verdict': last?.verdict.kind ?? 'unavailable',
      'email.attempts': dispatched.tried.length,
    });
    for (const tried of dispatched.tried) {
      span.addEvent('attempt', { provider: tried.provider, verdict: describe(tried), duration_ms: tried.durationMs });
    }
    return dispatched;
  });
}

/** The variables in which a caller may link somewhere. */
const LINKS = ['actionUrl', 'link', 'unsubscribeUrl'] as const;

/** Checks what was asked for, and fetches what the mail needs. A failure here is about the request, and final. */
async function prepare(
  { jobId, replays, email, account }: SendEmail,
  fresh: boolean,
  { deps, signal }: Context<MailerDeps>,
): Promise<Letter | { code: string; detail: string }> {
  if (email === undefined || !isTemplateName(email.template)) {
    return { code: 'unknown_template', detail: 'there is no such template' };
  }
  const to = parseAddress(email.to);
  if (to === undefined) return { code: 'invalid_address', detail: 'the recipient is not one bare address' };
  const variables = email.variables ?? {};
  const forbidden = LINKS.find((name) => {
    const link = variables[name];
    return typeof link === 'string' && !mayLink(link, deps.sender.links);
  });
  if (forbidden !== undefined) return { code: 'invalid_variables', detail: `${forbidden}: may not be linked to` };
  if (await deps.suppressions.has(to)) {
    return { code: 'recipient_suppressed', detail: 'an earlier mail to this address bounced for good' };
  }
  if (fresh) {
    const over = await deps.quota.charge(account, to);
    if (over !== undefined) {
      deps.metrics.overQuota(over);
      const detail = over === 'account' ? 'the daily quota of the account' : 'the hourly quota of the recipient';
      return { code: 'quota_exceeded', detail: `${detail} is used up` };
    }
  }
  const letter: Letter = { jobId, replays, to, template: email.template, variables };
  return email.attachmentKey === '' ? letter : deps.pdfs.enclose(letter, email.attachmentKey, signal);
}

/** Publishes the result, before the ack and under an id of its own: a repeat is recognised as one. */
function publish(message: Message<SendEmail>, context: Context<MailerDeps>, outcome: MailOutcome): Outcome {
  const { jobId, replays } = message.data;
  const result: EmailSent = create(EmailSentSchema, {
    jobId,
    replays,
    outcome:
      outcome.kind === 'sent'
        ? { case: 'succeeded', value: { ...outcome, messageId: outcome.messageId } }
        : { case: 'failed', value: { code: outcome.code, detail: outcome.detail } },
    finishedAt: timestampFromDate(new Date()),
    attempt: message.attempt,
    traceparent: currentTraceparent() ?? '',
  });
  currentSpan()?.setAttribute('email.outcome', outcome.kind === 'sent' ? 'sent' : outcome.code);
  context.emit(channels.emailSent.template, encode(channels.emailSent, result), { id: stepId(jobId, 'sent', replays) });
  return { kind: 'ack' };
}

function failureOf(error: unknown): { code: string; detail: string } | undefined {
  if (error instanceof TemplateVariablesError) return { code: error.code, detail: error.message };
  if (error instanceof AttachmentError) return { code: error.code, detail: error.message };
  return undefined;
}

/** The kind of verdict and the server's status codes: never its text, which quotes addresses. */
function describe({ verdict }: Tried): string {
  const code = codeOf(verdict.reply);
  return code === '' ? verdict.kind : `${verdict.kind} ${code}`;
}

function codeOf(reply: string): string {
  const [, status = '', enhanced] = /^(\d{3})(?:[ -](\d\.\d{1,3}\.\d{1,3}))?/.exec(reply) ?? [];
  return enhanced === undefined ? status : `${status} ${enhanced}`;
}

function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const end = (): void => {
      clearTimeout(timer);
      signal.removeEventListener('abort', end);
      resolve();
    };
    const timer = setTimeout(end, ms);
    signal.addEventListener('abort', end, { once: true });
    if (signal.aborted) end();
  });
}
