import type { ImageSource } from '@sluice/contracts';
import { StoreError, type ObjectStore } from '@sluice/storage';
import { sourceFromBytes, type PageSource } from '../convert/byte-reader.ts';

/** A picture of a job is not in the store. */
export class SourceMissingError extends Error {
  override readonly name = 'SourceMissingError';
  readonly code = 'source_missing';
  constructor(picture: string, cause: StoreError) {
    super(`${picture} is no longer there`, { cause });
  }
}

/** The pictures of a job, in the order of their pages: objects in the store, or bytes that came with the message. */
export function pageSources(
  sources: readonly ImageSource[],
  store: Pick<ObjectStore, 'get'>,
  signal: AbortSignal,
): PageSource[] {
  return sources.map((source, index) => {
    const name = `picture ${index + 1}`;
    if (source.from.case === 'content') return sourceFromBytes(source.from.value, name);
    return sourceFromStore(source.from.value ?? '', Number(source.sizeBytes), name, store, signal);
  });
}

function sourceFromStore(
  key: string,
  sizeBytes: number,
  name: string,
  store: Pick<ObjectStore, 'get'>,
  signal: AbortSignal,
): PageSource {
  return {
    name,
    sizeBytes,
    disposable: true,
    async open() {
      // A job may only read uploads: a message with another key would read the PDF of another job.
      if (!isUploadKey(key)) throw new StoreError('refused', `${name}: not the key of an upload`);
      const stored = await store.get(key, signal).catch((error: unknown) => {
        throw error instanceof StoreError && error.code === 'not_found' ? new SourceMissingError(name, error) : error;
      });
      return wholeBody(stored.body, stored.sizeBytes, name);
    },
  };
}

function isUploadKey(key: string): boolean {
  return /^uploads\/[\w-]+\/[\w-]+$/.test(key);
}

// A body that breaks off is the network's fault, not the picture's: it must not look like a picture that is cut short.
// And leaving a body early closes its connection: pictures are often read no further than their header.
async function* wholeBody(
  body: AsyncIterable<Uint8Array> & { destroy(): unknown },
  sizeBytes: number,
  name: string,
): AsyncGenerator<Uint8Array> {
  let received = 0;
  try {
    for await (const bytes of body) {
      received += bytes.length;
      yield bytes;
    }
  } catch (error) {
    throw new StoreError('unavailable', `${name}: the body broke off`, error);
  } finally {
    body.destroy();
  }
  if (received !== sizeBytes) throw new StoreError('unavailable', `${name}: ${received} of ${sizeBytes} bytes arrived`);
}
