import type { Job } from '@sluice/contracts';
import { isTerminal } from '@sluice/jobs';
import type { FastifyReply, FastifyRequest } from 'fastify';
import type { Acceptance } from '../jobs/accept/accept-job.ts';
import type { RouteDeps } from './deps.ts';
import { jobView, type JobView } from '../jobs/job-view.ts';

type WaitDeps = Pick<RouteDeps, 'jobs' | 'live' | 'closing'>;

const MAX_WAIT_SECONDS = 60;

/** The seconds a client asks to wait for the end of its job: `Prefer: wait=N` (RFC 7240). */
export function preferredWaitSeconds(request: FastifyRequest): number {
  const header = request.headers['prefer'];
  const found = /(?:^|[,;\s])wait\s*=\s*"?(\d{1,6})"?/i.exec(Array.isArray(header) ? header.join(',') : (header ?? ''));
  return Math.min(Number(found?.[1] ?? 0), MAX_WAIT_SECONDS);
}

/**
 * Answers an accepted job: 202 with where to find it, or 200 with the ended job when the client asked to wait and it
 * ended in time. The repeat of a request is answered like the request.
 */
export async function answerAccepted(
  deps: WaitDeps,
  request: FastifyRequest,
  reply: FastifyReply,
  acceptance: Acceptance,
): Promise<JobView> {
  const waitSeconds = preferredWaitSeconds(request);
  let job = acceptance.job;
  if (waitSeconds > 0) {
    reply.header('preference-applied', `wait=${waitSeconds}`);
    if (!isTerminal(job.state)) job = await jobAtEnd(deps, job, waitSeconds * 1000, reply.raw);
  }
  const ended = waitSeconds > 0 && isTerminal(job.state);
  reply.header('location', `/v1/jobs/${job.id}`);
  if (acceptance.repeated) reply.header('idempotent-replayed', 'true');
  reply.code(ended ? 200 : 202);
  return jobView(job);
}

/**
 * The job once it has ended, or as it stands when the time is up, the client has gone or the process stops. What goes
 * wrong here, the job is accepted, and that is what the client must hear.
 *
 * @param response whose closing tells that the client has gone. Its request is of no use for that: read to its end, as the
 * body of an accepted job is, it says nothing more.
 */
async function jobAtEnd(deps: WaitDeps, job: Job, timeoutMs: number, response: NodeJS.EventEmitter): Promise<Job> {
  const ended = Promise.withResolvers<void>();
  const listening = deps.live.listen(job.id, (stored) => {
    if (stored.final) ended.resolve();
  });
  const timer = setTimeout(ended.resolve, timeoutMs);
  const stopWaiting = (): void => ended.resolve();
  response.once('close', stopWaiting);
  deps.closing.addEventListener('abort', stopWaiting, { once: true });
  try {
    await Promise.race([listening.heard.catch(() => undefined), ended.promise]);
    // It may have ended before the listener was there.
    const before = await deps.jobs.read(job.id).catch(() => undefined);
    if (before !== undefined && isTerminal(before.job.state)) return before.job;
    await ended.promise;
    const after = await deps.jobs.read(job.id, 'leader').catch(() => undefined);
    return (after ?? before)?.job ?? job;
  } finally {
    clearTimeout(timer);
    listening.stop();
    response.removeListener('close', stopWaiting);
    deps.closing.removeEventListener('abort', stopWaiting);
  }
}
