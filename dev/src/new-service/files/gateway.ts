import type { KindNames } from '../names.ts';

/** The rules of the kind and its route. */
export function gatewayFiles({ name, type }: KindNames): Readonly<Record<string, string>> {
  const gateway = 'services/gateway/src';
  return {
    [`${gateway}/jobs/kinds/${name}.ts`]: `import { create } from '@bufbuild/protobuf';
import { channels, Priority, ${type}WorkSchema } from '@sluice/contracts';
import { Type } from 'typebox';
import { step, workId } from '../orchestrator/step.ts';
import type { KindRules } from './kind.ts';

/** Jobs of ${name}. */
export const ${name}Kind: KindRules<'${name}'> = {
  defaultPrice: 1,
  work(job, request) {
    const channel = job.priority === Priority.EXPRESS ? channels.${name}WorkExpress : channels.${name}Work;
    const message = create(${type}WorkSchema, { jobId: job.id, request, account: job.account, replays: job.replays });
    return step(channel, message, workId(job));
  },
  resultFields: {
    text: Type.Optional(Type.String({ description: '${name}: what came of it' })),
  },
  resultView: ({ text }) => ({ text }),
  recipient: () => undefined,
  copies: () => [],
  uploads: () => [],
  hasPdf: false,
};
`,

    [`${gateway}/jobs/accept/${name}-request.ts`]: `import { create } from '@bufbuild/protobuf';
import { Priority, ${type}RequestSchema } from '@sluice/contracts';
import type { NewJob } from './accept-job.ts';
import { callbackUrl } from './callback-url.ts';
import { requestHash } from './request-hash.ts';

/** Work of ${name} as a client asked for it. */
export interface ${type}Input {
  readonly text: string;
  readonly priority?: Priority | undefined;
  readonly callbackUrl?: string | undefined;
}

/**
 * The job that a request asks for.
 *
 * @throws {GatewayError} \`invalid_request\`.
 */
export function new${type}Job(input: ${type}Input, context: Pick<NewJob, 'account' | 'trace'>): NewJob {
  const { text } = input;
  const callback = callbackUrl(input.callbackUrl);
  const priority = input.priority || Priority.NORMAL;
  return {
    ...context,
    priority,
    callbackUrl: callback,
    work: { case: '${name}', value: create(${type}RequestSchema, { text }) },
    requestHash: requestHash({ kind: '${name}', text, priority, callback }),
  };
}
`,

    [`${gateway}/http/routes/${name}.ts`]: `import { Priority } from '@sluice/contracts';
import { Type } from 'typebox';
import { laneOf } from '../../admission/backpressure.ts';
import { acceptJob } from '../../jobs/accept/accept-job.ts';
import { keyOf } from '../../jobs/accept/idempotency.ts';
import { new${type}Job } from '../../jobs/accept/${name}-request.ts';
import { PrioritySchema } from '../../jobs/job-view.ts';
import { answerAccepted } from '../answer.ts';
import { traceOf, type App } from '../app.ts';
import type { RouteDeps } from '../deps.ts';
import { acceptedResponses, acceptHeaders } from './accepted.ts';

const ${type}Body = Type.Object(
  {
    text: Type.String({ minLength: 1, maxLength: 4_096 }),
    priority: Type.Optional(PrioritySchema),
    callbackUrl: Type.Optional(Type.String({ maxLength: 2_048, description: 'Called with the ended job.' })),
  },
  { additionalProperties: false },
);

/** \`POST /v1/${name}\`. */
export function ${name}Routes(app: App, deps: RouteDeps): void {
  const { accept, keys, backpressure } = deps;
  app.post(
    '/v1/${name}',
    {
      config: { scope: 'jobs:write', limited: true },
      onRequest: async () => {
        if (!backpressure.isOpen(laneOf('${name}', true))) backpressure.check(laneOf('${name}', false));
      },
      schema: {
        operationId: 'create${type}Job',
        summary: 'A job of ${name}',
        tags: ['jobs'],
        headers: acceptHeaders,
        body: ${type}Body,
        response: acceptedResponses,
      },
    },
    async (request, reply) => {
      const { account, body } = request;
      const key = keyOf(request.headers['idempotency-key']);
      const priority = body.priority === 'express' ? Priority.EXPRESS : Priority.NORMAL;
      const newJob = new${type}Job({ ...body, priority }, { account: account.id, trace: traceOf(request) });
      const acceptance = await keys.hold(account.id, key, () => acceptJob(accept, newJob, key));
      return answerAccepted(deps, request, reply, acceptance);
    },
  );
}
`,
  };
}
