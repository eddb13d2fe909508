import type { SendEmail } from '@sluice/contracts';
import type { JobLog } from '@sluice/jobs';
import type { Message } from '@sluice/pipeline';

/** Whether a client asked to cancel a mail's job. */
export interface Cancellation {
  has(message: Message<SendEmail>): Promise<boolean>;
}

export interface CancellationSettings {
  readonly jobs: Pick<JobLog, 'read'>;
  /** Younger messages are not asked about. 5 s when absent. */
  readonly cancelCheckAfterMs?: number | undefined;
  readonly now?: () => number;
}

/**
 * Asks the job itself, but only where there was time for a second thought: a message that waited in the queue, or one
 * that comes again. A mail that is taken up within seconds of its acceptance is sent: its job ends as succeeded although its client asked to cancel it.
 */
export function createCancellation({
  jobs,
  cancelCheckAfterMs = 5_000,
  now = Date.now,
}: CancellationSettings): Cancellation {
  return {
    async has({ data, attempt, publishedAt }) {
      if (attempt === 1 && now() - publishedAt.getTime() < cancelCheckAfterMs) return false;
      const record = await jobs.read(data.jobId);
      return record?.job.cancelRequested === true;
    },
  };
}
