import { Type } from 'typebox';
import { problemResponses } from '../problem.ts';

/** What every request that makes a job may say in its headers. */
export const acceptHeaders = Type.Object({
  'idempotency-key': Type.Optional(
    Type.String({
      maxLength: 260,
      description:
        'Honoured for 24 hours: the same key and request meet the same job; another request with it is refused.',
    }),
  ),
  prefer: Type.Optional(
    Type.String({
      maxLength: 200,
      description: '`wait=N`: answer with the ended job if it ends within N seconds (at most 60).',
    }),
  ),
});

const jobAnswer = (description: string) => ({
  description,
  headers: {
    Location: { type: 'string', description: 'Where the job is.' },
  },
  content: { 'application/json': { schema: Type.Ref('Job') } },
});

/** The answers of every route that makes a job. */
export const acceptedResponses = {
  200: jobAnswer('The ended job: it ended within the time the client asked to wait.'),
  202: jobAnswer('Accepted: stored, and certain to end.'),
  ...problemResponses(
    'insufficient_credits',
    'request_in_progress',
    'idempotency_key_reused',
    'payload_too_large',
    'unsupported_media_type',
    'overloaded',
  ),
};
