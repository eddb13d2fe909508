import { request, type Query } from './request.ts';

export const jobStates = ['accepted', 'queued', 'running', 'succeeded', 'failed', 'cancelled'] as const;
export type JobState = (typeof jobStates)[number];
export const hasEnded = (state: string): boolean => ['succeeded', 'failed', 'cancelled'].includes(state);

export interface JobError {
  readonly code: string;
  readonly detail: string;
}

/** A job as `GET /v1/jobs` and `GET /v1/jobs/{id}` show it. */
export interface Job {
  readonly id: string;
  readonly kind: string;
  readonly state: JobState;
  readonly attempt: number;
  readonly priority: 'normal' | 'express';
  readonly createdAt: string;
  readonly updatedAt: string;
  readonly cancelRequested?: boolean;
  readonly traceId: string;
  readonly result?: Readonly<Record<string, unknown>>;
  readonly error?: JobError;
  readonly webhook?: { readonly state: string; readonly at?: string };
  readonly metadata?: Readonly<Record<string, string>>;
  /** Since a server asked to come again later with its mail, and the server's words. */
  readonly deferred?: { readonly at: string; readonly detail: string };
  /** Why it has not gone on, where the gateway knows. */
  readonly waitingFor?: unknown;
  readonly links: { readonly self: string; readonly pdf?: string };
}

/** One thing that happened to a job. */
export interface TimelineEntry {
  readonly at: string;
  readonly event: string;
  readonly app: string;
  readonly state?: JobState;
  readonly cause?: string;
  readonly attempt?: number;
  readonly detail?: string;
  readonly pipeline?: string;
  readonly instance?: string;
  readonly durationMs?: number;
  readonly traceId?: string;
}

export interface JobPage {
  readonly jobs: readonly Job[];
  readonly next?: string;
}

export const listJobs = (query: Query, signal?: AbortSignal): Promise<JobPage> =>
  request('GET', '/v1/jobs', { query, ...(signal === undefined ? {} : { signal }) });
export const getJob = (id: string): Promise<Job> => request('GET', `/v1/jobs/${encodeURIComponent(id)}`);
export const cancelJob = (id: string): Promise<Job> => request('DELETE', `/v1/jobs/${encodeURIComponent(id)}`);
