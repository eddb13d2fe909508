/** Why the object store did not do what was asked. `retryable` says whether the same call may succeed later. */
export class StoreError extends Error {
  override readonly name = 'StoreError';
  readonly code: 'not_found' | 'exists' | 'refused' | 'unavailable' | 'timeout' | 'corrupt';
  readonly retryable: boolean;
  constructor(code: StoreError['code'], message: string, cause?: unknown) {
    super(message, { cause });
    this.code = code;
    this.retryable = code === 'unavailable' || code === 'timeout' || code === 'corrupt';
  }
}

interface SdkError {
  readonly name?: string;
  readonly message?: string;
  readonly $metadata?: { readonly httpStatusCode?: number };
}

/** The one place where an SDK error becomes ours. */
export function storeError(operation: string, error: unknown): StoreError {
  if (error instanceof StoreError) return error;
  const { name = 'Error', message = '', $metadata } = error as SdkError;
  const status = $metadata?.httpStatusCode;
  const text = `${operation}: ${name}${message === '' ? '' : `: ${message}`}`;
  // Not the object is missing, but what it lies in: a bucket that is not made yet, parts that the store dropped.
  if (name === 'NoSuchBucket' || name === 'NoSuchUpload') return new StoreError('unavailable', text, error);
  // A HEAD has no body, so its 404 comes as "NotFound" without a code.
  if (status === 404 || name === 'NoSuchKey' || name === 'NotFound') return new StoreError('not_found', text, error);
  if (status === 412) return new StoreError('exists', text, error);
  if (/BadDigest|IncompleteBody|checksum/i.test(`${name} ${message}`)) return new StoreError('corrupt', text, error);
  if (name === 'TimeoutError' || name === 'AbortError') return new StoreError('timeout', text, error);
  // 408 and 429 are the server asking for later; every other 4xx says that asking again is no use.
  if (status !== undefined && status >= 400 && status < 500 && status !== 408 && status !== 429) {
    return new StoreError('refused', text, error);
  }
  return new StoreError('unavailable', text, error);
}
