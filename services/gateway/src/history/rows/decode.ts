import { fromBinary, toBinary } from '@bufbuild/protobuf';
import { timestampMs } from '@bufbuild/protobuf/wkt';
import {
  eventsIn,
  JobEventSchema,
  jobKindEntries,
  jobKindName,
  JobSchema,
  LifecycleEventSchema,
  type Job,
  type LifecycleEvent,
} from '@sluice/contracts';
import { isJobId } from '@sluice/jobs/id';
import { isTerminal } from '@sluice/jobs/state';
import { progressOf, shownState, type Progress } from '../../jobs/job-view.ts';
import { recipientOf } from '../../jobs/kinds/index.ts';
import { ownApps } from '../../jobs/timeline/timeline.ts';
import { unpack, type PackedMessages } from '../packed-messages.ts';
import type { JobRow, MessageRow, ProgressRow } from './rows.ts';
import { joinTerms, recipientDigest, term } from './terms.ts';

const own: ReadonlySet<string> = new Set(ownApps);
/** The services that work on jobs: what others say of one is no progress. */
const workers: ReadonlySet<string> = new Set(jobKindEntries.map(([, { service }]) => service));
const serviceOf: ReadonlyMap<string, string> = new Map(jobKindEntries.map(([name, { service }]) => [name, service]));

/** What a batch says, the last word about each job alone. */
export interface Decoded {
  readonly jobs: ReadonlyMap<string, JobRow>;
  /** By job. */
  readonly progress: ReadonlyMap<string, readonly ProgressRow[]>;
  readonly messages: readonly MessageRow[];
  readonly unreadable: readonly number[];
}

export function decodeJobs(packed: PackedMessages, generation: number): Decoded {
  const jobs = new Map<string, JobRow>();
  const unreadable: number[] = [];
  for (const { sequence, storedMs, data } of unpack(packed)) {
    try {
      const { job } = fromBinary(JobEventSchema, data);
      if (job === undefined) throw new Error('an event without a job');
      jobs.set(job.id, jobRow(job, { generation, sequence }, storedMs));
    } catch {
      unreadable.push(sequence);
    }
  }
  return { jobs, progress: new Map(), messages: [], unreadable };
}

export function decodeEvents(packed: PackedMessages, generation: number): Decoded {
  const progress = new Map<string, ProgressRow[]>();
  const messages = new Map<string, MessageRow & { lastMs: number; readonly events: string[] }>();
  const unreadable: number[] = [];
  for (const { sequence, storedMs, data } of unpack(packed)) {
    let told: LifecycleEvent;
    try {
      told = fromBinary(LifecycleEventSchema, data);
    } catch {
      unreadable.push(sequence);
      continue;
    }
    const { appId: app, messageId: id } = told;
    if (workers.has(app) && isJobId(id)) {
      // The last of those that were sent together is how the job stands.
      const said = progressOf(told, storedMs, storedMs);
      const rows = (progress.get(id) ?? []).filter((row) => row.app !== app);
      if (said !== undefined) progress.set(id, [...rows, { ...said, jobId: id, app, generation, sequence }]);
    }
    // What our own services say of a job is its progress. Which of their messages are incomplete is never asked.
    if (own.has(app)) continue;
    const key = `${app}.${id}`;
    const found = messages.get(key) ?? { app, id, firstMs: storedMs, lastMs: storedMs, events: [] };
    messages.set(key, found);
    found.lastMs = Math.max(found.lastMs, storedMs);
    for (const { event } of eventsIn(told)) if (!found.events.includes(event.event)) found.events.push(event.event);
  }
  return { jobs: new Map(), progress, messages: [...messages.values()], unreadable };
}

function jobRow(job: Job, at: { generation: number; sequence: number }, storedMs: number): JobRow {
  const address = recipientOf(job.request?.work) ?? job.notify;
  const { request: _, ...kept } = job;
  const row = {
    ...at,
    id: job.id,
    account: job.account,
    kind: jobKindName(job.kind) ?? 'unknown',
    open: !isTerminal(job.state),
    createdMs: job.createdAt === undefined ? storedMs : timestampMs(job.createdAt),
    updatedMs: storedMs,
    recipient: address === '' ? null : recipientDigest(address),
    erased: false,
  };
  const state = shownState(job);
  return { ...row, state, terms: termsOf(row, job, state), snapshot: toBinary(JobSchema, kept as Job) };
}

/** A row after the progress of its job's worker is merged into it. */
export function withProgress(row: JobRow, progress: readonly ProgressRow[]): JobRow {
  const job = snapshotOf(row);
  const state = shownState(job, progressIn(row.kind, progress));
  return state === row.state ? row : { ...row, state, terms: termsOf(row, job, state) };
}

/** A row without what says something about a person. */
export function withoutPerson(row: JobRow): JobRow {
  const job: Job = { ...snapshotOf(row), notify: '', metadata: {}, fileNames: [] };
  const erased = { ...row, recipient: null, erased: true };
  return { ...erased, terms: termsOf(erased, job, row.state), snapshot: toBinary(JobSchema, job) };
}

export const snapshotOf = ({ snapshot }: Pick<JobRow, 'snapshot'>): Job => fromBinary(JobSchema, snapshot);

/** What the worker of a job of a kind said of it. */
export const progressIn = (kind: string, progress: readonly ProgressRow[]): Progress | undefined =>
  progress.find(({ app }) => app === serviceOf.get(kind));

function termsOf(row: Pick<JobRow, 'account' | 'kind' | 'recipient'>, job: Job, state: string): Buffer {
  const { account, kind, recipient } = row;
  const terms = [term(account, 'any', ''), term(account, 'state', state), term(account, 'kind', kind)];
  if (recipient !== null) terms.push(recipientTerm(account, recipient));
  if (job.error !== undefined) terms.push(term(account, 'error', job.error.code));
  if (job.callbackUrl !== '') terms.push(term(account, 'webhook', ''));
  for (const name of job.fileNames) terms.push(fileNameTerm(account, name));
  for (const [key, value] of Object.entries(job.metadata)) terms.push(metadataTerm(account, key, value));
  return joinTerms(terms);
}

/** Names of files are compared without their case, as people write them. */
export const fileNameTerm = (account: string, name: string): Buffer =>
  term(account, 'fileName', name.normalize('NFC').toLowerCase());

export const metadataTerm = (account: string, key: string, value: string): Buffer =>
  term(account, 'metadata', `${key}:${value}`);

export const recipientTerm = (account: string, recipient: Uint8Array): Buffer =>
  term(account, 'recipient', Buffer.from(recipient).toString('base64url'));
