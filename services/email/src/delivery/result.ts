import { create, type MessageInitShape } from '@bufbuild/protobuf';
import { timestampFromDate } from '@bufbuild/protobuf/wkt';
import {
  channels,
  EmailSentSchema,
  mailCopies,
  type EmailResultSchema,
  type EmailSent,
  type SendEmail,
} from '@sluice/contracts';
import { encode, stepId } from '@sluice/messaging';
import type { Context, Message, Outcome } from '@sluice/pipeline';
import { currentSpan, workTraceparent } from '@sluice/telemetry';
import type { MailOutcome } from './inbox.ts';

/** Publishes the result, before the ack and under an id of its own: a repeat is recognised as one. */
export function publishResult(message: Message<SendEmail>, context: Context<unknown>, outcome: MailOutcome): Outcome {
  const { jobId, replays, email } = message.data;
  const result: EmailSent = create(EmailSentSchema, {
    jobId,
    replays,
    outcome:
      outcome.kind === 'sent'
        ? { case: 'succeeded', value: sentFields(outcome, mailCopies(email ?? { cc: [], bcc: [] })) }
        : outcome.kind === 'failed'
          ? { case: 'failed', value: { code: outcome.code, detail: outcome.detail } }
          : { case: 'cancelled', value: {} },
    finishedAt: timestampFromDate(new Date()),
    attempt: message.attempt,
    traceparent: workTraceparent() ?? '',
  });
  currentSpan()?.setAttribute('email.outcome', outcome.kind === 'failed' ? outcome.code : outcome.kind);
  context.emit(channels.emailSent.template, encode(channels.emailSent, result), { id: stepId(jobId, 'sent', replays) });
  return { kind: 'ack' };
}

/** What the result says of a mail that went out. `copies` stand in the order of those of the request. */
function sentFields(
  { messageId, provider, attempts, ambiguous, copies = [] }: Extract<MailOutcome, { readonly kind: 'sent' }>,
  places: readonly { readonly place: string }[],
): MessageInitShape<typeof EmailResultSchema> {
  return {
    messageId,
    provider,
    attempts,
    ambiguous,
    copies: copies.map((copy, n) =>
      copy.kind === 'sent'
        ? { recipient: places[n]?.place ?? '', provider: copy.provider, ambiguous: copy.ambiguous }
        : { recipient: places[n]?.place ?? '', failed: { code: copy.code, detail: copy.detail } },
    ),
  };
}
