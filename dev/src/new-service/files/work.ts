import type { KindNames } from '../names.ts';

/** The work itself: its pipeline, what one run does, and the test of both. */
export function workFiles({ name, type, upper }: KindNames): Readonly<Record<string, string>> {
  return {
    [`services/${name}/src/nats/pipeline.ts`]: `import { create } from '@bufbuild/protobuf';
import { timestampFromDate } from '@bufbuild/protobuf/wkt';
import { CancelledSchema, channels, isSubjectToken, ${type}DoneSchema, type ${type}Done, type ${type}Work } from '@sluice/contracts';
import { decoder, encode, stepId } from '@sluice/messaging';
import { definePipeline, type Context, type Message, type Middleware, type Outcome, type Pipeline } from '@sluice/pipeline';
import { engineOptions, type PipelineTuning } from '@sluice/service';
import { currentTraceparent, withSpan } from '@sluice/telemetry';
import { ${type}Error, run${type} } from '../run-${name}.ts';

/** What a run works with. */
export interface ${type}Deps {
  readonly now: () => Date;
}

export interface ${type}PipelineSettings extends PipelineTuning {
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
  const { retry, ...options } = engineOptions(settings);
  return definePipeline<${type}Work, ${type}Deps>({
    name: '${name}_worker',
    sources: [
      { stream: '${upper}_EXPRESS', consumer: '${name}_worker', weight: 4 },
      { stream: '${upper}', consumer: '${name}_worker', weight: 1 },
    ],
    decode: decodeWork,
    ...options,
    retry: { ...retry, jitter: 'equal' },
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
  };
}
