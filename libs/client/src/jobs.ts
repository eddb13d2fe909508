import { IncompleteError, TimeoutError } from './errors.ts';
import type { components, operations } from './gen/api.ts';
import { dataOf, newJobHeaders, type Api, type CallOptions, type NewJobOptions } from './api.ts';
import type { Runtime } from './transport.ts';
import { watchJob, type JobEvent, type OpenStream, type WatchOptions } from './watch.ts';

/** A job as the API shows it. */
export type Job = components['schemas']['Job'];
export type JobState = Job['state'];
/** What a job was asked for with. */
export type JobRequest = components['schemas']['JobRequest'];
/** A job, or its id. */
export type JobRef = string | Pick<Job, 'id'>;

type NewEmail = operations['sendEmail']['requestBody']['content']['application/json'];
type ImageQuery = Omit<NonNullable<operations['convertImage']['parameters']['query']>, 'metadata'>;
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
  /** The same, with what came together in one array: a page draws a long history at once. */
  watchBatches(job: JobRef, options?: WatchOptions): AsyncGenerator<readonly JobEvent[], void, undefined>;
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
  /** What a job was asked for with. */
  request(job: JobRef, options?: CallOptions): Promise<JobRequest>;
  /**
   * The images that a job was sent with, by the names they had. Of those that were fetched from an address there is none.
   *
   * @throws {ProblemError} `result_expired` when they were deleted: an hour after the job came at the earliest.
   */
  sources(job: JobRef, options?: CallOptions): Promise<readonly File[]>;
  /**
   * Sends what made a job once more, as a new job.
   *
   * @throws {ProblemError} `result_expired` when its images were deleted.
   * @throws {IncompleteError} when it was a mail with attachments, which are not told.
   */
  rerun(job: JobRef, options?: NewJobOptions): Promise<Job>;
}

type RerunOptions = ImageQuery & NewJobOptions & { readonly metadata?: Readonly<Record<string, string>> };

/** What `Jobs` is made of. */
export interface JobsDeps {
  readonly api: Api;
  /** Of `Images`. */
  readonly convert: (images: readonly File[], options: RerunOptions) => Promise<Job>;
  readonly openStream: OpenStream;
  readonly runtime: Runtime;
}

/** A page reads nothing of the object store, which is of another origin, unless the store allows it. */
const IN_BROWSER = 'location' in globalThis;

const idOf = (job: JobRef): string => (typeof job === 'string' ? job : job.id);
const ENDED: ReadonlySet<JobState> = new Set(['succeeded', 'failed', 'cancelled']);

/** Whether a job has ended. */
export const isEnded = ({ state }: Pick<Job, 'state'>): boolean => ENDED.has(state);

export type Waiting = NonNullable<Job['waitingFor']>;

const reasons: Readonly<Record<Waiting['reason'], string>> = {
  dispatch: 'It waits to be put into its queue',
  queue_full: 'Its queue is full, and it waits for room there',
  paused: 'An operator has paused its pipeline',
  no_worker: 'No worker asks for its work',
  queue: 'It waits in the queue for its turn',
  worker: 'It waits for a slot of the worker that has it',
  retry: 'Its last attempt failed, and it waits for the next one',
  provider: 'It waits for a mail provider that takes mail',
};

/**
 * Why a job that is open does not run, in a sentence without its stop.
 *
 * @example
 * if (job.waitingFor !== undefined) console.log(whyWaiting(job.waitingFor));
 */
export function whyWaiting({ reason, detail, ahead, since, until }: Waiting): string {
  // A newer API may have a reason that is not known here.
  const known = (reasons as Readonly<Record<string, string>>)[reason] ?? 'It waits';
  const parts = [
    detail === '' ? known : `${known} (${detail})`,
    ...(ahead === undefined ? [] : [`${ahead} may go before it`]),
    ...(since === undefined ? [] : [`since ${since}`]),
    ...(until === undefined ? [] : [`until ${until}`]),
  ];
  return parts.join(', ');
}

export function createJobs({ api, convert, openStream, runtime }: JobsDeps): Jobs {
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
    async *watch(job, options = {}) {
      for await (const events of jobs.watchBatches(job, options)) yield* events;
    },
    watchBatches: (job, options = {}) => watchJob(openStream, idOf(job), options, runtime),
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
    request: (job, options = {}) => dataOf(api.GET('/v1/jobs/{id}/request', { ...callOf(options), params: path(job) })),
    async sources(job, options = {}) {
      const { sources = [] } = await jobs.request(job, options);
      const files: File[] = [];
      for (const [index, { mediaType, fileName, url }] of sources.entries()) {
        if (url !== undefined) continue;
        const params = { path: { id: idOf(job), index } };
        const bytes = dataOf(
          api.GET('/v1/jobs/{id}/sources/{index}', { ...callOf(options), params, parseAs: 'blob' }),
        ) as Promise<Blob>;
        const name = fileName ?? `image-${index + 1}.${mediaType.split('/')[1] ?? 'bin'}`;
        files.push(new File([await bytes], name, { type: mediaType }));
      }
      return files;
    },
    async rerun(job, options = {}) {
      const { json, query, metadata, sources = [], lacks = [] } = await jobs.request(job, options);
      if (lacks.length > 0)
        throw new IncompleteError(`${idOf(job)} cannot be sent again without its ${lacks.join(', ')}`);
      const call = { ...callOf(options), headers: newJobHeaders(options) };
      if (json !== undefined) return dataOf(api.POST('/v1/emails', { ...call, body: json as NewEmail }));
      const urls = sources.flatMap(({ url }) => url ?? []);
      const pairs = metadata === undefined ? {} : { metadata };
      if (urls.length > 0) {
        const params = { query: query as ImageQuery };
        return dataOf(api.POST('/v1/images', { ...call, params, body: { urls, ...pairs } }));
      }
      return convert(await jobs.sources(job, options), { ...(query as ImageQuery), ...pairs, ...options });
    },
  };
  return jobs;
}
