import type { SendEmail } from '@sluice/contracts';
import type { Context, Message } from '@sluice/pipeline';
import { currentTraceId, withSpan } from '@sluice/telemetry';
import type { MailClaim } from './inbox.ts';
import type { MailerDeps } from './mailer-deps.ts';
import type { Dispatched, Tried } from '../providers/dispatcher.ts';
import type { OutgoingMail } from '../providers/transport.ts';

type Decided = Extract<Dispatched, { readonly kind: 'decided' }>;

/** What came of it. `decided` undefined: nothing was sent in all that time. */
interface Sent {
  readonly decided: Decided | undefined;
  /** SMTP attempts so far, those of earlier deliveries included. */
  readonly attempts: number;
  /** The job was called back while the mail was in hand. */
  readonly cancelled: boolean;
}

/**
 * Sends, and while no provider can be tried keeps the mail in hand instead of giving it back: a delivery that is given
 * back counts as an attempt, and an outage must not use up the attempts of what waits for its end.
 */
export async function sendWithFailover(
  mail: OutgoingMail,
  claim: MailClaim,
  message: Message<SendEmail>,
  context: Context<MailerDeps>,
): Promise<Sent> {
  const { dispatcher, metrics, lifecycle, cancelled, holdMs, stopping } = context.deps;
  const { jobId } = message.data;
  const where = { attempt: message.attempt, pipeline: message.consumer, traceId: currentTraceId() ?? '' };
  let attempts = claim.attempts;
  const send = async (): Promise<Decided | undefined> => {
    const dispatched = await traced(() => dispatcher.dispatch(mail, context.signal));
    attempts += dispatched.tried.length;
    for (const tried of dispatched.tried) {
      const detail = `${tried.provider}: ${describe(tried)}`;
      lifecycle(jobId, { ...where, event: 'smtp_attempt', durationMs: tried.durationMs, detail });
    }
    return dispatched.kind === 'decided' ? dispatched : undefined;
  };

  let decided = await send();
  if (decided !== undefined) return { decided, attempts, cancelled: false };
  const giveUp = AbortSignal.any([context.signal, stopping, AbortSignal.timeout(holdMs)]);
  const breakers = dispatcher.states.map(({ provider, state }) => `${provider} ${state}`).join(', ');
  lifecycle(jobId, { ...where, event: 'held', detail: breakers });
  metrics.held(1);
  try {
    for (let pauseMs = 100; decided === undefined && !giveUp.aborted; pauseMs = Math.min(pauseMs * 2, 5_000)) {
      await pause(pauseMs, giveUp);
      await dispatcher.whenAvailable(giveUp);
      if (giveUp.aborted) break;
      if (await cancelled.has(message)) return { decided: undefined, attempts, cancelled: true };
      decided = await send();
    }
    return { decided, attempts, cancelled: false };
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

/** The kind of verdict and the server's status codes: never its text, which quotes addresses. */
function describe({ verdict }: Tried): string {
  const code = codeOf(verdict.reply);
  return code === '' ? verdict.kind : `${verdict.kind} ${code}`;
}

/** Status and enhanced code of a reply. */
export function codeOf(reply: string): string {
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
