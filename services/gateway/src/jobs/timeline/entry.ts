import { timestampMs, type Timestamp } from '@bufbuild/protobuf/wkt';
import type { Job, JobEvent, LifecycleEvent } from '@sluice/contracts';
import { isTerminal, stateName } from '@sluice/jobs/state';
import { Type, type Static } from 'typebox';
import { DateTime, StateSchema } from '../job-view.ts';

/** One thing that happened to a job or message, as the API shows it. */
export const TimelineEntrySchema = Type.Object(
  {
    at: DateTime,
    event: Type.String({ description: 'A state of the job, or what a service says it did.' }),
    app: Type.String({ description: 'Who says so.' }),
    state: Type.Optional(StateSchema),
    cause: Type.Optional(Type.String({ description: 'What moved the job.' })),
    attempt: Type.Optional(Type.Integer()),
    detail: Type.Optional(Type.String()),
    pipeline: Type.Optional(Type.String()),
    instance: Type.Optional(Type.String()),
    durationMs: Type.Optional(Type.Number()),
    traceId: Type.Optional(Type.String()),
  },
  { $id: 'TimelineEntry', additionalProperties: false },
);
export type TimelineEntry = Static<typeof TimelineEntrySchema>;

/**
 * A time as the API shows it, the beginning of time when there is none. Systems publish their events themselves, too, and
 * protobuf carries times that no calendar has.
 */
function shown(time: Timestamp | undefined): string {
  const date = new Date(time === undefined ? 0 : timestampMs(time));
  return (Number.isNaN(date.getTime()) ? new Date(0) : date).toISOString();
}

/** Events that are called otherwise than the state of their job. */
const notes: Readonly<Record<string, string>> = {
  'cancel-request': 'cancel_requested',
  refresh: 'refreshed',
  erase: 'erased',
  report: 'reported',
  deferral: 'deferred',
};

/** A transition of a job as an entry. */
export function entryOfJob(event: JobEvent): TimelineEntry {
  const name = stateName(event.job?.state ?? 0);
  const state = name === 'unspecified' ? 'accepted' : name;
  const { attempt = 0, traceId = '' } = event.job ?? {};
  return {
    at: shown(event.at),
    event: notes[event.cause] ?? state,
    app: 'gateway',
    state,
    cause: event.cause,
    ...(attempt === 0 ? {} : { attempt }),
    ...(event.job?.error === undefined ? {} : { detail: event.job.error.code }),
    ...(event.cause === 'deferral' ? { detail: event.job?.deferral?.detail ?? '' } : {}),
    ...(traceId === '' ? {} : { traceId }),
  };
}

/** What a job itself says of its events: when it was accepted, and how it ended. */
export function knownEntries({ state, createdAt, updatedAt, attempt, error, traceId }: Job): TimelineEntry[] {
  const about = { app: 'gateway', ...(traceId === '' ? {} : { traceId }) };
  const accepted = { ...about, at: shown(createdAt), event: 'accepted', state: 'accepted' } as const;
  const name = stateName(state);
  if (!isTerminal(state) || name === 'unspecified') return [accepted];
  const ended = {
    ...about,
    at: shown(updatedAt),
    event: name,
    state: name,
    ...(attempt === 0 ? {} : { attempt }),
    ...(error === undefined ? {} : { detail: error.code }),
  };
  return [accepted, ended];
}

/** A lifecycle event as an entry. */
export function entryOfLifecycle(event: LifecycleEvent): TimelineEntry {
  const { attempt, detail, pipeline, instance, durationMs, traceId } = event;
  return {
    at: shown(event.createdAt),
    event: event.event,
    app: event.appId,
    ...(attempt === 0 ? {} : { attempt }),
    ...(detail === '' ? {} : { detail }),
    ...(pipeline === '' ? {} : { pipeline }),
    ...(instance === '' ? {} : { instance }),
    ...(durationMs === 0 || !Number.isFinite(durationMs) ? {} : { durationMs }),
    ...(traceId === '' ? {} : { traceId }),
  };
}
