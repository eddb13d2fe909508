import { create } from '@bufbuild/protobuf';
import { durationFromMs } from '@bufbuild/protobuf/wkt';
import { Code, ConnectError } from '@connectrpc/connect';
import { BadRequestSchema, ErrorInfoSchema, RetryInfoSchema } from '@sluice/contracts';
import type { GatewayError, ErrorCode } from '../errors.ts';

/**
 * Every problem as a gRPC status. The type makes this complete: a new problem does not compile without one.
 *
 * What a repeat of the same call can fix is `Unavailable`, `Aborted` or `ResourceExhausted`, because client libraries
 * retry by these; what it cannot is any other.
 */
export const rpcCodes: Readonly<Record<ErrorCode, Code>> = {
  invalid_request: Code.InvalidArgument,
  unauthenticated: Code.Unauthenticated,
  // Not ResourceExhausted: waiting buys no credits.
  insufficient_credits: Code.FailedPrecondition,
  forbidden: Code.PermissionDenied,
  not_found: Code.NotFound,
  method_not_allowed: Code.Unimplemented,
  request_timeout: Code.DeadlineExceeded,
  request_in_progress: Code.Aborted,
  job_not_finished: Code.FailedPrecondition,
  job_failed: Code.FailedPrecondition,
  job_finished: Code.FailedPrecondition,
  not_replayable: Code.FailedPrecondition,
  // Not ResourceExhausted: a repeat finds no more room.
  storage_quota_exceeded: Code.FailedPrecondition,
  erasure_running: Code.Aborted,
  result_expired: Code.NotFound,
  // What gRPC itself says of a message over its limit.
  payload_too_large: Code.ResourceExhausted,
  unsupported_media_type: Code.InvalidArgument,
  corrupt_image: Code.InvalidArgument,
  unsupported_image: Code.InvalidArgument,
  image_too_large: Code.InvalidArgument,
  idempotency_key_reused: Code.AlreadyExists,
  rate_limited: Code.ResourceExhausted,
  headers_too_large: Code.ResourceExhausted,
  internal: Code.Internal,
  overloaded: Code.Unavailable,
  unavailable: Code.Unavailable,
};

/** `ErrorInfo.domain`: tells our reasons from those of proxies on the way. */
export const ERROR_DOMAIN = 'sluice.v1';

/**
 * A problem as the error of a call: the status of its code, its text, and the standard details, which client libraries
 * decode. `ErrorInfo.reason` is the code that HTTP answers with.
 */
export function rpcError(problem: GatewayError, metadata?: Headers): ConnectError {
  const { errors, retryAfterSeconds, jobId } = problem.options;
  const about: Record<string, string> = jobId === undefined ? {} : { jobId };
  // A text that was cut inside a character cannot be written as a header.
  const error = new ConnectError(problem.message.toWellFormed(), rpcCodes[problem.code], metadata, [
    {
      desc: ErrorInfoSchema,
      value: create(ErrorInfoSchema, { reason: problem.code, domain: ERROR_DOMAIN, metadata: about }),
    },
  ]);
  if (errors !== undefined) {
    const fieldViolations = errors.map(({ pointer, detail }) => ({ field: pointer, description: detail }));
    error.details.push({ desc: BadRequestSchema, value: create(BadRequestSchema, { fieldViolations }) });
  }
  if (retryAfterSeconds !== undefined) {
    const retryDelay = durationFromMs(Math.ceil(retryAfterSeconds * 1000));
    error.details.push({ desc: RetryInfoSchema, value: create(RetryInfoSchema, { retryDelay }) });
    error.metadata.set('retry-after', String(Math.max(1, Math.ceil(retryAfterSeconds))));
  }
  return error;
}
