import type { ConvertImage, ImageSource } from '@sluice/contracts';
import { fetchPublic, FetchFailedError, TargetRefused, type FetchSettings } from '@sluice/outbound';
import { StoreError, type ObjectStore } from '@sluice/storage';
import { PayloadTooLargeError } from '../convert/errors.ts';

export interface FetchPicturesSettings extends Omit<FetchSettings, 'signal' | 'accept'> {
  /** Of all pictures of a job together, on the clock. */
  readonly totalTimeoutMs: number;
  /** Bytes of one picture. */
  readonly maxBytes: number;
}

/** A picture could not be fetched from its URL. `temporary`: another try may do better. */
export class SourceFetchError extends Error {
  override readonly name = 'SourceFetchError';
  readonly code: 'source_refused' | 'source_unavailable';
  readonly temporary: boolean;
  constructor(code: SourceFetchError['code'], message: string, temporary: boolean, cause: unknown) {
    super(message, { cause });
    this.code = code;
    this.temporary = temporary;
  }
}

const accept = 'image/avif,image/webp,image/png,image/jpeg,image/tiff,image/gif;q=0.9,*/*;q=0.1';

/**
 * The sources of a job, with those that are URLs fetched into the store first: a picture may be read twice, a job may
 * be tried again, and a URL may lead to something else the next time. What was fetched before is not fetched again. The
 * copies lie under `uploads/`, where the gateway deletes what no job needs any more.
 *
 * @throws {SourceFetchError} when a URL must not be called, or cannot be had
 * @throws {PayloadTooLargeError} when there is more than one picture may have; no more is read
 * @throws {StoreError} when the store cannot take it
 */
export async function fetchPictures(
  work: ConvertImage,
  store: Pick<ObjectStore, 'head' | 'upload'>,
  settings: FetchPicturesSettings,
  signal: AbortSignal,
): Promise<readonly ImageSource[]> {
  if (!work.sources.some(({ from }) => from.case === 'url')) return work.sources;
  const timeout = AbortSignal.timeout(settings.totalTimeoutMs);
  const sources: ImageSource[] = [];
  for (const [index, source] of work.sources.entries()) {
    if (source.from.case !== 'url') sources.push(source);
    else {
      const key = `uploads/${work.jobId}/url-${index}`;
      const name = `picture ${index + 1}`;
      const url = source.from.value;
      const sizeBytes = await fetchOnce(url, key, name, store, settings, { signal, timeout });
      sources.push({ ...source, from: { case: 'key', value: key }, sizeBytes: BigInt(sizeBytes) });
    }
  }
  return sources;
}

interface Ends {
  readonly signal: AbortSignal;
  readonly timeout: AbortSignal;
}

async function fetchOnce(
  url: string,
  key: string,
  name: string,
  store: Pick<ObjectStore, 'head' | 'upload'>,
  settings: FetchPicturesSettings,
  { signal, timeout }: Ends,
): Promise<number> {
  const known = await store.head(key);
  if (known) return known.sizeBytes;
  const either = AbortSignal.any([signal, timeout]);
  const upload = store.upload(key, { contentType: 'application/octet-stream', signal: either });
  try {
    const { body, sizeBytes } = await fetchPublic(new URL(url), { ...settings, accept, signal: either });
    try {
      if ((sizeBytes ?? 0) > settings.maxBytes) throw new PayloadTooLargeError(`more than ${settings.maxBytes} bytes`);
      let received = 0;
      for await (const bytes of body as AsyncIterable<Buffer>) {
        received += bytes.length;
        if (received > settings.maxBytes) throw new PayloadTooLargeError(`more than ${settings.maxBytes} bytes`);
        await upload.write(bytes);
      }
      if (sizeBytes !== undefined && received !== sizeBytes) {
        throw new FetchFailedError('the body broke off', { temporary: true });
      }
    } finally {
      body.on('error', () => {}).destroy();
    }
    return (await upload.finish()).sizeBytes;
  } catch (error) {
    await upload.abandon();
    throw fetchError(error, name, { signal, timeout });
  }
}

function fetchError(error: unknown, name: string, { signal, timeout }: Ends): unknown {
  if (signal.aborted) return error;
  if (timeout.aborted) return new SourceFetchError('source_unavailable', `${name}: not there in time`, true, error);
  if (error instanceof PayloadTooLargeError || error instanceof StoreError) return error;
  if (error instanceof TargetRefused)
    return new SourceFetchError('source_refused', `${name}: ${error.message}`, false, error);
  if (error instanceof FetchFailedError) {
    return new SourceFetchError('source_unavailable', `${name}: ${error.message}`, error.temporary, error);
  }
  // Errors of the network while the body is read have no class of their own.
  return new SourceFetchError('source_unavailable', `${name}: the body broke off`, true, error);
}
