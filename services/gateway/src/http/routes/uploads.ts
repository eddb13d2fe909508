import { create } from '@bufbuild/protobuf';
import { createHash } from 'node:crypto';
import {
  ImageSourceSchema,
  imageMediaTypes,
  mailAttachmentLimits,
  mailAttachmentTypes,
  type ImageMediaType,
  type MailAttachmentType,
} from '@sluice/contracts';
import { newJobId } from '@sluice/jobs';
import { Type } from 'typebox';
import { acceptJob } from '../../jobs/accept/accept-job.ts';
import { admitId } from '../../jobs/accept/idempotency.ts';
import { attachmentKey, isUploadId } from '../../jobs/accept/mail-attachments.ts';
import { recipientCounter } from '../../accounts/access.ts';
import { answerAccepted } from '../answer.ts';
import { traceOf, type App } from '../app.ts';
import type { RouteDeps } from '../deps.ts';
import { DateTime } from '../../jobs/job-view.ts';
import { inMib } from '../../uploads/sizes.ts';
import { GatewayError, invalidField } from '../../errors.ts';
import { problemResponses } from '../problem.ts';
import { UPLOAD_MS } from '../../uploads/attachment-storage.ts';
import { storedSource } from '../../uploads/stored-source.ts';
import { laneOf } from '../../admission/backpressure.ts';
import { acceptedResponses } from './accepted.ts';
import { imageBodyFields, newJobOf } from './images.ts';

const imageTypes: readonly string[] = Object.values(imageMediaTypes);

/** The job that an upload is for. Each upload makes one job, so repeating the request meets it. */
const jobOf = (uploadId: string): string => uploadId.replace(/^upl_/, 'job_');

/** The account is in the key: another one that learns the id finds nothing there. */
function keyOf(uploadId: string, account: string): string {
  const owner = createHash('sha256').update(account).digest('hex').slice(0, 16);
  return `uploads/${jobOf(uploadId)}/${owner}-0`;
}

/** Direct uploads: the client puts the bytes into the store itself. */
export function uploadRoutes(app: App, deps: RouteDeps): void {
  const { store, attachmentStorage, jobs, limits, now, backpressure, log } = deps;
  const { maxBytes } = mailAttachmentLimits;
  const taken: Readonly<Record<'image' | 'attachment', { maxBytes: number; types: readonly string[]; limit: string }>> =
    {
      image: {
        maxBytes: limits.maxBytes,
        types: imageTypes,
        limit: `A request may carry ${inMib(limits.maxBytes)} of images.`,
      },
      attachment: {
        maxBytes,
        types: Object.keys(mailAttachmentTypes),
        limit: `A mail carries at most ${maxBytes / 1e6} MB of files.`,
      },
    };
  app.post(
    '/v1/uploads',
    {
      config: { scope: 'jobs:write', limited: true },
      schema: {
        operationId: 'createUpload',
        summary: 'A short-lived URL that takes exactly one image, or one file for mails',
        description:
          'PUT the bytes to `url` with `headers`. Then `POST /v1/images:fromUpload`: what is not used within the hour is deleted. Or, with `use: attachment`, name the upload in the `attachments` of mails, any number of them within two days.',
        tags: ['jobs'],
        body: Type.Object(
          {
            use: Type.Optional(
              Type.Unsafe<'image' | 'attachment'>(
                Type.String({ enum: ['image', 'attachment'], description: '`image`, unless said otherwise.' }),
              ),
            ),
            contentType: Type.Unsafe<ImageMediaType | MailAttachmentType>(
              Type.String({ enum: [...new Set([...imageTypes, ...Object.keys(mailAttachmentTypes)])] }),
            ),
            sizeBytes: Type.Integer({
              minimum: 1,
              maximum: Number.MAX_SAFE_INTEGER,
              description: 'Exactly as many are taken.',
            }),
          },
          { additionalProperties: false },
        ),
        response: {
          201: Type.Object(
            {
              uploadId: Type.String(),
              url: Type.String(),
              headers: Type.Record(Type.String(), Type.String()),
              expiresAt: DateTime,
            },
            { description: 'Where to put it.' },
          ),
          ...problemResponses('payload_too_large', 'unsupported_media_type', 'storage_quota_exceeded'),
        },
      },
    },
    async (request, reply) => {
      const { use = 'image', contentType, sizeBytes } = request.body;
      const { maxBytes, types, limit } = taken[use];
      if (!types.includes(contentType)) throw invalidField('/contentType', `must be one of ${types.join(', ')}`);
      if (sizeBytes > maxBytes) throw new GatewayError('payload_too_large', limit);
      const uploadId = newJobId().replace(/^job_/, 'upl_');
      const { id } = request.account;
      const key = use === 'image' ? keyOf(uploadId, id) : attachmentKey(uploadId, id);
      if (use === 'attachment') await attachmentStorage.reserve(id, uploadId, sizeBytes);
      const url = await store.presignPut(key, UPLOAD_MS, contentType, sizeBytes);
      reply.code(201).header('cache-control', 'no-store');
      return {
        uploadId,
        url,
        headers: { 'content-type': contentType, 'content-length': String(sizeBytes) },
        expiresAt: new Date(now() + UPLOAD_MS).toISOString(),
      };
    },
  );

  app.delete(
    '/v1/uploads/:id',
    {
      config: { scope: 'jobs:write', limited: true },
      schema: {
        operationId: 'deleteUpload',
        summary: 'Deletes a file for mails before its time',
        description: 'Mails that name it and have not been sent yet fail with `attachment_missing`.',
        tags: ['jobs'],
        params: Type.Object({ id: Type.String({ maxLength: 64 }) }),
        response: {
          204: Type.Null({ description: 'It is gone.' }),
          ...problemResponses('not_found'),
        },
      },
    },
    async (request, reply) => {
      const { id } = request.params;
      if (!isUploadId(id)) throw invalidField('/id', 'is no id of an upload');
      const key = attachmentKey(id, request.account.id);
      if ((await store.head(key)) === undefined) {
        throw new GatewayError('not_found', 'There is no such file for mails.');
      }
      await store.delete(key);
      return reply.code(204).send(null);
    },
  );

  app.post(
    '/v1/images::fromUpload',
    {
      config: { scope: 'jobs:write', limited: true },
      schema: {
        operationId: 'convertUpload',
        summary: 'The PDF of an image that was uploaded directly',
        tags: ['jobs'],
        body: Type.Object(
          { uploadId: Type.String({ maxLength: 64 }), ...imageBodyFields },
          { additionalProperties: false },
        ),
        response: {
          ...acceptedResponses,
          ...problemResponses(
            'not_found',
            'payload_too_large',
            'unsupported_media_type',
            'corrupt_image',
            'image_too_large',
            'idempotency_key_reused',
            'insufficient_credits',
            'overloaded',
          ),
        },
      },
    },
    async (request, reply) => {
      const { uploadId, ...options } = request.body;
      if (!isUploadId(uploadId)) throw invalidField('/uploadId', 'is no id of an upload');
      backpressure.check(laneOf('image', options.priority === 'express'));
      const jobId = jobOf(uploadId);
      const key = keyOf(uploadId, request.account.id);
      const admission = await admitId(jobs, request.account.id, jobId, now(), deps.accept.keyDays);
      // Once its job has run, the upload itself is gone.
      const source = admission.existing?.job.account === request.account.id ? repeated(key) : await judged(key);
      const newJob = newJobOf(options, [source], { account: request.account.id, trace: traceOf(request) });
      const counted = { ...deps.accept, countRecipient: recipientCounter(deps.access, reply) };
      const acceptance = await acceptJob(counted, newJob, admission);
      return answerAccepted(deps, request, reply, acceptance);
    },
  );

  /** An upload that is refused is deleted: it will be refused again, and no other account may name it. */
  const judged = async (key: string): Promise<Awaited<ReturnType<typeof storedSource>>> => {
    try {
      return await storedSource(store, key, limits);
    } catch (error) {
      if (error instanceof GatewayError && error.isCallerFault && error.code !== 'not_found') {
        // The upload cleanup finds what stays.
        await store.delete(key).catch((cause: unknown) => log.warn({ err: cause }, 'an upload could not be deleted'));
      }
      throw error;
    }
  };

  const repeated = (key: string): Awaited<ReturnType<typeof storedSource>> => ({
    sha256: `key:${key}`,
    source: create(ImageSourceSchema, { from: { case: 'key', value: key } }),
  });
}
