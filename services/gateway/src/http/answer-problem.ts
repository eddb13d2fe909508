import { randomBytes } from 'node:crypto';
import type { Socket } from 'node:net';
import { ContendedError } from '@sluice/jobs';
import { EntryContendedError, isBrokerFault, isFull } from '@sluice/messaging';
import { StoreError } from '@sluice/storage';
import type { Logger } from '@sluice/telemetry';
import type { FastifyError, FastifyReply, FastifyRequest } from 'fastify';
import { BodyBudgetError } from '../admission/body-budget.ts';
import { ReadModelUnavailableError } from '../history/read-model.ts';
import { GatewayError, type ErrorCode } from '../errors.ts';
import { inMib } from '../uploads/sizes.ts';
import { problemBody, problems, statusOf } from './problem.ts';
import { validationProblem } from './validation.ts';

/** Codes of Fastify's own errors, as ours. Everything else with a 4xx status is a malformed request. */
const fastifyCodes: Readonly<Record<number, ErrorCode>> = {
  404: 'not_found',
  408: 'request_timeout',
  413: 'payload_too_large',
  415: 'unsupported_media_type',
  431: 'headers_too_large',
};

/** A stream takes more once a consumer has worked off some of it, or what it keeps has expired. */
const FULL_RETRY_SECONDS = 10;

/** The one place where an error becomes an answer. */
export function toGatewayError(error: unknown, request?: FastifyRequest): GatewayError {
  if (error instanceof GatewayError) return error;
  const { validation, validationContext, statusCode, code } = error as Partial<FastifyError>;
  if (validation !== undefined) return validationProblem(validation, validationContext);
  if (isFull(error)) {
    const { stream = 'of the broker' } = error as { readonly stream?: string };
    const detail = `Stream ${stream} is full. Nothing was accepted; repeat the request later.`;
    return new GatewayError('overloaded', detail, { retryAfterSeconds: FULL_RETRY_SECONDS, cause: error });
  }
  if (isBrokerFault(error)) {
    // The broker is away or did not answer in time. Whether it stored the job is not known: the same request with the
    // same Idempotency-Key finds out.
    const detail = 'The broker did not confirm. Nothing was promised; repeat the request with its Idempotency-Key.';
    return new GatewayError('unavailable', detail, { retryAfterSeconds: 2, cause: error });
  }
  if (error instanceof BodyBudgetError) {
    const { message, retryAfterSeconds } = error;
    return new GatewayError('overloaded', `${message} Nothing was accepted; repeat the request later.`, {
      retryAfterSeconds,
    });
  }
  if (error instanceof EntryContendedError || error instanceof ContendedError) {
    const detail = 'Others changed the same at every try. Nothing was done; repeat the request.';
    return new GatewayError('unavailable', detail, { retryAfterSeconds: 1, cause: error });
  }
  if (error instanceof ReadModelUnavailableError) {
    return new GatewayError('unavailable', 'The history cannot be asked now; a single job can.', {
      retryAfterSeconds: 5,
      cause: error,
    });
  }
  if (error instanceof StoreError) {
    return new GatewayError('unavailable', 'The object store did not take the request.', {
      retryAfterSeconds: 5,
      cause: error,
    });
  }
  if (statusCode !== undefined && statusCode >= 400 && statusCode < 500) {
    if (code === 'FST_ERR_CTP_INVALID_MEDIA_TYPE') {
      const given = request?.headers['content-type'];
      const found =
        given === undefined
          ? 'The request has no content type'
          : `The content type is ${JSON.stringify(given.slice(0, 100))}`;
      return new GatewayError('unsupported_media_type', `${found}: send JSON, with content-type: application/json.`);
    }
    if (code === 'FST_ERR_CTP_BODY_TOO_LARGE') {
      const limit = request === undefined ? '' : ` Here it may be ${inMib(request.routeOptions.bodyLimit)}.`;
      return new GatewayError('payload_too_large', `The body is too large.${limit}`);
    }
    // Fastify's own texts speak of the request alone.
    const detail = code?.startsWith('FST_') === true ? (error as Error).message : 'The request is malformed.';
    return new GatewayError(fastifyCodes[statusCode] ?? 'invalid_request', detail, { cause: error });
  }
  if ((error as { code?: unknown }).code === 'ECONNRESET') {
    return new GatewayError('invalid_request', 'The body ended before it was complete.', { cause: error });
  }
  return new GatewayError('internal', 'An unexpected error. Its trace id finds it in our logs.', { cause: error });
}

/** Answers with a problem, and logs the faults of the system. */
export async function sendProblem(
  reply: FastifyReply,
  request: FastifyRequest,
  problem: GatewayError,
  log: Logger,
): Promise<FastifyReply> {
  const trace = request.trace ?? { traceId: '0'.repeat(32) };
  if (statusOf(problem) >= 500) {
    const fields = {
      err: problem.options.cause ?? problem,
      code: problem.code,
      route: request.routeOptions.url,
      trace_id: trace.traceId,
    };
    if (problem.code === 'internal') log.error(fields, 'a request failed');
    else log.warn(fields, 'a request was refused');
  }
  if (reply.raw.headersSent) return reply;
  if (problem.options.retryAfterSeconds !== undefined) {
    reply.header('retry-after', String(Math.max(1, Math.ceil(problem.options.retryAfterSeconds))));
  }
  // Fastify would close the connection of a body that is too large, and a client that is still sending lose the answer.
  reply.removeHeader('connection');
  const body = problemBody(problem, { path: request.url.split('?', 1)[0] ?? '/', traceId: trace.traceId });
  return reply.code(statusOf(problem)).type('application/problem+json').serializer(String).send(JSON.stringify(body));
}

/** What never became a request: answered on the bare socket, in the shape of every other problem. */
export function answerBrokenRequest(error: Error & { code?: string }, socket: Socket): void {
  if (error.code === 'ECONNRESET' || socket.destroyed) return;
  const code: ErrorCode =
    error.code === 'ERR_HTTP_REQUEST_TIMEOUT'
      ? 'request_timeout'
      : error.code === 'HPE_HEADER_OVERFLOW'
        ? 'headers_too_large'
        : 'invalid_request';
  answerOnSocket(socket, code, 'The request could not be read.');
}

/** Answers on the connection itself, and ends it: for a request that cannot be answered through its reply. */
export function answerOnSocket(socket: Socket, code: ErrorCode, detail: string): void {
  const traceId = randomBytes(16).toString('hex');
  const body = JSON.stringify(problemBody(new GatewayError(code, detail), { path: '/', traceId }));
  const head = [
    `HTTP/1.1 ${problems[code].status} ${problems[code].title}`,
    'content-type: application/problem+json',
    `x-trace-id: ${traceId}`,
    `traceresponse: 00-${traceId}-${randomBytes(8).toString('hex')}-00`,
    `content-length: ${Buffer.byteLength(body)}`,
    'connection: close',
  ];
  if (!socket.writable) {
    socket.destroy();
    return;
  }
  // The client may go on sending and never close its side.
  socket.end(`${head.join('\r\n')}\r\n\r\n${body}`, () => socket.destroy());
}
