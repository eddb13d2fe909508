import { TimeoutError } from './errors.ts';
import type { components, operations } from './gen/api.ts';
import { dataOf, type Api, type CallOptions } from './api.ts';
import type { Runtime } from './transport.ts';
import { watchJob, type JobEvent, type WatchOptions } from './watch.ts';

/** A job as the API shows it. */
export type Job = components['schemas']['Job'];
export type JobState = Job['state'];
/** A job, or its id. */
export type JobRef = string | Pick<Job, 'id'>;

type ListQuery = NonNullable<operations['listJobs']['parameters']['query']>;
export type JobFilter = Partial<Omit<ListQuery, 'cursor' | 'limit'>>;
export type JobPage = operations['listJobs']['responses'][200]['content']['application/json'];

export interface WaitOptions extends Omit<WatchOptions, 'lastEventId'> {
  /** Ends the wait with a `TimeoutError`; the job goes on. No limit unless given. */
  readonly timeoutMs?: number;
  /** Called with every event on the way. */
  readonly onEvent?: (event: JobEvent) => void;
}

export interface Jobs {
  get(job: JobRef, options?: CallOptions): Promise<Job>;
  /** One page, newest first. */
  list(query?: Partial<ListQuery>, options?: CallOptions): Promise<JobPage>;
  /** Every job of the filter, newest first, page by page as they are asked for. */
  all(filter?: JobFilter, options?: CallOptions): AsyncGenerator<Job, void, undefined>;
  /** What happened to a job, oldest first. */
  events(job: JobRef, options?: CallOptions): Promise<readonly components['schemas']['TimelineEntry'][]>;
  /**
   * The events of a job, live, until it has ended. A connection that breaks is resumed behind the last event.
   *
   * @throws {ProblemError} when the job is not there.
   * @throws {ConnectionError} when the API stays away.
   */
  watch(job: JobRef, options?: WatchOptions): AsyncGenerator<JobEvent, void, undefined>;
  /**
   * The job once it has ended, as `succeeded`, `failed` or `cancelled`: a job that failed is no error of the wait.
   *
   * @throws {TimeoutError} when it has not ended within `timeoutMs`.
   */
  waitFor(job: JobRef, options?: WaitOptions): Promise<Job>;
  /** The PDF of an image job that has succeeded: from the object store, and in browsers through the API. */
  pdf(job: JobRef, options?: CallOptions): Promise<Blob>;
  /** Asks to cancel a job: it ends as `cancelled` if nothing was done by then, and otherwise as it ends. */
  cancel(job: JobRef, options?: CallOptions): Promise<Job>;
}

/** What `Jobs` is made of. */
export interface JobsDeps {
  readonly api: Api;
  readonly openStream: (jobId: string, lastEventId: string | undefined, signal: AbortSignal) => Promise<Response>;
  readonly runtime: Runtime;
}

/** A page reads nothing of the object store, which is of another origin, unless the store allows it. */
const IN_BROWSER = 'location' in globalThis;

const idOf = (job: JobRef): string => (typeof job === 'string' ? job : job.id);
const ENDED: ReadonlySet<JobState> = new Set(['succeeded', 'failed', 'cancelled']);

/** Whether a job has ended. */
export const isEnded = ({ state }: Pick<Job, 'state'>): boolean => ENDED.has(state);

export function createJobs({ api, openStream, runtime }: JobsDeps): Jobs {
  const callOf = ({ signal }: CallOptions) => ({ signal: signal ?? null });
  const path = (job: JobRef) => ({ path: { id: idOf(job) } });
  const jobs: Jobs = {
    get: (job, options = {}) => dataOf(api.GET('/v1/jobs/{id}', { ...callOf(options), params: path(job) })),
    list: (query = {}, options = {}) =>
      dataOf(api.GET('/v1/jobs', { ...callOf(options), params: { query: query as ListQuery } })),
    async *all(filter = {}, options = {}) {
      let cursor: string | undefined;
      do {
        const page = await jobs.list({ ...filter, limit: 200, ...(cursor === undefined ? {} : { cursor }) }, options);
        yield* page.jobs;
        cursor = page.next;
      } while (cursor !== undefined);
    },
    events: async (job, options = {}) =>
      (await dataOf(api.GET('/v1/jobs/{id}/events', { ...callOf(options), params: path(job) }))).events,
    watch: (job, options = {}) => {
      const id = idOf(job);
      return watchJob((lastEventId, signal) => openStream(id, lastEventId, signal), options, runtime);
    },
    async waitFor(job, { signal, timeoutMs, onEvent } = {}) {
      const late = timeoutMs === undefined ? undefined : AbortSignal.timeout(timeoutMs);
      const until = AbortSignal.any([signal, late].filter((each) => each !== undefined));
      try {
        for await (const event of jobs.watch(job, { signal: until })) onEvent?.(event);
        return await jobs.get(job, { signal: until });
      } catch (error) {
        if (late?.aborted === true && signal?.aborted !== true) {
          throw new TimeoutError(`${idOf(job)} has not ended within ${timeoutMs} ms; it goes on`, { cause: error });
        }
        throw error;
      }
    },
    pdf(job, options = {}) {
      const params = { ...path(job), ...(IN_BROWSER ? { query: { inline: true } } : {}) };
      return dataOf(api.GET('/v1/jobs/{id}/pdf', { ...callOf(options), params, parseAs: 'blob' })) as Promise<Blob>;
    },
    cancel: (job, options = {}) => dataOf(api.DELETE('/v1/jobs/{id}', { ...callOf(options), params: path(job) })),
  };
  return jobs;
}
