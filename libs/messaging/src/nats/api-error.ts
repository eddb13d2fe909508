/**
 * JetStream's own error numbers (`err_code`) that this system tells apart, named as in the server's errors.json
 * (https://github.com/nats-io/nats-server/blob/main/server/errors.json).
 */
export const JS_ERROR = {
  accountResourcesExceeded: 10_002,
  noSuitablePeers: 10_005,
  consumerNotFound: 10_014,
  insufficientResources: 10_023,
  noMessageFound: 10_037,
  sequenceNotFound: 10_043,
  storageExceeded: 10_047,
  streamNotFound: 10_059,
  wrongLastSequence: 10_071,
  replicasNotSupported: 10_074,
  storeFailed: 10_077,
  /** What servers from 2.12 on answer where they do not know the last sequence yet. */
  wrongLastSequenceUnknown: 10_164,
} as const;

/** The JetStream error number of an error of nats.js or of the engine; undefined when it carries none. */
export function apiErrorCode(error: unknown): number | undefined {
  const { code, apiCode } = (error ?? {}) as { readonly code?: unknown; readonly apiCode?: unknown };
  if (typeof apiCode === 'number') return apiCode;
  return typeof code === 'number' ? code : undefined;
}

/** Whether a compare-and-set lost: something else wrote the subject or key since it was read. */
export const isWrongLastSequence = (error: unknown): boolean => {
  const code = apiErrorCode(error);
  return code === JS_ERROR.wrongLastSequence || code === JS_ERROR.wrongLastSequenceUnknown;
};

const FULL: ReadonlySet<number | undefined> = new Set([
  JS_ERROR.accountResourcesExceeded,
  JS_ERROR.insufficientResources,
  JS_ERROR.storageExceeded,
  JS_ERROR.storeFailed,
]);

/** Whether a publish was refused because its stream, the account or the server is full. Nothing was stored. */
export const isFull = (error: unknown): boolean => FULL.has(apiErrorCode(error));
