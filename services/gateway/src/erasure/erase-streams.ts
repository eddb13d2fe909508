import { create, fromBinary } from '@bufbuild/protobuf';
import {
  channels,
  JobFinishedSchema,
  jobKinds,
  lanes,
  SendEmailSchema,
  type Job,
  type JobStream,
} from '@sluice/contracts';
import { erasedJob, isJobId, isTerminal, type JobLog } from '@sluice/jobs';
import { jobIdOf, topology, type Bus } from '@sluice/messaging';
import { DEAD_LETTER } from '@sluice/pipeline';
import type { ObjectStore } from '@sluice/storage';
import { outputKey } from '../jobs/kinds/image.ts';
import { isPast } from '../jobs/reconciler/settled.ts';
import type { Mentions } from './mentions.ts';
import type { Walked } from './walk.ts';

export interface EraseDeps {
  readonly bus: Bus;
  readonly jobs: JobLog;
  readonly store: ObjectStore;
}

/** What an erasure found. */
export interface ErasureCounts {
  /** Ended jobs whose request was erased. */
  jobs: number;
  /** Messages of other streams that were erased. */
  messages: number;
  /** Uploads and PDFs that were deleted. */
  objects: number;
  /** Entries of the history. */
  history: number;
  /** Jobs that have not ended, and commands that wait: a later run erases them. */
  open: number;
}

export const noCounts: Readonly<ErasureCounts> = { jobs: 0, messages: 0, objects: 0, history: 0, open: 0 };

/** A stream that can hold what speaks of a person, and what becomes of such a message. */
interface Rule {
  readonly stream: string;
  readonly isQueue: boolean;
  /** The subject whose message a payload is; that of the message itself if absent. */
  readonly subjectOf?: (message: Walked) => string;
  erase(deps: EraseDeps, message: Walked, mentions: Mentions): Promise<Partial<ErasureCounts>>;
}

const eraseMessage =
  (stream: string): Rule['erase'] =>
  async ({ bus }, { sequence }) => {
    await bus.erase(stream, sequence);
    return { messages: 1 };
  };

/** Work of a job that has not ended would be published again: it is erased once its job is. */
async function isOpen(jobs: JobLog, jobId: string): Promise<boolean> {
  const found = isJobId(jobId) ? await jobs.read(jobId, 'leader') : undefined;
  return found !== undefined && !isTerminal(found.job.state);
}

/** In this order: what tells others of a job's end was stored by the time the job itself is erased. */
export const eraseRulesOf = (jobStreams: readonly JobStream[]): readonly Rule[] => [
  ...jobStreams.map((stream): Rule => ({ stream, isQueue: false, erase: eraseJob })),
  // A command is not answered yet: it becomes a job within milliseconds, or when its account's rate allows.
  { stream: 'USERS', isQueue: true, erase: async () => ({ open: 1 }) },
  // A result is applied to its job within milliseconds.
  { stream: 'RESULTS', isQueue: true, erase: async () => ({ open: 1 }) },
  ...lanes
    .filter((lane) => Object.values<string>(jobKinds.email.lanes).includes(lane))
    .map((stream): Rule => ({ stream, isQueue: true, erase: eraseWork(stream) })),
  ...(['CLIENTS', 'WEBHOOKS'] as const).map((stream): Rule => ({ stream, isQueue: true, erase: replace(stream) })),
  {
    stream: 'KV_email_inbox',
    isQueue: false,
    async erase(deps, message, mentions) {
      const jobId = jobIdOf(message.subject.slice(message.subject.indexOf('job_')));
      if (await isOpen(deps.jobs, jobId)) return {};
      return eraseMessage('KV_email_inbox')(deps, message, mentions);
    },
  },
  {
    stream: 'DLQ',
    isQueue: false,
    subjectOf: ({ header }) => header(DEAD_LETTER.subject),
    erase: eraseMessage('DLQ'),
  },
  { stream: 'EVENTS', isQueue: false, erase: eraseMessage('EVENTS') },
];

const jobConsumers = topology.streams.find(({ name }) => name === 'JOBS')?.consumers ?? [];

async function eraseJob(
  { bus, jobs, store }: EraseDeps,
  { subject, sequence }: Walked,
  { inText }: Mentions,
): Promise<Partial<ErasureCounts>> {
  const jobId = subject.slice(subject.lastIndexOf('.') + 1);
  const found = await jobs.read(jobId, 'leader');
  // An earlier event of a job that this run has erased, read before it was.
  if (found === undefined) return {};
  if (found.cause === 'erase') {
    await jobs.erase(jobId, inText);
    return {};
  }
  // Every event of an open job carries its request: it is counted by its last.
  const open = { open: found.sequence === sequence ? 1 : 0 };
  if (!isTerminal(found.job.state)) return open;
  // The consumers that tell of its end read the event that is about to be erased.
  for (const { name } of jobConsumers) {
    if (!(await isPast(bus, found.stream, name, found.sequence))) return open;
  }
  const objects = await deleteObjects(store, jobId);
  // False for a job that was reopened, or whose mail came back, meanwhile: a later run erases it.
  return (await jobs.erase(jobId, inText, found.sequence)) ? { jobs: 1, objects } : { ...open, objects };
}

async function deleteObjects(store: ObjectStore, jobId: string): Promise<number> {
  const keys: string[] = [];
  for await (const { key } of store.list(`uploads/${jobId}/`)) keys.push(key);
  const pdf = outputKey(jobId);
  if ((await store.head(pdf)) !== undefined) keys.push(pdf);
  for (const key of keys) await store.delete(key);
  return keys.length;
}

function eraseWork(stream: string): Rule['erase'] {
  return async (deps, message, mentions) => {
    let jobId: string;
    try {
      ({ jobId } = fromBinary(SendEmailSchema, message.data));
    } catch {
      jobId = '';
    }
    return (await isOpen(deps.jobs, jobId)) ? {} : eraseMessage(stream)(deps, message, mentions);
  };
}

/** Others still hear of the end of the job, without what was asked for. */
function replace(stream: string): Rule['erase'] {
  return async ({ bus }, message, mentions) => {
    let job: Job | undefined;
    try {
      ({ job } = fromBinary(JobFinishedSchema, message.data));
    } catch {
      job = undefined;
    }
    const erased = job === undefined ? undefined : erasedJob(job, mentions.inText);
    const callback = Object.values(jobKinds).find((kind) => kind.callback.template === message.subject)?.callback;
    // A webhook whose URL names the person is not called: calling it would name them once more.
    if (erased !== undefined && (callback !== undefined || erased.callbackUrl !== '')) {
      await bus.publish(callback ?? channels.webhook, create(JobFinishedSchema, { job: erased }), {
        id: `${message.header('Nats-Msg-Id') || message.sequence}.erased`,
        values: { account: erased.account },
        headers: { traceparent: message.header('traceparent') },
      });
    }
    await bus.erase(stream, message.sequence);
    return { messages: 1 };
  };
}
