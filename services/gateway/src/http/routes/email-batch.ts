import type { JsonObject } from '@bufbuild/protobuf';
import { Type } from 'typebox';
import { laneOf } from '../../admission/backpressure.ts';
import { countItems, noHeaders, recipientCounter, refuseTooMany } from '../../accounts/access.ts';
import { GatewayError } from '../../errors.ts';
import { acceptBatch, type BatchItem } from '../../jobs/accept/accept-batch.ts';
import { newEmailJob } from '../../jobs/accept/email-request.ts';
import { findTemplate } from '../../jobs/accept/find-template.ts';
import { findAttachments } from '../../jobs/accept/mail-attachments.ts';
import { keyOf } from '../../jobs/accept/idempotency.ts';
import { traceOf, type App } from '../app.ts';
import type { RouteDeps } from '../deps.ts';
import { statusOf } from '../problem.ts';
import { acceptHeaders } from './accepted.ts';
import { EmailBody, emailProblems, priorityOf } from './emails.ts';

const MAX_RECIPIENTS = 1_000;
/** Some 2 KiB of variables a recipient. */
const BODY_BYTES = 2 * 1024 * 1024;

const { to, cc, bcc, variables, ...shared } = EmailBody.properties;
const BatchBody = Type.Object(
  {
    ...shared,
    cc,
    bcc,
    variables,
    recipients: Type.Array(
      Type.Object(
        {
          to,
          cc,
          bcc,
          variables: Type.Optional(
            Type.Unsafe<JsonObject>(
              Type.Object({}, { additionalProperties: true, description: 'Over those of all, one by one.' }),
            ),
          ),
        },
        { additionalProperties: false },
      ),
      { minItems: 1, maxItems: MAX_RECIPIENTS, description: 'Each gets a mail and a job of its own.' },
    ),
  },
  { additionalProperties: false },
);

const BatchAnswer = Type.Object(
  {
    accepted: Type.Integer({ description: 'Mails that have a job.' }),
    refused: Type.Integer({ description: 'Mails that have none.' }),
    emails: Type.Array(
      Type.Object(
        {
          jobId: Type.Optional(Type.String({ description: 'The job of this mail.' })),
          problem: Type.Optional(
            Type.Object(
              {
                code: Type.String({ description: 'As in an error answer.' }),
                status: Type.Integer({ description: 'What the same mail alone would be answered with.' }),
                detail: Type.String(),
              },
              { description: 'Why there is no job.', additionalProperties: false },
            ),
          ),
        },
        { additionalProperties: false },
      ),
      { description: 'One entry per recipient, in the order of the request.' },
    ),
  },
  { additionalProperties: false },
);

/** `POST /v1/emails:batch`: one mail to many, a job each. */
export function emailBatchRoute(app: App, deps: RouteDeps): void {
  const { accept, keys, backpressure } = deps;
  app.post(
    '/v1/emails::batch',
    {
      config: { scope: 'jobs:write', limited: true },
      bodyLimit: BODY_BYTES,
      onRequest: async () => {
        if (!backpressure.isOpen(laneOf('email', true))) backpressure.check(laneOf('email', false));
      },
      preValidation: (request, _reply, done) => {
        const { recipients } = (request.body ?? {}) as { readonly recipients?: unknown };
        if (Array.isArray(recipients)) refuseTooMany(deps.access, recipients.length, 'mails');
        done();
      },
      schema: {
        operationId: 'sendEmailBatch',
        summary: `Send one mail to up to ${MAX_RECIPIENTS.toLocaleString('en')} recipients, with a job for each`,
        description:
          'A recipient that is refused leaves the others alone: the answer says for each, in order, its job or why it has none. When all are refused, the answer is the problem of the first. With an `Idempotency-Key` a repeat of the same request meets the jobs of the first, and tries the refused ones again. Each recipient counts as one request against the rate limits.',
        tags: ['jobs'],
        headers: Type.Object({ 'idempotency-key': acceptHeaders.properties['idempotency-key'] }),
        body: BatchBody,
        response: {
          202: { ...BatchAnswer, description: 'At least one mail is accepted: stored, and certain to end.' },
          ...emailProblems,
        },
      },
    },
    async (request, reply) => {
      const { account } = request;
      const {
        recipients,
        cc = [],
        bcc = [],
        variables: forAll,
        priority,
        attachments: asked = [],
        ...mail
      } = request.body;
      const key = keyOf(request.headers['idempotency-key']);
      // Each with its own copies, or those of all.
      const mails = recipients.map((recipient) => ({
        ...recipient,
        cc: recipient.cc ?? cc,
        bcc: recipient.bcc ?? bcc,
      }));
      const count = mails.reduce((sum, each) => sum + 1 + each.cc.length + each.bcc.length, 0);
      await countItems(deps.access, account, reply, count, 'mails');
      const context = { account: account.id, trace: traceOf(request), scopes: account.scopes };
      const own = await findTemplate(deps.templates, account.id, mail.template);
      const attachments = await findAttachments(deps, account.id, asked);
      const items = mails.map((recipient): BatchItem => {
        const filled = { ...forAll, ...recipient.variables };
        const input = {
          ...mail,
          own,
          attachments,
          to: recipient.to,
          cc: recipient.cc,
          bcc: recipient.bcc,
          variables: filled,
          priority: priorityOf(priority),
        };
        try {
          return newEmailJob(input, context);
        } catch (error) {
          if (error instanceof GatewayError) return error;
          throw error;
        }
      });
      const counted = { ...accept, countRecipient: recipientCounter(deps.access, noHeaders) };
      const ends = await keys.hold(account.id, key, () => acceptBatch(counted, account.id, items, key));
      const [first] = ends;
      const accepted = ends.filter((end) => !(end instanceof GatewayError)).length;
      if (accepted === 0 && first instanceof GatewayError) throw first;
      reply.code(202);
      return {
        accepted,
        refused: ends.length - accepted,
        emails: ends.map((end) =>
          end instanceof GatewayError
            ? { problem: { code: end.code, status: statusOf(end), detail: end.message } }
            : { jobId: end.job.id },
        ),
      };
    },
  );
}
