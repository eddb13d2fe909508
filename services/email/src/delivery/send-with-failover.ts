import type { SendEmail } from '@sluice/contracts';
import type { Context, Message } from '@sluice/pipeline';
import { currentTraceId, withSpan } from '@sluice/telemetry';
import type { Dispatched, Refusals, Tried } from '../providers/dispatcher.ts';
import type { OutgoingMail } from '../providers/outgoing-mail.ts';
import type { MailerDeps } from './mailer-deps.ts';

export type Decided = Extract<Dispatched, { readonly kind: 'decided' }>;

/** What came of a mail in one delivery of its message. */
export interface Sent {
  /** The verdict that decides; undefined when nothing was sent. */
  readonly decided: Decided | undefined;
  /** Set when only the mail's domain cannot be reached: when to try again. */
  readonly retryAfterMs: number | undefined;
  /** SMTP attempts of this delivery. */
  readonly attempts: number;
  /** Provider and last words of the last attempt, or why there was none. */
  readonly lastWords: string;
  /** The job was cancelled while the mail was held. */
  readonly cancelled: boolean;
}

/**
 * Sends a mail. While no provider can be tried the mail is held here, in its slot: nothing else could be sent either,
 * and full slots are what stops the pulling. A mail whose domain alone is in trouble goes back to the queue, because its
 * slot is needed for mail to others.
 *
 * @param hold how long it is held, and what calls it off meanwhile; as for every mail if absent.
 */
export async function sendWithFailover(
  mail: OutgoingMail,
  message: Message<SendEmail>,
  context: Context<MailerDeps>,
  hold: Pick<MailerDeps, 'holdMs' | 'cancelled'> = context.deps,
): Promise<Sent> {
  const { dispatcher, metrics, lifecycle, stopping } = context.deps;
  const { holdMs, cancelled } = hold;
  const { jobId } = message.data;
  const where = { attempt: message.attempt, pipeline: message.consumer, traceId: currentTraceId() ?? '' };
  const refusals: Refusals = new Map();
  let attempts = 0;
  // Where no attempt is made, the one that opened the breaker says why.
  const faults = dispatcher.states.filter(({ state, lastFault }) => state !== 'closed' && lastFault !== '');
  let lastWords = faults.map(({ provider, lastFault }) => `${provider}: ${lastFault}`).join('; ');
  const send = async (): Promise<Dispatched> => {
    const dispatched = await traced(() => dispatcher.dispatch(mail, context.signal, refusals));
    attempts += dispatched.tried.length;
    for (const tried of dispatched.tried) {
      lastWords = `${tried.provider}: ${tried.verdict.reply}`;
      const detail = `${tried.provider}: ${describe(tried)}`;
      lifecycle(jobId, { ...where, event: 'smtp_attempt', durationMs: tried.durationMs, detail, mayWait: true });
    }
    return dispatched;
  };
  const ended = (dispatched: Dispatched, isCancelled = false): Sent => ({
    decided: dispatched.kind === 'decided' ? dispatched : undefined,
    retryAfterMs: dispatched.kind === 'domainUnavailable' ? dispatched.retryAfterMs : undefined,
    attempts,
    lastWords: dispatched.kind === 'domainUnavailable' ? dispatched.lastFault : lastWords || 'no provider takes mail',
    cancelled: isCancelled,
  });

  let dispatched = await send();
  if (dispatched.kind !== 'unavailable') return ended(dispatched);
  const stopWaiting = AbortSignal.any([context.signal, stopping, AbortSignal.timeout(holdMs)]);
  const breakers = dispatcher.states.map(({ provider, state }) => `${provider} ${state}`).join(', ');
  lifecycle(jobId, { ...where, event: 'held', detail: breakers });
  metrics.held(1);
  try {
    for (let pauseMs = 100; dispatched.kind === 'unavailable' && !stopWaiting.aborted;) {
      await pause(pauseMs, stopWaiting);
      pauseMs = Math.min(pauseMs * 2, 5_000);
      await dispatcher.whenAvailable(stopWaiting);
      if (stopWaiting.aborted) break;
      if (await cancelled.has(message)) return ended(dispatched, true);
      dispatched = await send();
    }
    return ended(dispatched);
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

/** The kind of verdict, and the server's words where it did not take the mail: masked, as every reply of a transport. */
function describe({ verdict }: Tried): string {
  return verdict.kind === 'delivered' ? 'delivered' : `${verdict.kind} ${verdict.reply}`;
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
