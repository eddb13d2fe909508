import {
  channels,
  isJobStream,
  jobKindName,
  jobKinds,
  Priority,
  type Job,
  type JobKindName,
  type LifecycleEvent,
} from '@sluice/contracts';
import { isTerminal } from '@sluice/jobs';
import type { Bus, PauseEntry, ReplicaWatch } from '@sluice/messaging';
import { laneOf } from '../admission/backpressure.ts';
import type { BrokerWatch, ConsumerState } from '../admission/broker-watch.ts';
import type { WaitingFor } from './job-view.ts';

/** The newest event that the worker of a job told of it. */
export interface LastSaid {
  readonly data: LifecycleEvent;
  readonly storedAt: Date;
}

export interface WaitingDeps {
  readonly bus: Bus;
  /** What the broker said within the last second: no request asks it. */
  readonly watch: Pick<BrokerWatch, 'state'>;
  /** What operators paused, by pipeline. */
  readonly paused: ReadonlyMap<string, PauseEntry>;
  /** What the workers say of themselves. */
  readonly replicas: Pick<ReplicaWatch, 'replicas'>;
  readonly now: () => number;
}

/**
 * Why an open job does not run; undefined for one that runs or has ended. By what its worker last said, by what operators
 * paused and by what the broker said of the queues: one read at most, and none for a job that a worker has seen.
 *
 * @param said of the run that the job is on.
 */
export async function waitingFor(
  deps: WaitingDeps,
  job: Job,
  said: LastSaid | undefined,
): Promise<WaitingFor | undefined> {
  const kind = jobKindName(job.kind);
  if (isTerminal(job.state) || kind === undefined) return undefined;
  if (said === undefined) return beforeItsWorker(deps, kind, job);
  const { event, detail, durationMs } = said.data;
  const since = said.storedAt.toISOString();
  switch (event) {
    case 'held':
      return { reason: 'provider', detail: `no mail provider takes mail: ${detail}`, since };
    case 'received':
      return (
        isPaused(deps, consumersOf(kind, job)) ?? {
          reason: 'worker',
          detail: troubleOf(deps, consumersOf(kind, job)) ?? 'a worker has it and no slot for it yet',
          since,
        }
      );
    case 'retry_scheduled': {
      const untilMs = said.storedAt.getTime() + durationMs;
      if (deps.now() < untilMs) return { reason: 'retry', detail, since, until: new Date(untilMs).toISOString() };
      return inQueue(deps, kind, job);
    }
    default:
      return undefined;
  }
}

async function beforeItsWorker(deps: WaitingDeps, kind: JobKindName, job: Job): Promise<WaitingFor> {
  const told = await deps.bus.last(channels.event, { appId: 'gateway', messageId: job.id });
  if (told?.data.event === 'postponed') {
    return { reason: 'queue_full', detail: told.data.detail, since: told.storedAt.toISOString() };
  }
  const ahead = (deps.watch.state()?.streams ?? [])
    .filter(({ name }) => isJobStream(name))
    .flatMap(({ consumers }) => consumers.filter(({ name }) => name === 'orchestrator'))
    .reduce((sum, each) => sum + waitingIn(each), 0);
  // Its work is not stored yet, as far as is known: the event that says so is best effort.
  if (told === undefined && (ahead > 0 || deps.paused.has('orchestrator'))) {
    return isPaused(deps, ['orchestrator']) ?? { reason: 'dispatch', detail: 'to be put into its queue', ahead };
  }
  return inQueue(deps, kind, job);
}

function inQueue(deps: WaitingDeps, kind: JobKindName, job: Job): WaitingFor {
  const lane = laneOf(kind, job.priority === Priority.EXPRESS);
  const names = consumersOf(kind, job);
  const paused = isPaused(deps, names);
  if (paused !== undefined) return paused;
  const found = names.flatMap((name) => reading(deps, lane, name) ?? []);
  const ahead = found.reduce((sum, each) => sum + waitingIn(each), 0);
  const isUnattended = found.length > 0 && found.every((each) => each.waiting + each.ackPending === 0);
  return isUnattended
    ? {
        reason: 'no_worker',
        detail: troubleOf(deps, names) ?? `no worker of ${names.join(' or ')} asks for work`,
        ahead,
      }
    : { reason: 'queue', detail: `in ${lane}`, ahead };
}

/** What keeps the pipelines from work, if it keeps every replica that has them: a tripped breaker, a lost consumer. */
function troubleOf({ replicas }: WaitingDeps, names: readonly string[]): string | undefined {
  const troubles: string[] = [];
  for (const { service, reasons, pipelines } of replicas.replicas()) {
    for (const { name, state } of pipelines) {
      if (!names.includes(name)) continue;
      if (state === 'running') return undefined;
      // A replica names its pipelines in its reasons: `url_to_pdf: IMAGES/url_to_pdf is missing`.
      const reason = reasons.find((each) => each.startsWith(`${name}: `)) ?? `${name}: ${state}`;
      troubles.push(`${service} does not take work: ${reason}`);
    }
  }
  return troubles[0];
}

function isPaused({ paused }: WaitingDeps, names: readonly string[]): WaitingFor | undefined {
  for (const name of names) {
    const entry = paused.get(name);
    if (entry !== undefined) return { reason: 'paused', detail: `${name}: ${entry.reason}`, since: entry.at };
  }
  return undefined;
}

/**
 * The pipelines that may do the work of a job. A mail's template says which; the bytes of a picture, by which an image
 * goes to one or the other, are in the first event of its job alone.
 */
function consumersOf(kind: JobKindName, job: Job): readonly string[] {
  const work = job.request?.work;
  if (work?.case === 'email') return [work.value.template === 'welcome' ? 'welcome_mailer' : 'notification_mailer'];
  return jobKinds[kind].sources.map(({ consumer }) => consumer);
}

const waitingIn = (found: ConsumerState | undefined): number =>
  found === undefined ? 0 : found.pending + found.ackPending;

const reading = ({ watch }: WaitingDeps, stream: string, name: string): ConsumerState | undefined =>
  watch
    .state()
    ?.streams.find((each) => each.name === stream)
    ?.consumers.find((each) => each.name === name);
