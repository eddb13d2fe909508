import type { Job } from './jobs.ts';
import { request, send } from './request.ts';

/** What a job was asked for with, as `GET /v1/jobs/{id}/request` tells it. */
export interface JobRequest {
  readonly path: string;
  readonly query: Readonly<Record<string, string>>;
  readonly json?: { readonly to: string; readonly template: string; readonly variables?: unknown };
  readonly sources?: readonly { readonly mediaType: string; readonly bytes: number; readonly url?: string }[];
}

export const getJobRequest = (id: string): Promise<JobRequest> =>
  request('GET', `/v1/jobs/${encodeURIComponent(id)}/request`);

/** The pictures that a job was sent with, to be sent again. */
export async function getPictures(id: string, { sources = [] }: JobRequest): Promise<readonly File[]> {
  const files: File[] = [];
  for (const [index, { mediaType }] of sources.entries()) {
    const answer = await send('GET', `/v1/jobs/${encodeURIComponent(id)}/sources/${index}`);
    const name = `picture-${index + 1}.${mediaType.split('/')[1] ?? 'bin'}`;
    files.push(new File([await answer.blob()], name, { type: mediaType }));
  }
  return files;
}

/** A key for a request that is made once. Pages over plain http on another machine have no `randomUUID`. */
export const newIdempotencyKey = (): string =>
  [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, '0')).join('');

/** What the gateway takes of a name; it cuts longer ones where they come in a form. */
const MOST_NAME = 255;

/** Sends pictures as one conversion. */
export function convert(files: readonly File[], query: Readonly<Record<string, string>>): Promise<Job> {
  const [only] = files;
  const headers = { 'idempotency-key': newIdempotencyKey() };
  if (files.length === 1 && only !== undefined) {
    return request('POST', '/v1/images', {
      // Jobs are found by the names of their files. In a form they come with them.
      query: { fileName: only.name.slice(0, MOST_NAME), ...query },
      body: only,
      headers: { ...headers, 'content-type': 'application/octet-stream' },
    });
  }
  const body = new FormData();
  for (const file of files) body.append('file', file, file.name);
  return request('POST', '/v1/images', { query, body, headers });
}

/** Sends what made a job again, as a new job. */
export async function rerun(id: string): Promise<Job> {
  const asked = await getJobRequest(id);
  if (asked.json !== undefined) {
    return request('POST', asked.path, { json: asked.json, headers: { 'idempotency-key': newIdempotencyKey() } });
  }
  const urls = asked.sources?.flatMap(({ url }) => url ?? []) ?? [];
  if (urls.length > 0) {
    return request('POST', asked.path, {
      query: asked.query,
      json: { urls },
      headers: { 'idempotency-key': newIdempotencyKey() },
    });
  }
  return convert(await getPictures(id, asked), asked.query);
}
