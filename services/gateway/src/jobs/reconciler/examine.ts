import { timestampMs } from '@bufbuild/protobuf/wkt';
import { jobKindName, lanes, type Job, type Placement, type StreamName } from '@sluice/contracts';
import { isTerminal, type JobLog } from '@sluice/jobs';
import type { Bus } from '@sluice/messaging';
import { workOf } from '../kinds/index.ts';
import { workId } from '../orchestrator/step.ts';
import { placementOf } from './placement.ts';
import { isPast } from './settled.ts';

/**
 * What was found about a job that the read model has as open.
 *
 * - `fine`: it has ended, is too young to be looked at, or its work is where it was stored.
 * - `expired`: its record is gone.
 * - `stale`: its record expires before long.
 * - `missing`: no stream holds its work. `lost` when one did.
 */
export type Finding =
  | { readonly is: 'fine' | 'expired' }
  | { readonly is: 'stale'; readonly placement: Placement | undefined }
  | { readonly is: 'missing'; readonly lost: boolean; readonly sequence: number };

export interface ExamineDeps {
  readonly bus: Bus;
  readonly jobs: JobLog;
  readonly now: () => number;
  /** How old the last event of a job is before its work is looked for. */
  readonly graceMs: number;
  /** How long JOBS keeps an event; `Infinity` when for ever. */
  readonly keptMs: number;
}

const FINE: Finding = { is: 'fine' };

/** Whether a job was written down whole so long ago that it has to be again. Half of the time leaves room for an outage. */
export function isStale(job: Job, nowMs: number, keptMs: number): boolean {
  const since = job.refreshedAt ?? job.createdAt;
  return since !== undefined && nowMs - timestampMs(since) > keptMs / 2;
}

/** Looks for a job's work. Changes nothing. */
export async function examine({ bus, jobs, now, graceMs, keptMs }: ExamineDeps, jobId: string): Promise<Finding> {
  const found = (await jobs.last(jobId)) ?? (await jobs.last(jobId, 'leader'));
  const job = found?.stored.data.job;
  if (found === undefined || job === undefined) return { is: 'expired' };
  // A job of a kind that a newer version added is the matter of its gateways.
  if (isTerminal(job.state) || jobKindName(job.kind) === undefined) return FINE;
  const known = await placementOf(bus, job);
  const placement = known === 'postponed' ? undefined : known;
  if (isStale(job, now(), keptMs)) return { is: 'stale', placement };
  const { sequence, storedAt } = found.stored;
  const storedMs = storedAt.getTime();
  if (now() - storedMs < graceMs) return FINE;
  if (placement !== undefined)
    return (await isThere(bus, job, placement)) ? FINE : { is: 'missing', lost: true, sequence };
  if (known === 'postponed') return { is: 'missing', lost: false, sequence };

  // Nothing says where the work is. It is surely gone once everything that was stored with it is.
  if (!(await isPast(bus, found.stream, 'orchestrator', sequence))) return FINE;
  const request = await jobs.request(job);
  const step = request === undefined ? undefined : workOf({ ...job, request });
  if (step === undefined) return { is: 'missing', lost: false, sequence };
  const oldest = await bus.find(step.channel.stream, { oldestOf: step.channel.template });
  const isGone = oldest === undefined || oldest.storedAt.getTime() > storedMs + graceMs;
  return isGone ? { is: 'missing', lost: true, sequence } : FINE;
}

const isLane = (stream: string): stream is StreamName => (lanes as readonly string[]).includes(stream);

/** Compared by its message id as well: a stream that was deleted and made again counts from 1. */
async function isThere(bus: Bus, job: Job, { stream, sequence }: Placement): Promise<boolean> {
  if (!isLane(stream)) return false;
  const found = await bus.find(stream, { at: Number(sequence) });
  return found?.headers.get('Nats-Msg-Id')?.[0] === workId(job);
}
