import { STATUS_CODES } from 'node:http';
import { Type, type Static } from 'typebox';
import { errorCodes, type ErrorCode, type GatewayError } from '../errors.ts';

/** Every error as a client meets it over HTTP: the status it travels with and a title. */
export const problems = {
  invalid_request: { status: 400, title: 'The request is not valid' },
  unauthenticated: { status: 401, title: 'A valid API key is needed' },
  insufficient_credits: { status: 402, title: 'The credits are used up' },
  forbidden: { status: 403, title: 'The API key may not do this' },
  not_found: { status: 404, title: 'Not found' },
  method_not_allowed: { status: 405, title: 'The address takes other methods' },
  request_timeout: { status: 408, title: 'The request took too long to arrive' },
  request_in_progress: { status: 409, title: 'A request with this Idempotency-Key is still being answered' },
  job_not_finished: { status: 409, title: 'The job has no result yet' },
  job_failed: { status: 409, title: 'The job failed, so it has no result' },
  job_finished: { status: 409, title: 'The job has ended already' },
  not_replayable: { status: 409, title: 'This cannot be sent on its way again' },
  storage_quota_exceeded: { status: 409, title: 'The account stores as much as it may' },
  erasure_running: { status: 409, title: 'An erasure is at work' },
  result_expired: { status: 410, title: 'The result was deleted' },
  payload_too_large: { status: 413, title: 'The request body is too large' },
  unsupported_media_type: { status: 415, title: 'The content is of a kind that is not accepted' },
  corrupt_image: { status: 422, title: 'The image is damaged and cannot be read' },
  unsupported_image: { status: 422, title: 'The image is of a form that cannot be converted' },
  image_too_large: { status: 422, title: 'The image has too many pixels' },
  idempotency_key_reused: { status: 422, title: 'The Idempotency-Key belongs to another request' },
  rate_limited: { status: 429, title: 'Too many requests' },
  headers_too_large: { status: 431, title: 'The request headers are too large' },
  internal: { status: 500, title: 'Something went wrong on our side' },
  overloaded: { status: 503, title: 'The backlog is full for now' },
  unavailable: { status: 503, title: 'The service cannot take this now' },
} as const satisfies Record<ErrorCode, { status: number; title: string }>;

/** The HTTP status of an error. */
export const statusOf = (error: GatewayError): number => problems[error.code].status;

/** What every error answer looks like: RFC 9457, `application/problem+json`. */
export const ProblemSchema = Type.Object(
  {
    type: Type.String({ description: 'A page about this kind of problem, relative to the API.' }),
    title: Type.String(),
    status: Type.Integer(),
    detail: Type.String(),
    instance: Type.String({ description: 'The path that was asked for.' }),
    code: Type.String({ enum: [...errorCodes], description: 'Stable and machine-readable.' }),
    traceId: Type.String(),
    jobId: Type.Optional(Type.String()),
    errors: Type.Optional(
      Type.Array(Type.Object({ pointer: Type.String(), detail: Type.String() }), {
        description: 'What is wrong where, as JSON pointers into the request.',
      }),
    ),
  },
  { $id: 'Problem', description: 'An error (RFC 9457).' },
);
export type ProblemBody = Static<typeof ProblemSchema>;

/** The body of a problem's answer. */
export function problemBody(problem: GatewayError, request: { path: string; traceId: string }): ProblemBody {
  const { jobId, errors } = problem.options;
  return {
    type: `/problems/${problem.code}`,
    title: problems[problem.code].title,
    status: statusOf(problem),
    detail: problem.message,
    instance: request.path,
    code: problem.code,
    traceId: request.traceId,
    ...(jobId === undefined ? {} : { jobId }),
    ...(errors === undefined ? {} : { errors: errors.map((error) => ({ ...error })) }),
  };
}

/** The response schemas of a route: the given problems besides those any route can meet. */
export function problemResponses(...codes: readonly ErrorCode[]): Record<number, unknown> {
  const everywhere: readonly ErrorCode[] = [
    'invalid_request',
    'unauthenticated',
    'forbidden',
    'rate_limited',
    'internal',
    'unavailable',
  ];
  const statuses = new Set([...everywhere, ...codes].map((code) => problems[code].status));
  const about = (status: number) =>
    Object.entries(problems)
      .filter(([code, problem]) => problem.status === status && [...everywhere, ...codes].includes(code as ErrorCode))
      .map(([code]) => `\`${code}\``)
      .join(', ');
  return Object.fromEntries(
    [...statuses].map((status) => [
      status,
      {
        description: `${STATUS_CODES[status]}: ${about(status)}`,
        content: { 'application/problem+json': { schema: Type.Ref('Problem') } },
      },
    ]),
  );
}
