/**
 * Every error that a caller of the gateway can meet, by its stable code, and whose fault it is: repeating a request
 * unchanged never helps against a fault of the caller. Transports map the codes: `http/problem.ts` to statuses,
 * `grpc/problem-codes.ts` to gRPC codes, `nats/commands.ts` to settlements.
 */
const faults = {
  invalid_request: 'caller',
  unauthenticated: 'caller',
  insufficient_credits: 'caller',
  forbidden: 'caller',
  not_found: 'caller',
  method_not_allowed: 'caller',
  request_timeout: 'caller',
  request_in_progress: 'caller',
  job_not_finished: 'caller',
  job_failed: 'caller',
  job_finished: 'caller',
  not_replayable: 'caller',
  storage_quota_exceeded: 'caller',
  erasure_running: 'caller',
  result_expired: 'caller',
  payload_too_large: 'caller',
  unsupported_media_type: 'caller',
  corrupt_image: 'caller',
  unsupported_image: 'caller',
  image_too_large: 'caller',
  idempotency_key_reused: 'caller',
  rate_limited: 'caller',
  headers_too_large: 'caller',
  internal: 'system',
  overloaded: 'system',
  unavailable: 'system',
} as const satisfies Record<string, 'caller' | 'system'>;

/** The stable code of an error. */
export type ErrorCode = keyof typeof faults;

export const errorCodes = Object.keys(faults) as readonly ErrorCode[];

export interface GatewayErrorOptions {
  /** The job that the error is about, when the caller may know it. */
  readonly jobId?: string;
  /** What is wrong where, as JSON pointers into the request. */
  readonly errors?: readonly { readonly pointer: string; readonly detail: string }[];
  /** When a repeat may succeed. Becomes `Retry-After` on HTTP. */
  readonly retryAfterSeconds?: number;
  readonly cause?: unknown;
}

/** What a feature throws for its caller. `detail` is read by clients. */
export class GatewayError extends Error {
  override readonly name = 'GatewayError';
  readonly code: ErrorCode;
  readonly options: GatewayErrorOptions;
  constructor(code: ErrorCode, detail: string, options: GatewayErrorOptions = {}) {
    super(detail, { cause: options.cause });
    this.code = code;
    this.options = options;
  }

  /** Whether the same request will be refused again. */
  get isCallerFault(): boolean {
    return faults[this.code] === 'caller';
  }
}

/** One wrong field, in the shape that schema validation gives too. */
export const invalidField = (pointer: string, detail: string): GatewayError =>
  new GatewayError('invalid_request', `${pointer} ${detail}`, { errors: [{ pointer, detail }] });
