import { isJobId, isTerminal, type JobLog } from '@sluice/jobs';
import { lifetimes, scaledMs } from '@sluice/messaging';
import { startCleanup, type CleanupReport, type ObjectStore } from '@sluice/storage';
import type { Logger } from '@sluice/telemetry';
import { resultExpiresMs } from '../jobs/result-expiry.ts';

/** What is cleaned up: what clients uploaded, what their jobs made of it, and files for mails. */
export const cleanedPrefixes = ['uploads/', 'pdf/', 'attachments/'] as const;
type Prefix = (typeof cleanedPrefixes)[number];

const CLEAN_EVERY_MS = scaledMs(15 * 60_000, 2_000);

export interface ObjectCleanupSettings {
  readonly store: ObjectStore;
  readonly jobs: JobLog;
  readonly log: Logger;
  readonly now: () => number;
  /** How long the PDF of a job is kept after the job has ended. */
  readonly resultTtlMs: number;
  readonly onCleaned: (prefix: Prefix, report: CleanupReport) => void;
  /** A quarter of an hour unless told otherwise. */
  readonly everyMs?: number;
}

/**
 * Deletes the uploads that no job needs any more and the PDFs whose time is over. Looks at every object, and at the job
 * of those that are old enough: a job is asked about a few times in its life at most.
 */
export function startObjectCleanup(settings: ObjectCleanupSettings): { stop(): Promise<void> } {
  const { store, jobs, log, now, resultTtlMs, onCleaned, everyMs = CLEAN_EVERY_MS } = settings;

  const isLive: Readonly<Record<Prefix, (key: string) => Promise<boolean>>> = {
    async 'uploads/'(key) {
      const jobId = key.split('/')[1] ?? '';
      const record = isJobId(jobId) ? await jobs.read(jobId, 'leader') : undefined;
      // A job that was given up keeps its pictures for an operator's replay, as long as JOBS remembers it.
      return record !== undefined && (!isTerminal(record.job.state) || record.cause === 'dead-letter');
    },
    async 'pdf/'(key) {
      const jobId = /^pdf\/(.+)\.pdf$/.exec(key)?.[1] ?? '';
      const record = isJobId(jobId) ? await jobs.read(jobId, 'leader') : undefined;
      // A PDF can be older than the end of its job: its time begins with that end.
      return (
        record !== undefined && (!isTerminal(record.job.state) || now() < resultExpiresMs(record.job, resultTtlMs))
      );
    },
    // Any number of mails may carry a file, and none of them is tried longer than it is kept.
    'attachments/': () => Promise.resolve(false),
  };

  const olderThanMs: Readonly<Record<Prefix, number>> = {
    'uploads/': lifetimes.upload,
    // No job ends before its PDF is there, so what is younger than that is not worth a look.
    'pdf/': resultTtlMs,
    'attachments/': lifetimes.attachment,
  };

  const running = cleanedPrefixes.map((prefix) =>
    startCleanup({
      store,
      prefix,
      now,
      isLive: ({ key }) => isLive[prefix](key),
      olderThanMs: olderThanMs[prefix],
      everyMs,
      onCleaned: (report) => {
        onCleaned(prefix, report);
        if (report.deleted + report.unfinished > 0) log.info({ prefix, ...report }, 'objects cleaned up');
      },
      onError: (error) => log.warn({ err: error, prefix }, 'objects could not be cleaned up'),
    }),
  );
  return {
    async stop() {
      await Promise.all(running.map((each) => each.stop()));
    },
  };
}
