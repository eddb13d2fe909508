import { create } from '@bufbuild/protobuf';
import { jobKinds, JobRequestSchema, Priority, type Job, type JobRequest } from '@sluice/contracts';
import type { JobLog } from '@sluice/jobs';
import { refusalOf, type Targets } from '@sluice/outbound';
import { GatewayError, invalidField } from '../../errors.ts';
import type { Credits } from '../../credits/credits.ts';
import { laneOf, type Gate } from '../../admission/backpressure.ts';
import { recipientOf } from '../kinds/index.ts';
import { admit, assertSameRequest, type Admission } from './idempotency.ts';

/** Work as its door handed it in: validated, its uploads stored. */
export interface JobOrder {
  readonly account: string;
  readonly work: Exclude<JobRequest['work'], { case: undefined }>;
  readonly priority: Priority;
  readonly callbackUrl?: string | undefined;
  readonly notify?: string | undefined;
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
  /** Back-pressure. */
  readonly gate?: Gate;
  /** Charged before the job is accepted. */
  readonly credits?: Credits | undefined;
  /**
   * Counts a mail to somebody, for a job that is new: a repeated request sends no second one. Throws `rate_limited`.
   * Doors that know nobody to tell how much is left come without.
   */
  readonly countRecipient?: (address: string) => Promise<void>;
  /** Where webhooks may go; anywhere if absent. */
  readonly targets?: Targets;
}

/** The first snapshot of the job that an order makes. */
function newJob(order: JobOrder, jobId: string, credits: number): Parameters<JobLog['accept']>[0] {
  return {
    id: jobId,
    kind: jobKinds[order.work.case].value,
    priority: order.priority === Priority.EXPRESS ? Priority.EXPRESS : Priority.NORMAL,
    traceId: order.trace.traceId,
    traceparent: order.trace.traceparent,
    account: order.account,
    requestHash: order.requestHash,
    callbackUrl: order.callbackUrl ?? '',
    notify: order.notify ?? '',
    credits,
    request: create(JobRequestSchema, { work: order.work }),
  };
}

/**
 * Accepts a job that the system makes itself: free of charge, and not refused when a lane is full. `jobId` is one of
 * `derivedJobId`, which no request leads to, so a job that is there already is this one, made by an earlier attempt.
 *
 * @throws {PublishError} when the broker did not confirm; repeat it with the same id.
 */
export async function acceptSystemJob(log: JobLog, order: JobOrder, jobId: string): Promise<void> {
  await log.accept(newJob(order, jobId, 0));
}

/**
 * The one way into the system: HTTP handlers, NATS commands and RPCs end here. One append to `JOBS`, whose confirmation
 * is the commit: once this returns, the job is accepted and will end in exactly one final state.
 *
 * @throws {GatewayError} `idempotency_key_reused` when the key belongs to another request.
 * @throws {GatewayError} `invalid_request` when the callback URL is one that is not called.
 * @throws {GatewayError} `insufficient_credits` when the account cannot pay for it.
 * @throws {GatewayError} `rate_limited` when the recipient gets too many mails.
 * @throws {GatewayError} `overloaded` when the lane of this work is full.
 * @throws {PublishError} when the broker did not confirm. Only then nobody knows whether the job exists: after an
 * `GatewayError` it does not.
 */
export async function acceptJob(
  deps: AcceptDeps,
  order: JobOrder,
  key: Admission | string | undefined,
): Promise<Acceptance> {
  const admission = typeof key === 'object' ? key : await admit(deps.log, order.account, key, deps.now());
  if (admission.existing !== undefined) {
    assertSameRequest(admission.existing, order.requestHash);
    return { ...admission.existing, repeated: true };
  }
  const refusal =
    order.callbackUrl === undefined ? undefined : refusalOf(new URL(order.callbackUrl), deps.targets ?? 'any');
  if (refusal !== undefined) throw invalidField('/callbackUrl', refusal);
  const recipient = recipientOf(order.work) ?? order.notify;
  if (recipient !== undefined) await deps.countRecipient?.(recipient);
  const express = order.priority === Priority.EXPRESS;
  const leave = deps.gate?.enter(laneOf(order.work.case, express));
  const { credits } = deps;
  const price = credits?.prices[order.work.case] ?? 0;
  let charge = 0n;
  let record: Awaited<ReturnType<JobLog['accept']>>;
  try {
    // Whether a job was stored whose confirmation got lost is not known here: its charge is checked later.
    charge = (await credits?.charge(order.account, admission.jobId, price)) ?? 0n;
    record = await deps.log.accept({ ...newJob(order, admission.jobId, price), charge });
  } catch (error) {
    leave?.();
    // A concurrent request with this key may have made the job, with the last credits there were.
    const made = isInsufficient(error) ? await deps.log.read(admission.jobId, 'leader') : undefined;
    if (made === undefined) throw error;
    assertSameRequest(made, order.requestHash);
    return { ...made, repeated: true };
  }
  // Somebody with the same key was faster, or it was this very append and its confirmation was lost.
  if (!record.accepted) {
    leave?.();
    if (charge !== 0n && record.job.charge !== charge) {
      await credits?.reverse(order.account, admission.jobId, charge, price);
    }
    assertSameRequest(record, order.requestHash);
  }
  return { job: record.job, sequence: record.sequence, repeated: !record.accepted };
}

const isInsufficient = (error: unknown): boolean =>
  error instanceof GatewayError && error.code === 'insufficient_credits';
