import { Readable } from 'node:stream';
import { StoreError } from '@sluice/storage';
import { Type } from 'typebox';
import { GatewayError } from '../../errors.ts';
import { ownJob } from '../../jobs/own-job.ts';
import { JobRequestView, requestView } from '../../jobs/request-view.ts';
import type { App } from '../app.ts';
import type { RouteDeps } from '../deps.ts';
import { problemResponses } from '../problem.ts';

const tags = ['jobs'];
const config = { scope: 'jobs:read' } as const;

/** What a job was asked for with, and its pictures: to look at, to change and to send again. */
export function jobRequestRoutes(app: App, { store, ...places }: Pick<RouteDeps, 'jobs' | 'history' | 'store'>): void {
  app.addSchema(JobRequestView);
  app.get(
    '/v1/jobs/:id/request',
    {
      config,
      schema: {
        operationId: 'getJobRequest',
        summary: 'What the client asked for; sent again, it makes the same job',
        tags,
        params: Type.Object({ id: Type.String({ maxLength: 64 }) }),
        response: {
          200: { description: 'The request.', content: { 'application/json': { schema: Type.Ref('JobRequest') } } },
          ...problemResponses('not_found'),
        },
      },
    },
    async (request) => {
      const { job, forgotten } = await ownJob(places, request.account.id, request.params.id);
      if (forgotten) throw requestForgotten(job.id);
      const view = requestView(job);
      if (view === undefined) throw new GatewayError('not_found', 'This job is of a kind that is not known here.');
      return view;
    },
  );
  app.get(
    '/v1/jobs/:id/sources/:index',
    {
      config,
      schema: {
        operationId: 'getJobSource',
        summary: 'A picture that the job was sent with, counted from 0',
        description: 'As long as the system keeps it: at least until the job has ended, and for an hour after it came.',
        tags,
        params: Type.Object({
          id: Type.String({ maxLength: 64 }),
          index: Type.Integer({ minimum: 0, maximum: 1_000 }),
        }),
        response: {
          200: {
            description: 'The bytes.',
            content: {
              'application/octet-stream': { schema: Type.Unsafe<Readable>(Type.String({ format: 'binary' })) },
            },
          },
          ...problemResponses('not_found', 'result_expired'),
        },
      },
    },
    async (request, reply) => {
      const { job, forgotten } = await ownJob(places, request.account.id, request.params.id);
      if (forgotten) throw requestForgotten(job.id);
      // The later events of a job lack the pictures that came inside of its request.
      const work = ((await places.jobs.request(job)) ?? job.request)?.work;
      const from = work?.case === 'image' ? work.value.sources[request.params.index]?.from : undefined;
      // Never shown as a page of this origin: the bytes are the client's.
      reply
        .type('application/octet-stream')
        .header('content-disposition', 'attachment')
        .header('cache-control', 'no-store');
      if (from?.case === 'content') return reply.send(Readable.from([from.value]));
      if (from?.case !== 'key') throw new GatewayError('not_found', 'The job was sent with no such picture.');
      try {
        const { body, sizeBytes } = await store.get(from.value);
        request.raw.once('close', () => body.destroy());
        return reply.header('content-length', sizeBytes).send(body);
      } catch (error) {
        if (error instanceof StoreError && error.code === 'not_found') {
          throw new GatewayError('result_expired', 'The picture was deleted: send it again.', { jobId: job.id });
        }
        throw error;
      }
    },
  );
}

const requestForgotten = (jobId: string): GatewayError =>
  new GatewayError('not_found', 'What the job was asked for is not kept any more; how it ended is.', { jobId });
