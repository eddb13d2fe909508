/** How far an upload is. */
export interface UploadProgress {
  readonly sentBytes: number;
  readonly totalBytes: number;
}
export type OnProgress = (progress: UploadProgress) => void;

/** What of `XMLHttpRequest` is used. The types of Node have none of it. */
interface Xhr {
  readonly upload: { addEventListener(type: 'progress', listener: (event: { readonly loaded: number }) => void): void };
  readonly status: number;
  readonly statusText: string;
  readonly response: ArrayBuffer;
  responseType: string;
  withCredentials: boolean;
  addEventListener(type: 'load' | 'error' | 'abort', listener: () => void): void;
  open(method: string, url: string): void;
  setRequestHeader(name: string, value: string): void;
  getAllResponseHeaders(): string;
  send(body: unknown): void;
  abort(): void;
}
const XhrClass = (globalThis as { XMLHttpRequest?: new () => Xhr }).XMLHttpRequest;

/** Whether a body has to be a stream that counts what is read of it. Browsers take no such body over HTTP/1.1. */
export const countsByStream = XhrClass === undefined;

/** A body that tells how much of it was read. */
export function counted(
  body: ReadableStream<Uint8Array>,
  totalBytes: number,
  onProgress: OnProgress,
): ReadableStream<Uint8Array> {
  let read = 0;
  return body.pipeThrough(
    new TransformStream<Uint8Array, Uint8Array>({
      transform(chunk, controller) {
        read += chunk.byteLength;
        controller.enqueue(chunk);
        onProgress({ sentBytes: Math.min(read, totalBytes), totalBytes });
      },
    }),
  );
}

/**
 * Sends a request by `XMLHttpRequest`, the only thing in browsers that tells of the progress of an upload.
 *
 * @param body the same as the request's, which cannot be taken out of it again as what it was.
 */
export function sendByXhr(
  request: Request,
  body: Blob | FormData,
  totalBytes: number,
  onProgress: OnProgress,
): Promise<Response> {
  if (XhrClass === undefined) throw new Error('XMLHttpRequest is for browsers');
  const xhr = new XhrClass();
  const ended = Promise.withResolvers<Response>();
  const fail = (): void => ended.reject(new TypeError('the connection failed'));
  xhr.open(request.method, request.url);
  xhr.responseType = 'arraybuffer';
  xhr.withCredentials = request.credentials === 'include';
  for (const [name, value] of request.headers) {
    // A form names its own boundary.
    if (name !== 'content-type' || body instanceof Blob) xhr.setRequestHeader(name, value);
  }
  xhr.upload.addEventListener('progress', ({ loaded }) =>
    onProgress({ sentBytes: Math.min(loaded, totalBytes), totalBytes }),
  );
  xhr.addEventListener('load', () => ended.resolve(responseOf(xhr)));
  xhr.addEventListener('error', fail);
  xhr.addEventListener('abort', fail);
  const stop = (): void => xhr.abort();
  request.signal.addEventListener('abort', stop, { once: true });
  xhr.send(body);
  return ended.promise.finally(() => request.signal.removeEventListener('abort', stop));
}

function responseOf(xhr: Xhr): Response {
  const headers = new Headers();
  for (const line of xhr.getAllResponseHeaders().trim().split(/\r?\n/)) {
    const colon = line.indexOf(':');
    if (colon > 0) headers.append(line.slice(0, colon), line.slice(colon + 1).trim());
  }
  const body = xhr.status === 204 || xhr.status === 304 ? null : xhr.response;
  return new Response(body, { status: xhr.status, statusText: xhr.statusText, headers });
}
