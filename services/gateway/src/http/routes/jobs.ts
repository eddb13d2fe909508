import type { Readable } from 'node:stream';
import { JobState } from '@sluice/contracts';
import { isTerminal, requestCancel } from '@sluice/jobs';
import type { FastifyRequest } from 'fastify';
import { Type } from 'typebox';
import { lastSaid, ownJob, progressOfJob, type FoundJob } from '../../jobs/own-job.ts';
import { waitingFor, type WaitingDeps } from '../../jobs/waiting-for.ts';
import type { App } from '../app.ts';
import type { RouteDeps } from '../deps.ts';
import { conditionalHeaders, notModified, unlessKnown } from '../conditional.ts';
import { jobView, progressOf } from '../../jobs/job-view.ts';
import { GatewayError } from '../../errors.ts';
import { problemResponses } from '../problem.ts';
import { knownEntries, TimelineEntrySchema } from '../../jobs/timeline/entry.ts';
import { cursorOf, hasMore, jobEventStream } from '../../jobs/timeline/event-stream.ts';
import { resultExpiresMs } from '../../jobs/result-expiry.ts';
import { jobTimeline } from '../../jobs/timeline/timeline.ts';
import { deliveryOf } from '../../webhooks/delivery.ts';

const JobPath = Type.Object({ id: Type.String({ maxLength: 64, description: 'The id of a job.' }) });
const PDF_LINK_MS = 5 * 60_000;
const tags = ['jobs'];

const PdfQuery = Type.Object(
  {
    fileName: Type.Optional(
      Type.String({
        minLength: 1,
        maxLength: 200,
        description: 'What browsers save it as; the id of the job otherwise.',
      }),
    ),
    inline: Type.Optional(
      Type.Boolean({ description: 'The PDF itself instead of a redirect, to be shown in a page of this origin.' }),
    ),
  },
  { additionalProperties: false },
);

const pdfName = (name: string): string => (/\.pdf$/i.test(name) ? name : `${name}.pdf`);

/** Everything about one job: state, timeline, live stream, result, cancellation. */
export function jobRoutes(app: App, deps: RouteDeps & WaitingDeps): void {
  app.addSchema(TimelineEntrySchema);
  const { jobs, bus, store, now, resultTtlMs } = deps;

  const own = (
    request: FastifyRequest<{ Params: { id: string } }>,
    from: 'any' | 'leader' = 'any',
  ): Promise<FoundJob> => ownJob(deps, request.account.id, request.params.id, from);

  app.get(
    '/v1/jobs/:id',
    {
      config: { scope: 'jobs:read' },
      schema: {
        operationId: 'getJob',
        summary: 'A job as it stands',
        description:
          'As long as it can be in lists. A week after its end only these words about it are left: not its request, its events or its PDF.',
        tags,
        params: JobPath,
        headers: conditionalHeaders,
        response: {
          200: { description: 'The job.', content: { 'application/json': { schema: Type.Ref('Job') } } },
          ...notModified,
          ...problemResponses('not_found'),
        },
      },
    },
    async (request, reply) => {
      const { job } = await own(request);
      if (isTerminal(job.state)) {
        return unlessKnown(request, reply, jobView(job, undefined, await deliveryOf(bus, job)));
      }
      const said = await lastSaid(bus, job);
      const waiting = await waitingFor(deps, job, said);
      const view = jobView(job, said === undefined ? undefined : progressOf(said.data, said.storedAt.getTime()));
      return unlessKnown(request, reply, waiting === undefined ? view : { ...view, waitingFor: waiting });
    },
  );

  app.get(
    '/v1/jobs/:id/events',
    {
      config: { scope: 'jobs:read' },
      schema: {
        operationId: 'getJobEvents',
        summary: 'What happened to a job, oldest first',
        description: 'Of a job whose events are not kept any more: when it was accepted, and how it ended.',
        tags,
        params: JobPath,
        headers: conditionalHeaders,
        response: {
          ...notModified,
          200: Type.Object({ events: Type.Array(Type.Ref('TimelineEntry')) }, { description: 'The timeline.' }),
          ...problemResponses('not_found'),
        },
      },
    },
    async (request, reply) => {
      const { job, forgotten } = await own(request);
      const events = (await jobTimeline(deps, job.id)).map((stored) => stored.entry);
      if (forgotten) {
        events.push(...knownEntries(job));
        events.sort((a, b) => Date.parse(a.at) - Date.parse(b.at));
      }
      return unlessKnown(request, reply, { events });
    },
  );

  app.get(
    '/v1/jobs/:id/stream',
    {
      config: { scope: 'jobs:read' },
      // Asked for its head alone, a stream would be opened and never read until its job has ended.
      exposeHeadRoute: false,
      schema: {
        operationId: 'streamJob',
        summary: 'What happens to a job, live, as server-sent events',
        description:
          'Events named `state` and `lifecycle`, each a timeline entry. Ends after the state that ends the job.',
        tags,
        params: JobPath,
        headers: Type.Object({
          'last-event-id': Type.Optional(Type.String({ maxLength: 64, description: 'Resume behind this event.' })),
        }),
        response: {
          200: {
            description: 'The stream.',
            content: { 'text/event-stream': { schema: Type.Unsafe<Readable>(Type.String()) } },
          },
          204: {
            description:
              'The job has ended and nothing is after `Last-Event-ID`, or its events are not kept any more: there is nothing to come back for.',
          },
          ...problemResponses('not_found', 'rate_limited', 'overloaded'),
        },
      },
    },
    async (request, reply) => {
      const { job, forgotten } = await own(request);
      const cursor = cursorOf(request.headers['last-event-id']);
      // An EventSource comes back whenever a stream ends, for ever, unless it is told that this was all.
      const isOver = isTerminal(job.state) && cursor.jobs > 0 && !(await hasMore(deps, job.id, cursor));
      if (isOver || forgotten) {
        return reply.code(204).send();
      }
      const release = deps.streams.open(request.account.id);
      const stream = jobEventStream(deps, job.id, cursor).once('close', release);
      return reply
        .type('text/event-stream')
        .header('cache-control', 'no-store')
        .header('x-accel-buffering', 'no')
        .send(stream);
    },
  );

  app.get(
    '/v1/jobs/:id/pdf',
    {
      config: { scope: 'jobs:read' },
      schema: {
        operationId: 'getJobPdf',
        summary: 'Where the PDF of an image job can be fetched for the next five minutes, or the PDF',
        tags,
        params: JobPath,
        querystring: PdfQuery,
        response: {
          200: {
            description: 'The PDF, for `inline`.',
            content: { 'application/pdf': { schema: Type.Unsafe<Readable>(Type.String({ format: 'binary' })) } },
          },
          302: {
            description: 'A short-lived URL of the PDF.',
            headers: { Location: { type: 'string', description: 'Good for five minutes.' } },
          },
          ...problemResponses(
            'not_found',
            'job_not_finished',
            'job_failed',
            'corrupt_image',
            'unsupported_image',
            'result_expired',
          ),
        },
      },
    },
    async (request, reply) => {
      const { job } = await own(request);
      const work = job.result?.work;
      if (work?.case !== 'image') {
        if (job.error !== undefined) {
          const { code: reason } = job.error;
          const code = reason === 'corrupt_image' || reason === 'unsupported_image' ? reason : 'job_failed';
          throw new GatewayError(code, `${job.error.code}: ${job.error.detail}`, { jobId: job.id });
        }
        if (isTerminal(job.state)) throw new GatewayError('not_found', 'This job has no PDF.', { jobId: job.id });
        throw new GatewayError('job_not_finished', 'The PDF is not there yet.', {
          jobId: job.id,
          retryAfterSeconds: 1,
        });
      }
      const leftMs = resultExpiresMs(job, resultTtlMs) - now();
      if (leftMs <= 0)
        throw new GatewayError('result_expired', 'The PDF was deleted: its time is over.', { jobId: job.id });
      if (request.query.inline === true) {
        const { body, sizeBytes } = await store.get(work.value.key);
        request.raw.once('close', () => body.destroy());
        return reply
          .type('application/pdf')
          .header('content-length', sizeBytes)
          .header('content-disposition', 'inline')
          .header('cache-control', 'private, max-age=300')
          .send(body);
      }
      // Whole seconds, which is what a signed URL can say.
      const goodForMs = Math.max(1_000, Math.min(PDF_LINK_MS, leftMs));
      const url = await store.presignGet(work.value.key, goodForMs, pdfName(request.query.fileName ?? job.id));
      return reply.header('cache-control', 'no-store').redirect(url, 302);
    },
  );

  app.delete(
    '/v1/jobs/:id',
    {
      config: { scope: 'jobs:write' },
      schema: {
        operationId: 'cancelJob',
        summary: 'Ask to cancel a job that has not ended',
        description:
          'A request: the job ends as `cancelled` if its worker had done nothing by then, and is paid back. Otherwise it ends as it ended. Asking again changes nothing.',
        tags,
        params: JobPath,
        response: {
          202: {
            description: 'The job, with `cancelRequested`, or already cancelled.',
            content: { 'application/json': { schema: Type.Ref('Job') } },
          },
          ...problemResponses('not_found', 'job_finished'),
        },
      },
    },
    async (request, reply) => {
      const { id } = (await own(request, 'leader')).job;
      const asked = await jobs.transition(id, requestCancel);
      // A repeat, because the first answer was lost, finds the request recorded or already granted.
      const stands = asked?.moved === true || asked?.job.state === JobState.CANCELLED;
      if (asked === undefined || !(stands || (asked.job.cancelRequested && !isTerminal(asked.job.state)))) {
        throw new GatewayError('job_finished', 'The job has ended; there is nothing to cancel.', { jobId: id });
      }
      reply.code(202);
      return jobView(asked.job, await progressOfJob(bus, asked.job));
    },
  );
}
