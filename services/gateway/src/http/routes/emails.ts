import type { JsonObject } from '@bufbuild/protobuf';
import {
  mailAttachmentLimits,
  mailTemplateNames,
  mailTemplates,
  MAX_MAIL_COPIES,
  Priority,
  type TemplateVariable,
} from '@sluice/contracts';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { Type } from 'typebox';
import { laneOf } from '../../admission/backpressure.ts';
import { acceptJob, type NewJob } from '../../jobs/accept/accept-job.ts';
import { newEmailJob, newUserJob, type EmailContext } from '../../jobs/accept/email-request.ts';
import { findTemplate } from '../../jobs/accept/find-template.ts';
import { findAttachments } from '../../jobs/accept/mail-attachments.ts';
import { copiesOf } from '../../jobs/kinds/index.ts';
import { keyOf } from '../../jobs/accept/idempotency.ts';
import { countItems, recipientCounter } from '../../accounts/access.ts';
import { answerAccepted } from '../answer.ts';
import { traceOf, type App } from '../app.ts';
import type { RouteDeps } from '../deps.ts';
import { PrioritySchema, type JobView } from '../../jobs/job-view.ts';
import { problemResponses } from '../problem.ts';
import { acceptedResponses, acceptHeaders } from './accepted.ts';
import { MetadataSchema } from './metadata.ts';

/** The variables of each template, as the API page lists them. */
function variablesText(): string {
  const templates = mailTemplateNames.map((template) => {
    const given = Object.entries<TemplateVariable>(mailTemplates[template]).filter(
      ([, { from }]) => from !== 'service',
    );
    return `${template}: ${given.map(([name, { required }]) => (required ? name : `${name} (optional)`)).join(', ')}`;
  });
  return `What the template is filled with. ${templates.join('. ')}.`;
}

const copies = (who: string) =>
  Type.Array(Type.String({ minLength: 3, maxLength: 320 }), {
    maxItems: MAX_MAIL_COPIES,
    description: `${who}: bare addresses, ${MAX_MAIL_COPIES} in cc and bcc together. Needs a key with the scope emails:copies.`,
  });

export const EmailBody = Type.Object(
  {
    to: Type.String({ minLength: 3, maxLength: 320, description: 'One bare e-mail address.' }),
    cc: Type.Optional(copies('Who gets a copy and is named in it')),
    bcc: Type.Optional(copies('Who gets a copy and is named in none')),
    template: Type.String({
      maxLength: 64,
      description: `One that is shipped (${mailTemplateNames.join(', ')}), or one of your own.`,
    }),
    variables: Type.Optional(
      Type.Unsafe<JsonObject>(Type.Object({}, { additionalProperties: true, description: variablesText() })),
    ),
    replyTo: Type.Optional(
      Type.String({ minLength: 3, maxLength: 320, description: 'Where answers go: one bare e-mail address.' }),
    ),
    headers: Type.Optional(
      Type.Record(Type.String(), Type.String({ maxLength: 500 }), {
        description:
          'Headers of your own: In-Reply-To, References, Feedback-ID, X-Entity-Ref-ID, X-Campaign, X-Campaign-ID, X-Request-ID, X-Correlation-ID and X-Custom-...; ten at most.',
      }),
    ),
    metadata: Type.Optional(MetadataSchema),
    attachments: Type.Optional(
      Type.Array(
        Type.Object(
          {
            uploadId: Type.Optional(
              Type.String({ maxLength: 64, description: 'Of `POST /v1/uploads` with `use: attachment`.' }),
            ),
            jobId: Type.Optional(Type.String({ maxLength: 64, description: 'Of an image job: its PDF.' })),
            fileName: Type.Optional(
              Type.String({ maxLength: 100, description: 'As readers see it, with the ending of its type.' }),
            ),
          },
          { additionalProperties: false },
        ),
        {
          maxItems: mailAttachmentLimits.maxFiles,
          description: `Files that go with the mail, ${mailAttachmentLimits.maxBytes / 1e6} MB altogether.`,
        },
      ),
    ),
    locale: Type.Optional(
      Type.String({
        maxLength: 35,
        description: 'The language to write in, by BCP 47 tag, where the template has it.',
      }),
    ),
    priority: Type.Optional(PrioritySchema),
    callbackUrl: Type.Optional(Type.String({ maxLength: 2_048, description: 'Called with the ended job.' })),
  },
  { additionalProperties: false },
);
const UserBody = Type.Object(
  {
    name: Type.String({ minLength: 1, maxLength: 100 }),
    email: Type.String({ minLength: 3, maxLength: 320 }),
    metadata: Type.Optional(MetadataSchema),
    priority: Type.Optional(PrioritySchema),
  },
  { additionalProperties: false },
);

/** What a request for a mail can meet besides what every request for a job can. */
export const emailProblems = problemResponses(
  'insufficient_credits',
  'request_in_progress',
  'idempotency_key_reused',
  'payload_too_large',
  'unsupported_media_type',
  'overloaded',
  'not_found',
  'job_not_finished',
  'result_expired',
);

export const priorityOf = (name: 'normal' | 'express' | undefined): Priority =>
  name === 'express' ? Priority.EXPRESS : Priority.NORMAL;

/** `POST /v1/emails` and `POST /v1/users`. */
export function emailRoutes(app: App, deps: RouteDeps): void {
  const { accept, keys, backpressure } = deps;
  const config = { scope: 'jobs:write', limited: true } as const;
  // The priority is in the body: before it is read, only both lanes together can be refused.
  const onRequest = async (): Promise<void> => {
    if (!backpressure.isOpen(laneOf('email', true))) backpressure.check(laneOf('email', false));
  };
  const answer = async (
    request: FastifyRequest,
    reply: FastifyReply,
    makeJob: (context: EmailContext) => NewJob | Promise<NewJob>,
  ): Promise<JobView> => {
    const { account } = request;
    const key = keyOf(request.headers['idempotency-key']);
    const newJob = await makeJob({ account: account.id, trace: traceOf(request), scopes: account.scopes });
    await countItems(deps.access, account, reply, 1 + copiesOf(newJob.work).length, 'mails');
    const counted = { ...accept, countRecipient: recipientCounter(deps.access, reply) };
    const acceptance = await keys.hold(account.id, key, () => acceptJob(counted, newJob, key));
    return answerAccepted(deps, request, reply, acceptance);
  };
  app.post(
    '/v1/emails',
    {
      config,
      onRequest,
      schema: {
        operationId: 'sendEmail',
        summary: 'Send one mail',
        tags: ['jobs'],
        headers: acceptHeaders,
        body: EmailBody,
        response: { ...acceptedResponses, ...emailProblems },
      },
    },
    (request, reply) => {
      const { priority, attachments: asked = [], ...email } = request.body;
      return answer(request, reply, async (context) => {
        const own = await findTemplate(deps.templates, context.account, email.template);
        const attachments = await findAttachments(deps, context.account, asked);
        return newEmailJob({ ...email, own, attachments, priority: priorityOf(priority) }, context);
      });
    },
  );
  app.post(
    '/v1/users',
    {
      config,
      onRequest,
      schema: {
        operationId: 'createUser',
        summary: 'A user, and their welcome mail',
        tags: ['jobs'],
        headers: acceptHeaders,
        body: UserBody,
        response: acceptedResponses,
      },
    },
    (request, reply) => {
      const { priority, ...user } = request.body;
      return answer(request, reply, (context) => newUserJob({ ...user, priority: priorityOf(priority) }, context));
    },
  );
}
