import {
  newJobHeaders,
  type Api,
  type CallOptions,
  type Credentials,
  dataOf,
  type NewJobOptions,
  type PrepareHeaders,
} from './api.ts';
import type { operations } from './gen/api.ts';
import type { Job } from './jobs.ts';
import type { Send, Transport } from './transport.ts';
import { counted, countsByStream, sendByXhr, type OnProgress } from './upload.ts';

/** How images become a PDF. */
export interface ImageOptions extends Omit<NonNullable<operations['convertImage']['parameters']['query']>, 'metadata'> {
  /** Pairs of your own, shown with the job and searched by. */
  readonly metadata?: Readonly<Record<string, string>>;
}
/** The bytes of one image. In Node, `fs.openAsBlob(path)` gives a file without reading it into memory. */
export type ImageSource = Blob | Uint8Array<ArrayBuffer> | ArrayBuffer;
type UploadType = operations['createUpload']['requestBody']['content']['application/json']['contentType'];

export interface ConvertOptions extends ImageOptions, NewJobOptions {
  /** Called while the bytes are sent. A try that fails begins again at 0. */
  readonly onProgress?: OnProgress | undefined;
}
export interface UploadOptions extends ImageOptions, CallOptions {
  readonly onProgress?: OnProgress | undefined;
}

export interface Images {
  /** One image, or several as the pages of one PDF in their order, sent to the API. */
  convert(images: ImageSource | readonly ImageSource[], options?: ConvertOptions): Promise<Job>;
  /** Images that are fetched from public `https` addresses. */
  convertUrls(urls: readonly string[], options?: ImageOptions & NewJobOptions): Promise<Job>;
  /**
   * One large image, sent to the object store without passing through the API. Its type has to be known: that of the
   * blob, or `contentType`. In browsers the store has to allow the page's origin.
   */
  upload(image: Blob, options?: UploadOptions & { readonly contentType?: UploadType }): Promise<Job>;
}

export interface ImagesDeps {
  readonly api: Api;
  readonly baseUrl: string;
  readonly transport: Transport;
  readonly prepare: PrepareHeaders;
  readonly credentials: Credentials | undefined;
}

export function createImages({ api, baseUrl, transport, prepare, credentials }: ImagesDeps): Images {
  return {
    async convert(images, { onProgress, signal, idempotencyKey, waitSeconds, ...options } = {}) {
      const blobs = (isMany(images) ? images : [images]).map((image) =>
        image instanceof Blob ? image : new Blob([image]),
      );
      const [only] = blobs;
      if (only === undefined) throw new TypeError('images.convert needs at least one image');
      const headers = newJobHeaders({ idempotencyKey, waitSeconds });
      const body = blobs.length === 1 ? only : formOf(blobs);
      // The bytes decide what it is. A type of something else, such as JSON, would be read as an order for images.
      if (body instanceof Blob)
        headers['content-type'] = body.type.startsWith('image/') ? body.type : 'application/octet-stream';
      const response = await transport({
        repeatable: true,
        signal,
        ...upload(`${baseUrl}/v1/images${queryOf(blobs.length === 1 ? named(only, options) : options)}`, {
          method: 'POST',
          headers,
          body,
          totalBytes: blobs.reduce((sum, { size }) => sum + size, 0),
          onProgress,
          prepare,
          credentials,
        }),
      });
      return (await response.json()) as Job;
    },
    convertUrls: (urls, { signal, idempotencyKey, waitSeconds, ...options } = {}) =>
      dataOf(
        api.POST('/v1/images', {
          signal: signal ?? null,
          headers: newJobHeaders({ idempotencyKey, waitSeconds }),
          body: { ...options, urls: [...urls] },
        }),
      ),
    async upload(image, { contentType = image.type as UploadType, onProgress, signal, ...options } = {}) {
      const call = { signal: signal ?? null };
      const place = await dataOf(api.POST('/v1/uploads', { ...call, body: { contentType, sizeBytes: image.size } }));
      await transport({
        repeatable: true,
        signal,
        ...upload(place.url, {
          method: 'PUT',
          // The length is that of the body; browsers let no page set it.
          headers: { 'content-type': contentType },
          body: image,
          totalBytes: image.size,
          onProgress,
          // The URL is signed; the store wants no key of the API.
          prepare: () => Promise.resolve(),
          credentials: 'omit',
        }),
      });
      return dataOf(
        api.POST('/v1/images:fromUpload', { ...call, body: { uploadId: place.uploadId, ...named(image, options) } }),
      );
    },
  };
}

const isMany = (images: ImageSource | readonly ImageSource[]): images is readonly ImageSource[] =>
  Array.isArray(images);

/** What the API takes of a name; it cuts longer ones where they come in a form. */
const MOST_NAME = 255;

/** The options with the name of the file: jobs are found by it. In a form it comes with the file. */
function named(image: Blob, options: ImageOptions): ImageOptions {
  const { name = '' } = image as Partial<File>;
  return name === '' || options.fileName !== undefined ? options : { ...options, fileName: name.slice(0, MOST_NAME) };
}

function formOf(blobs: readonly Blob[]): FormData {
  const form = new FormData();
  for (const [index, blob] of blobs.entries())
    form.append('file', blob, (blob as Partial<File>).name ?? `image-${index + 1}`);
  return form;
}

function queryOf(options: ImageOptions): string {
  const query = new URLSearchParams();
  const { metadata = {}, ...others } = options;
  for (const [name, value] of Object.entries(others)) if (value !== undefined) query.set(name, String(value));
  for (const [key, value] of Object.entries(metadata)) query.append('metadata', `${key}:${value}`);
  return query.size === 0 ? '' : `?${query.toString()}`;
}

interface Upload {
  readonly method: 'POST' | 'PUT';
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Blob | FormData;
  readonly totalBytes: number;
  readonly onProgress: OnProgress | undefined;
  readonly prepare: PrepareHeaders;
  readonly credentials: Credentials | undefined;
}

/** How a body is sent: as it is, or so that its progress is known. */
function upload(
  url: string,
  { method, headers, body, totalBytes, onProgress, prepare, credentials }: Upload,
): Pick<Send, 'request' | 'by'> {
  const init = credentials === undefined ? { method } : { method, credentials };
  const withHeaders = async (request: Request): Promise<Request> => {
    for (const [name, value] of Object.entries(headers)) request.headers.set(name, value);
    await prepare(request.headers);
    return request;
  };
  if (onProgress === undefined)
    return { request: (signal) => withHeaders(new Request(url, { ...init, body, signal })) };
  if (!countsByStream) {
    return {
      request: (signal) => withHeaders(new Request(url, { ...init, signal })),
      by: (request) => sendByXhr(request, body, totalBytes, onProgress),
    };
  }
  return {
    request: (signal) => {
      // Serializes a form, whose boundary stands in its content type.
      const whole = new Response(body);
      const type = whole.headers.get('content-type');
      const stream = whole.body === null ? null : counted(whole.body, totalBytes, onProgress);
      // The types of browsers have no `duplex`, which Node asks for with a stream.
      const streaming = { ...init, body: stream, signal, duplex: 'half' as const };
      const request = new Request(url, streaming);
      if (type !== null) request.headers.set('content-type', type);
      // A store that is given a signed length takes no body of unknown length.
      if (body instanceof Blob) request.headers.set('content-length', String(totalBytes));
      return withHeaders(request);
    },
  };
}
