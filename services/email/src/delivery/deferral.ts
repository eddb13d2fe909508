import { create } from '@bufbuild/protobuf';
import { timestampFromDate } from '@bufbuild/protobuf/wkt';
import { channels, EmailDeferredSchema, type SendEmail } from '@sluice/contracts';
import { stepId, type Bus } from '@sluice/messaging';
import type { Message } from '@sluice/pipeline';
import type { Logger } from '@sluice/telemetry';

/**
 * Tells the gateway that a server asked to come again later with a mail, which is tried again. Never throws: the mail
 * goes its way whether this is heard or not, and the next deferral says it again.
 *
 * @param lastWords the provider and its server's words, masked.
 */
export type TellDeferral = (message: Message<SendEmail>, lastWords: string) => Promise<void>;

/** Tells it over a bus. */
export const createTellDeferral =
  (bus: Pick<Bus, 'publish'>, log: Logger): TellDeferral =>
  async ({ data: { jobId, replays }, attempt }, detail) => {
    const deferred = create(EmailDeferredSchema, {
      jobId,
      replays,
      attempt,
      detail,
      at: timestampFromDate(new Date()),
    });
    const id = `${stepId(jobId, 'deferred', replays)}.${attempt}`;
    await bus.publish(channels.emailDeferred, deferred, { id }).catch((error: unknown) => {
      log.warn({ err: error, jobId }, 'a deferral could not be told: the job does not show it');
    });
  };
