import { create } from '@bufbuild/protobuf';
import { FailureSchema, isJobStream, lanes } from '@sluice/contracts';
import { fail, isJobId } from '@sluice/jobs';
import { jobIdOf } from '@sluice/messaging';
import { DEAD_LETTER, definePipeline, type Message, type Outcome, type Pipeline } from '@sluice/pipeline';
import { engineOptions, type PipelineTuning } from '@sluice/service';
import { redactText } from '@sluice/telemetry';
import type { CompletionDeps } from '../jobs/results.ts';
import { runOf } from './record.ts';

/** Why work was given up, as the job tells its owner. */
const failures: Readonly<Record<string, { readonly code: string; readonly detail: string }>> = {
  exhausted: { code: 'attempts_exhausted', detail: 'The work failed on every attempt and was given up.' },
  permanent: { code: 'permanent_failure', detail: 'The work failed in a way that no repeat can fix.' },
  rejected: { code: 'rejected', detail: 'The work was refused.' },
  decode: { code: 'unreadable_message', detail: 'A message of this job could not be read.' },
  crashLoop: { code: 'worker_crashed', detail: 'The work was started and lost too often.' },
  stranded: { code: 'stranded', detail: 'The work was no longer delivered to any worker.' },
};

/**
 * Completes the job of every dead letter as failed, for every pipeline. Dead letters that belong to
 * no job stay what they are, a matter for an operator.
 */
export const deadLetters = (tuning: PipelineTuning): Pipeline<Uint8Array, CompletionDeps> =>
  definePipeline<Uint8Array, CompletionDeps>({
    name: 'dead_letters',
    sources: [{ stream: 'DLQ', consumer: 'dead_letters' }],
    decode: (bytes) => bytes,
    ...engineOptions(tuning),
    handle: async (message, { deps }) => completeDeadLetter(message, deps),
  });

const workStreams: ReadonlySet<string> = new Set(lanes);

/**
 * Whether the message ids of a consumer's messages are the system's own, so that one names the job whose step was given
 * up. The id of a command is its sender's choice and proves nothing; a callback that was given up changes no job, which
 * has ended by then. Read from the subject, which NATS permissions guard, and not from a header, which they do not.
 */
const endsJobs = (stream: string, consumer: string): boolean =>
  workStreams.has(stream) ||
  isJobStream(stream) ||
  // A mail that was deferred goes on, whether its job shows it or not.
  (stream === 'RESULTS' && consumer !== 'email_deferred') ||
  // Where results were in older versions.
  (stream === 'USERS' && consumer !== 'commands');

const LONGEST_ERROR = 200;

/** The last error, for the owner of the job: its class and words, without addresses, hosts, paths and keys. */
function lastError(name: string, detail: string): string {
  if (name === '' && detail === '') return '';
  const words = redactText(detail)
    .replace(/\b[a-z][a-z0-9+.-]*:\/\/\S+/gi, '[url]')
    .replace(/\b\d{1,3}(\.\d{1,3}){3}(:\d+)?\b/g, '[address]')
    .replace(/\b[\w-]+(\.[\w-]+)*:\d{2,5}\b/g, '[address]')
    .replace(/(^|\s)\/[\w.-]+(\/[\w.-]+)+/g, '$1[path]');
  const text = [name, words].filter((part) => part !== '').join(': ');
  return ` The last error: ${text.slice(0, LONGEST_ERROR)}`;
}

async function completeDeadLetter(message: Message<Uint8Array>, { jobs }: CompletionDeps): Promise<Outcome | void> {
  const header = (name: string): string => message.headers.get(name)?.[0] ?? '';
  const [, stream = '', consumer = ''] = message.subject.split('.');
  const messageId = header(DEAD_LETTER.messageId);
  const jobId = jobIdOf(messageId);
  if (!endsJobs(stream, consumer) || !isJobId(jobId)) return { kind: 'skip', reason: 'it ends no job' };
  const known = failures[header(DEAD_LETTER.reason)] ?? failures['exhausted']!;
  const last = lastError(header(DEAD_LETTER.errorName), header(DEAD_LETTER.detail));
  const failure = create(FailureSchema, { ...known, detail: `${known.detail}${last}` });
  const attempt = Number(header(DEAD_LETTER.deliveries)) || 0;
  // Anything else than work that was given up speaks of the job as it stands.
  const run = runOf(messageId);
  const record = await jobs.transition(jobId, (job) =>
    fail(job, { failure, attempt, replays: workStreams.has(stream) ? run : job.replays, cause: 'dead-letter' }),
  );
  return record?.moved === true
    ? undefined
    : { kind: 'skip', reason: 'the job has ended, is gone or is on a newer run' };
}
