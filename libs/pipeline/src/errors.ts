/** One thing wrong with a pipeline's spec or with the consumer it is to run on. */
export interface ConfigProblem {
  /** Where, e.g. `flow.concurrency` or `sources[0].consumer`. */
  readonly path: string;
  readonly message: string;
}

/** Thrown by a handler: no retry can help, the message goes to the dead letters now. */
export class PermanentError extends Error {
  override readonly name: string = 'PermanentError';
  readonly code: string = 'PERMANENT';
}

/**
 * Thrown by a handler: retry, but not before `afterMs` milliseconds (at most the policy's `maxAfterMs`). Counts as an
 * attempt. A value that is no positive number means the policy's own delay.
 */
export class RetryAfterError extends Error {
  override readonly name: string = 'RetryAfterError';
  readonly code: string = 'RETRY_AFTER';
  readonly afterMs: number;
  constructor(message: string, afterMs: number, options?: ErrorOptions) {
    super(message, options);
    this.afterMs = afterMs;
  }
}

/** The spec, or the live consumer, does not fit. Lists every problem, not the first. */
export class PipelineConfigError extends Error {
  override readonly name: string = 'PipelineConfigError';
  readonly code: string = 'PIPELINE_CONFIG';
  readonly problems: readonly ConfigProblem[];
  constructor(subject: string, problems: readonly ConfigProblem[]) {
    super(`${subject}:\n${problems.map((problem) => `  ${problem.path}: ${problem.message}`).join('\n')}`);
    this.problems = problems;
  }
}

/** The pipeline cannot go on and the process should be restarted: `done` rejects with this. */
export class PipelineFault extends Error {
  override readonly name: string = 'PipelineFault';
  readonly code: 'CONNECTION_CLOSED' | 'ALL_HANDLERS_HUNG' | 'INTERNAL';
  constructor(code: PipelineFault['code'], message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}

/** `signal.reason` of a handler that has to stop, and the failure counted for one that did not in time. */
export class HandlerAborted extends Error {
  override readonly name: string = 'HandlerAborted';
  readonly code: 'HANDLER_TIMEOUT' | 'CANCELLED' | 'CLAIM_LOST' | 'PARTITION_LOST' | 'DRAIN_FORCED';
  constructor(code: HandlerAborted['code'], message: string) {
    super(message);
    this.code = code;
  }
}

/**
 * A publish into a stream failed: the client would not send it (`REFUSED`: larger than max_payload), the user may not
 * (`DENIED`), the stream would not take it (`REJECTED`), or it is unknown whether it was stored (`TIMEOUT`, `DISCONNECTED`).
 */
export class PublishError extends Error {
  override readonly name: string = 'PublishError';
  readonly code: 'TIMEOUT' | 'DISCONNECTED' | 'NO_STREAM' | 'REFUSED' | 'DENIED' | 'REJECTED' | 'CLOSED';
  /** JetStream's own number for `REJECTED`: 10071 wrong last sequence, 10077 stream full, 10054 too large. */
  readonly apiCode: number | undefined;
  /** The stream that refused, for `REJECTED`. */
  readonly stream: string | undefined;
  constructor(
    code: PublishError['code'],
    message: string,
    apiCode?: number,
    options?: ErrorOptions & { readonly stream?: string | undefined },
  ) {
    super(message, options);
    this.code = code;
    this.apiCode = apiCode;
    this.stream = options?.stream;
  }
}

/** A request to the JetStream API failed. */
export class RequestError extends Error {
  override readonly name: string = 'RequestError';
  readonly code: 'TIMEOUT' | 'NO_RESPONDERS' | 'DENIED' | 'API' | 'CLOSED';
  /** JetStream's own number for `API`: 10059 stream not found, 10014 consumer not found. */
  readonly apiCode: number | undefined;
  constructor(code: RequestError['code'], message: string, apiCode?: number, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
    this.apiCode = apiCode;
  }
}
