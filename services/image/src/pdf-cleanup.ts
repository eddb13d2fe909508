import type { ObjectStore } from '@sluice/storage';
import type { Logger } from '@sluice/telemetry';

export interface PdfCleanupSettings {
  readonly store: Pick<ObjectStore, 'dropUnfinished'>;
  readonly log: Pick<Logger, 'info' | 'warn'>;
  /** How old parts of a PDF must be: older than any that is still being written. */
  readonly olderThanMs: number;
  /** How often they are looked for, an hour unless told otherwise. */
  readonly everyMs?: number;
}

/**
 * Deletes multipart uploads of PDFs that were never completed, every hour until stopped. A conversion that fails aborts its own; a
 * service that was killed in the middle of one could not.
 */
export function startPdfCleanup(settings: PdfCleanupSettings): { stop(): void } {
  const { store, log, olderThanMs, everyMs = 60 * 60_000 } = settings;
  const timer = setInterval(() => {
    store.dropUnfinished('pdf/', new Date(Date.now() - olderThanMs)).then(
      (dropped) => {
        if (dropped > 0) log.info({ dropped }, 'parts of unfinished PDFs dropped');
      },
      (error: unknown) => log.warn({ err: error }, 'parts of unfinished PDFs could not be dropped'),
    );
  }, everyMs);
  timer.unref();
  return { stop: () => clearInterval(timer) };
}
