import type { KindNames } from './names.ts';

/** The files of a new service, by their path: its contract, the service with its test, the gateway's rules and route. */
export function filesOf({ name, type, upper }: KindNames): Readonly<Record<string, string>> {
  const gateway = 'services/gateway/src';
  return {
    [`protos/sluice/v1/${name}.proto`]: `syntax = "proto3";

// ${type}: what the gateway asks of the ${name} service, and what comes back.
package sluice.v1;

import "google/protobuf/timestamp.proto";
import "sluice/v1/failure.proto";

// What a client asks for. Replace the field by those of your request.
message ${type}Request {
  string text = 1;
}

// ${name}.work.run and ${name}.express.run
message ${type}Work {
  string job_id = 1;
  ${type}Request request = 2;
  // The account on whose behalf the work is done.
  string account = 3;
  uint32 replays = 4;
}

// What came of it. Replace the field by those of your result.
message ${type}Result {
  string text = 1;
}

// user.${name}.done
message ${type}Done {
  string job_id = 1;
  oneof outcome {
    ${type}Result succeeded = 2;
    Failure failed = 3;
    Cancelled cancelled = 8;
  }
  google.protobuf.Timestamp finished_at = 4;
  uint32 attempt = 5;
  // The W3C traceparent of the span that did the work, for the link on the way back.
  string traceparent = 6;
  uint32 replays = 7;
}
`,

    [`services/${name}/tsconfig.json`]: `{
  "extends": "../../tsconfig.base.json",
  "include": ["**/*.ts"],
  "exclude": ["**/node_modules", "**/dist"]
}
`,

    [`services/${name}/package.json`]: `{
  "name": "@sluice/${name}",
  "version": "0.1.0",
  "private": true,
  "type": "module",
  "dependencies": {
    "@bufbuild/protobuf": "2.17.0",
    "@sluice/contracts": "workspace:*",
    "@sluice/jobs": "workspace:*",
    "@sluice/messaging": "workspace:*",
    "@sluice/pipeline": "workspace:*",
    "@sluice/service": "workspace:*",
    "@sluice/telemetry": "workspace:*",
    "@sluice/worker": "workspace:*"
  },
  "devDependencies": {
    "@sluice/dev": "workspace:*"
  }
}
`,

    [`services/${name}/README.md`]: `# The ${name} service

Takes work of the kind \`${name}\` from the streams \`${upper}_EXPRESS\` and \`${upper}\`, does it, and publishes the
result on \`user.${name}.done\`. The gateway accepts such jobs at \`POST /v1/${name}\`.

| setting | default | what |
| --- | --- | --- |
| \`CONCURRENCY\` | 16 | jobs in flight |
| \`HANDLER_TIMEOUT_MS\` | 30000 | the longest one run may take |
| \`RETRY_ATTEMPTS\` | 6 | runs before the job fails as \`attempts_exhausted\` |
| \`RETRY_BASE_MS\`, \`RETRY_MAX_MS\` | 500, 30000 | the first and the longest pause between runs |

\`src/run-${name}.ts\` is the work itself: change it, \`protos/sluice/v1/${name}.proto\` and
\`services/gateway/src/jobs/kinds/${name}.ts\` together.
`,

    [`services/${name}/src/main.ts`]: `import { runService } from '@sluice/service';
import { ${name}Fields } from './config.ts';
import { start${type} } from './service.ts';

await runService({ name: '${name}', version: '0.1.0', config: ${name}Fields, start: start${type} });
`,

    [`services/${name}/src/config.ts`]: `import { fields, natsFields } from '@sluice/service';

/** What the ${name} service takes besides the fields of every service. Times end in \`_MS\`. */
export const ${name}Fields = {
  ...natsFields,
  /** Jobs in flight. */
  CONCURRENCY: fields.count.max(500).default(16),
  /** The longest one run may take. */
  HANDLER_TIMEOUT_MS: fields.ms.default(30_000),
  /** Runs before the job fails. */
  RETRY_ATTEMPTS: fields.count.default(6),
  /** The first pause between runs; each further one is longer. */
  RETRY_BASE_MS: fields.ms.default(500),
  /** The longest pause between runs. */
  RETRY_MAX_MS: fields.ms.default(30_000),
};
`,

    [`services/${name}/src/service.ts`]: `import type { ${type}Work } from '@sluice/contracts';
import { jobLog, unlessCancelled, watchCancellations } from '@sluice/jobs';
import type { RunningService, ServiceContext } from '@sluice/service';
import { createWorker } from '@sluice/worker';
import type { ${name}Fields } from './config.ts';
import { reportCancelled, ${name}Pipeline, type ${type}Deps } from './nats/pipeline.ts';

/** Starts the ${name} service. */
export async function start${type}(context: ServiceContext<typeof ${name}Fields>): Promise<RunningService> {
  const { config } = context;
  const worker = await createWorker('${name}', context);
  const cancellations = watchCancellations(worker.bus.port);
  const pipeline = ${name}Pipeline({
    concurrency: config.CONCURRENCY,
    handlerTimeoutMs: config.HANDLER_TIMEOUT_MS,
    retry: { maxAttempts: config.RETRY_ATTEMPTS, baseMs: config.RETRY_BASE_MS, maxMs: config.RETRY_MAX_MS },
    use: [
      unlessCancelled<${type}Work, ${type}Deps>(jobLog(worker.bus), cancellations, {
        report: reportCancelled,
        // The work leaves nothing behind that says it was done. Where yours does, look for it here.
        wasDone: () => Promise.resolve(false),
      }),
    ],
  });
  await worker.host.start(pipeline, { now: () => new Date() });
  return {
    ready: () => worker.host.reasons(),
    async stop() {
      const left = await worker.close();
      cancellations.close();
      return left;
    },
  };
}
`,

    [`services/${name}/src/nats/pipeline.ts`]: `import { create } from '@bufbuild/protobuf';
import { timestampFromDate } from '@bufbuild/protobuf/wkt';
import { CancelledSchema, channels, isSubjectToken, ${type}DoneSchema, type ${type}Done, type ${type}Work } from '@sluice/contracts';
import { decoder, encode, stepId } from '@sluice/messaging';
import { definePipeline, type Context, type Message, type Middleware, type Outcome, type Pipeline } from '@sluice/pipeline';
import type { RetryPolicy } from '@sluice/pipeline';
import { currentTraceparent, withSpan } from '@sluice/telemetry';
import { ${type}Error, run${type} } from '../run-${name}.ts';

/** What a run works with. */
export interface ${type}Deps {
  readonly now: () => Date;
}

export interface ${type}PipelineSettings {
  readonly concurrency: number;
  readonly handlerTimeoutMs: number;
  readonly retry: Pick<RetryPolicy, 'maxAttempts' | 'baseMs' | 'maxMs'>;
  /** Around every run. */
  readonly use?: readonly Middleware<${type}Work, ${type}Deps>[];
}

const decode = decoder(channels.${name}Work);

/** The job id becomes a message id: a message whose id is no plain token was not published by the gateway. */
function decodeWork(bytes: Uint8Array): ${type}Work {
  const message = decode(bytes);
  if (!isSubjectToken(message.jobId)) throw new TypeError('the job id is not a plain token');
  return message;
}

/** Reads the express lane and the normal lane, four to one while both have work. */
export function ${name}Pipeline(settings: ${type}PipelineSettings): Pipeline<${type}Work, ${type}Deps> {
  return definePipeline<${type}Work, ${type}Deps>({
    name: '${name}_worker',
    sources: [
      { stream: '${upper}_EXPRESS', consumer: '${name}_worker', weight: 4 },
      { stream: '${upper}', consumer: '${name}_worker', weight: 1 },
    ],
    decode: decodeWork,
    flow: { concurrency: settings.concurrency },
    timeout: { handlerMs: settings.handlerTimeoutMs },
    retry: { ...settings.retry, jitter: 'equal' },
    use: settings.use ?? [],
    handle,
  });
}

/**
 * Does the work of one job and publishes its result, before the ack and under an id of its own: a repeat is recognised
 * as one. What can never succeed is a result, published once; anything else that is thrown is retried.
 */
async function handle(message: Message<${type}Work>, context: Context<${type}Deps>): Promise<Outcome> {
  const { request } = message.data;
  const done = await withSpan('run ${name}', {}, async () => ({
    outcome: await outcomeOf(request?.text ?? ''),
    traceparent: currentTraceparent() ?? '',
  }));
  return publishResult(message, context, done);
}

/** Publishes that nothing was done, which ends the job as cancelled. */
export const reportCancelled = (message: Message<${type}Work>, context: Context<${type}Deps>): Outcome =>
  publishResult(message, context, {
    outcome: { case: 'cancelled', value: create(CancelledSchema) },
    traceparent: currentTraceparent() ?? '',
  });

function publishResult(
  message: Message<${type}Work>,
  context: Context<${type}Deps>,
  done: Pick<${type}Done, 'outcome' | 'traceparent'>,
): Outcome {
  const { jobId, replays } = message.data;
  const result = create(${type}DoneSchema, {
    jobId,
    replays,
    ...done,
    finishedAt: timestampFromDate(context.deps.now()),
    attempt: message.attempt,
  });
  const channel = channels.${name}Done;
  context.emit(channel.template, encode(channel, result), { id: stepId(jobId, 'done', replays) });
  return { kind: 'ack' };
}

async function outcomeOf(text: string): Promise<${type}Done['outcome']> {
  try {
    return { case: 'succeeded', value: { $typeName: 'sluice.v1.${type}Result', text: await run${type}(text) } };
  } catch (error) {
    if (!(error instanceof ${type}Error)) throw error;
    return { case: 'failed', value: { $typeName: 'sluice.v1.Failure', code: error.code, detail: error.message } };
  }
}
`,

    [`services/${name}/src/run-${name}.ts`]: `/** Work that can never succeed, however often it is repeated: the job fails with this code. */
export class ${type}Error extends Error {
  override readonly name = '${type}Error';
  readonly code: string;
  constructor(code: string, detail: string) {
    super(detail);
    this.code = code;
  }
}

/**
 * The work of one job: the text in capitals. Replace it by yours, and keep it idempotent: after a crash the same job
 * runs again.
 *
 * @throws {${type}Error} when a repeat cannot help.
 */
export async function run${type}(text: string): Promise<string> {
  if (text.trim() === '') throw new ${type}Error('empty_text', 'The text is empty.');
  return Promise.resolve(text.toUpperCase());
}
`,

    [`services/${name}/tests/${name}.test.ts`]: `import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startStack, type Stack } from '@sluice/dev';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';

interface Job {
  readonly id: string;
  readonly kind: string;
  readonly state: string;
  readonly result?: { readonly text?: string };
  readonly error?: { readonly code: string };
}

let directory: string;
let stack: Stack;
beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'sluice-${name}-'));
  stack = await startStack({ dataDirectory: directory, services: ['gateway', '${name}'] });
});
afterAll(async () => {
  await stack?.stop();
  await rm(directory, { recursive: true, force: true });
});

async function post(body: object, headers: Record<string, string> = {}): Promise<{ status: number; job: Job }> {
  const answer = await fetch(\`\${stack.urls.gateway}/v1/${name}\`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...headers },
    body: JSON.stringify(body),
  });
  return { status: answer.status, job: (await answer.json()) as Job };
}
const jobOf = async (id: string): Promise<Job> =>
  (await (await fetch(\`\${stack.urls.gateway}/v1/jobs/\${id}\`)).json()) as Job;

describe('a job of ${name}', () => {
  test('is accepted, done and shown with its result', async () => {
    const { status, job } = await post({ text: 'hello', priority: 'express' });
    expect(status).toBe(202);
    await expect.poll(async () => (await jobOf(job.id)).state).toBe('succeeded');
    expect(await jobOf(job.id)).toMatchObject({ kind: '${name}', result: { text: 'HELLO' } });
  });

  test('asked for twice with one Idempotency-Key is one job', async () => {
    const key = { 'idempotency-key': '"once"' };
    const [first, second] = [await post({ text: 'a' }, key), await post({ text: 'a' }, key)];
    expect(second.job.id).toBe(first.job.id);
    expect((await post({ text: 'b' }, key)).status).toBe(422);
  });

  test('that can never succeed fails with its code, once', async () => {
    const { job } = await post({ text: ' ' });
    await expect.poll(async () => (await jobOf(job.id)).state).toBe('failed');
    expect((await jobOf(job.id)).error?.code).toBe('empty_text');
  });

  test('without a text is refused', async () => {
    expect((await post({})).status).toBe(400);
  });
});
`,

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

    [`o11y/src/dashboards/${name}.ts`]: `import type { Dashboard } from '../dashboard.ts';
import { quantile, rate } from '../promql.ts';

const P = '{pipeline="${name}_worker"}';

export const ${name}: Dashboard = {
  uid: 'sluice-${name}',
  title: 'Sluice / ${type}',
  about: 'Jobs of ${name}: how many, how long they take, what waits and what fails.',
  rows: [
    {
      title: 'Work',
      panels: [
        {
          kind: 'timeseries',
          title: 'Done, by outcome',
          about: 'ack: done. retry: comes back. deadLetter: given up.',
          unit: 'ops',
          queries: [{ expr: rate('pipeline_messages_settled_total', 'as', P), legend: '{{as}}' }],
        },
        {
          kind: 'timeseries',
          title: 'Handler time, p95',
          about: 'One run. Grows when what the service calls is slow.',
          unit: 's',
          queries: [
            {
              expr: quantile(0.95, 'messaging_process_duration_seconds', 'pipeline', P),
              legend: '{{pipeline}}',
              exemplars: true,
            },
          ],
        },
        {
          kind: 'timeseries',
          title: 'Waiting, by lane',
          about: 'Messages of both lanes. Grows without end: add replicas.',
          unit: 'short',
          queries: [
            {
              expr: 'max by (stream) (jetstream_stream_messages{stream=~"${upper}|${upper}_EXPRESS"})',
              legend: '{{stream}}',
            },
          ],
        },
      ],
    },
  ],
};
`,
  };
}
