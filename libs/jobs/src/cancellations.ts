import { isSubjectToken, JobState } from '@sluice/contracts';
import type { Context, Message, Middleware, NatsPort, Outcome } from '@sluice/pipeline';
import type { JobLog } from './log.ts';

/** The handler's job was cancelled: `signal.reason` of a handler that has to stop. */
export class JobCancelled extends Error {
  override readonly name = 'JobCancelled';
  readonly code = 'job_cancelled';
  constructor(jobId: string) {
    super(`job ${jobId} was cancelled`);
  }
}

/** Tells workers that wait for nothing else: a core message, at most once. The state of the job is what counts. */
const SUBJECT = 'control.cancel';

/** Tells the worker of a job that it is to be cancelled. Best effort: a worker that misses it finishes the job. */
export function announceCancellation(port: NatsPort, jobId: string): void {
  if (isSubjectToken(jobId)) port.send(`${SUBJECT}.${jobId}`, '');
}

/** The cancellations that reach this process. */
export interface Cancellations {
  /**
   * Runs work with a signal that aborts when `signal` does or when the job is cancelled, `signal.reason` a
   * {@link JobCancelled} then. One subscription serves all jobs of the process; idle jobs cost a map entry.
   *
   * ```ts
   * handle: (message, context) =>
   *   cancellations.during(message.data.jobId, context.signal, (signal) => convert(message.data, signal)),
   * ```
   */
  during<R>(jobId: string, signal: AbortSignal, run: (signal: AbortSignal) => Promise<R>): Promise<R>;
  close(): void;
}

/** Listens for cancellations. */
export function watchCancellations(port: NatsPort): Cancellations {
  const running = new Map<string, Set<AbortController>>();
  const subscription = port.subscribe(`${SUBJECT}.*`, ({ subject }) => {
    const jobId = subject.slice(SUBJECT.length + 1);
    for (const controller of running.get(jobId) ?? []) controller.abort(new JobCancelled(jobId));
  });
  return {
    async during(jobId, signal, run) {
      const controller = new AbortController();
      const ofJob = running.get(jobId) ?? new Set();
      running.set(jobId, ofJob.add(controller));
      try {
        return await run(AbortSignal.any([signal, controller.signal]));
      } finally {
        ofJob.delete(controller);
        if (ofJob.size === 0) running.delete(jobId);
      }
    },
    close: () => subscription.unsubscribe(),
  };
}

/** How a pipeline says that it left a job undone. */
export interface CancelledWork<T, D> {
  /** Publishes that nothing was done, and acknowledges. */
  readonly report: (message: Message<T>, context: Context<D>) => Outcome;
  /** Whether an earlier attempt has done the work. Then it is finished as if no cancellation had been asked for. */
  readonly wasDone: (message: Message<T>, context: Context<D>) => Promise<boolean>;
}

/**
 * Keeps a pipeline from working for nothing: a job that is to be cancelled is not begun, and when it is cancelled
 * meanwhile, its handler's signal is aborted. Either way the pipeline reports that nothing was done, and only that
 * report ends the job as cancelled. Give it to a pipeline as `use: [unlessCancelled(...)]`.
 */
export function unlessCancelled<T extends { readonly jobId: string }, D>(
  jobs: Pick<JobLog, 'read'>,
  cancellations: Cancellations,
  { report, wasDone }: CancelledWork<T, D>,
): Middleware<T, D> {
  return (next) => (message, context) => {
    const { jobId } = message.data;
    return cancellations.during(jobId, context.signal, async (signal) => {
      // Listening first, then looking: a cancellation falls on one side or the other.
      const found = await jobs.read(jobId);
      if (found?.job.state === JobState.CANCELLED) return { kind: 'skip', reason: 'the job was cancelled' };
      if (found?.job.cancelRequested === true && !(await wasDone(message, context))) return report(message, context);
      try {
        return await next(message, {
          deps: context.deps,
          log: context.log,
          signal,
          fence: context.fence,
          emit: (subject, data, options) => context.emit(subject, data, options),
        });
      } catch (error) {
        if (signal.reason instanceof JobCancelled && !(await wasDone(message, context)))
          return report(message, context);
        throw error;
      }
    });
  };
}
