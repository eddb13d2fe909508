import { create } from '@bufbuild/protobuf';
import { jobKinds, JobRequestSchema, Priority, type Job, type JobRequest } from '@sluice/contracts';
import type { JobLog } from '@sluice/jobs';
import { refusalOf, type Targets } from '@sluice/outbound';
import { GatewayError, invalidField } from '../../errors.ts';
import type { Credits } from '../../credits/credits.ts';
import { laneOf, type BackpressureLimiter } from '../../admission/backpressure.ts';
import type { BacklogShare } from '../../admission/backlog-share.ts';
import { copiesOf, recipientOf } from '../kinds/index.ts';
import { admit, assertSameRequest, type Admission } from './idempotency.ts';
import type { KeyDays } from './key-days.ts';

/** A validated request for work, its uploads stored. */
export interface NewJob {
  readonly account: string;
  readonly work: Exclude<JobRequest['work'], { case: undefined }>;
  readonly priority: Priority;
  readonly callbackUrl?: string | undefined;
  readonly notify?: string | undefined;
  /** The mail to `notify` carries the PDF. */
  readonly notifyAttach?: boolean;
  /** Pairs of the client's own, by `checkedMetadata`. */
  readonly metadata?: Readonly<Record<string, string>>;
  /** What the client calls the files it sent. */
  readonly fileNames?: readonly string[];
  /** `requestHash` of what was asked for. */
  readonly requestHash: string;
  /** The trace the job belongs to from here on. */
  readonly trace: { readonly traceId: string; readonly traceparent: string };
}

export interface Acceptance {
  readonly job: Job;
  readonly sequence: number;
  /** True when an earlier request with the same key made the job. */
  readonly repeated: boolean;
}

export interface AcceptDeps {
  readonly log: JobLog;
  readonly now: () => number;
  /** Around midnight, two requests with one key agree on its day through this. */
  readonly keyDays?: KeyDays;
  /** Back-pressure. */
  readonly backpressure?: BackpressureLimiter;
  /** Keeps one account from taking all of the backlog. */
  readonly backlogShare?: BacklogShare | undefined;
  /** Charged before the job is accepted. */
  readonly credits?: Credits | undefined;
  /**
   * Counts a mail to a recipient, for a job that is new: a repeated request sends no second one. Throws `rate_limited`.
   * Not counted if absent.
   */
  readonly countRecipient?: (address: string) => Promise<void>;
  /** Where webhooks may go; anywhere if absent. */
  readonly targets?: Targets;
}

/** The first snapshot of a new job. */
function firstSnapshot(newJob: NewJob, jobId: string, credits: number): Parameters<JobLog['accept']>[0] {
  return {
    id: jobId,
    kind: jobKinds[newJob.work.case].value,
    priority: newJob.priority === Priority.EXPRESS ? Priority.EXPRESS : Priority.NORMAL,
    traceId: newJob.trace.traceId,
    traceparent: newJob.trace.traceparent,
    account: newJob.account,
    requestHash: newJob.requestHash,
    callbackUrl: newJob.callbackUrl ?? '',
    notify: newJob.notify ?? '',
    notifyAttach: newJob.notifyAttach ?? false,
    metadata: newJob.metadata ?? {},
    fileNames: [...(newJob.fileNames ?? [])],
    credits,
    request: create(JobRequestSchema, { work: newJob.work }),
  };
}

/**
 * Accepts a job that the system makes itself: free of charge, and not refused when a lane is full. `jobId` is one of
 * `derivedJobId`, which no request leads to, so a job that is there already is this one, made by an earlier attempt.
 *
 * @param acceptedMs the same for every attempt: it says which partition the job is looked for in.
 * @throws {PublishError} when the broker did not confirm; repeat it with the same id.
 */
export async function acceptSystemJob(log: JobLog, newJob: NewJob, jobId: string, acceptedMs: number): Promise<void> {
  await log.accept(firstSnapshot(newJob, jobId, 0), acceptedMs);
}

/**
 * The one way into the system: HTTP handlers, NATS commands and RPCs end here. One append to `JOBS`, whose confirmation
 * is the commit: once this returns, the job is accepted and will end in exactly one final state.
 *
 * @throws {GatewayError} `idempotency_key_reused` when the key belongs to another request.
 * @throws {GatewayError} `invalid_request` when the callback URL is one that is not called.
 * @throws {GatewayError} `insufficient_credits` when the account cannot pay for it.
 * @throws {GatewayError} `rate_limited` when the recipient gets too many mails.
 * @throws {GatewayError} `overloaded` when the lane of this work is full or the account has its share of it, or a stream that the job needs is full.
 * @throws {PublishError} when the broker did not confirm. Only then it is not known whether the job exists: after a
 * `GatewayError` it does not.
 */
export async function acceptJob(
  deps: AcceptDeps,
  newJob: NewJob,
  key: Admission | string | undefined,
): Promise<Acceptance> {
  const admission =
    typeof key === 'object' ? key : await admit(deps.log, newJob.account, key, deps.now(), deps.keyDays);
  if (admission.existing !== undefined) {
    assertSameRequest(admission.existing, newJob.requestHash);
    return { ...admission.existing, repeated: true };
  }
  const refusal =
    newJob.callbackUrl === undefined ? undefined : refusalOf(new URL(newJob.callbackUrl), deps.targets ?? 'any');
  if (refusal !== undefined) throw invalidField('/callbackUrl', refusal);
  const recipient = recipientOf(newJob.work) ?? newJob.notify;
  const copies = copiesOf(newJob.work);
  for (const address of [recipient ?? [], ...copies].flat()) await deps.countRecipient?.(address);
  // A copy is a mail like the one it is a copy of.
  const price = (deps.credits?.prices[newJob.work.case] ?? 0) * (1 + copies.length);
  if (price > 0) deps.backpressure?.checkRoom('CREDITS');
  const express = newJob.priority === Priority.EXPRESS;
  const lane = laneOf(newJob.work.case, express);
  deps.backpressure?.check(lane);
  await deps.backlogShare?.check(newJob.account, newJob.work.case, lane);
  const release = deps.backpressure?.acquire(lane);
  const { credits } = deps;
  let charge = 0n;
  let record: Awaited<ReturnType<JobLog['accept']>>;
  try {
    // Whether a job was stored whose confirmation got lost is not known here: its charge is checked later.
    charge = (await credits?.charge(newJob.account, admission.jobId, price)) ?? 0n;
    record = await deps.log.accept({ ...firstSnapshot(newJob, admission.jobId, price), charge }, admission.acceptedMs);
  } catch (error) {
    release?.();
    // A concurrent request with this key may have made the job, with the last credits there were.
    const made = isInsufficient(error)
      ? await deps.log.read(admission.jobId, 'leader', admission.acceptedMs)
      : undefined;
    if (made === undefined) throw error;
    assertSameRequest(made, newJob.requestHash);
    return { ...made, repeated: true };
  }
  // A concurrent duplicate was faster, or it was this very append and its confirmation was lost.
  if (!record.accepted) {
    release?.();
    if (charge !== 0n && record.job.charge !== charge) {
      await credits?.reverse(newJob.account, admission.jobId, charge, price);
    }
    assertSameRequest(record, newJob.requestHash);
  }
  return { job: record.job, sequence: record.sequence, repeated: !record.accepted };
}

const isInsufficient = (error: unknown): boolean =>
  error instanceof GatewayError && error.code === 'insufficient_credits';
