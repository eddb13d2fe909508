import { createHash } from 'node:crypto';
import { create } from '@bufbuild/protobuf';
import {
  attachmentNameProblem,
  isMailAttachmentType,
  MailAttachmentSchema,
  mailAttachmentLimits,
  type MailAttachment,
} from '@sluice/contracts';
import { lifetimes } from '@sluice/messaging';
import type { ObjectStore } from '@sluice/storage';
import { GatewayError, invalidField } from '../../errors.ts';
import { ownJob, type JobPlaces } from '../own-job.ts';
import { resultExpiresMs } from '../result-expiry.ts';

/** A file that a mail is to carry: an upload of the account's, or the PDF of one of its jobs. */
export interface AskedAttachment {
  readonly uploadId?: string | undefined;
  readonly jobId?: string | undefined;
  /** As readers see it. An upload has no name of its own; a PDF is called after its job. */
  readonly fileName?: string | undefined;
}

export interface AttachmentDeps extends JobPlaces {
  readonly store: Pick<ObjectStore, 'head'>;
  readonly now: () => number;
  readonly resultTtlMs: number;
}

export const isUploadId = (text: string): boolean => /^upl_[a-z2-7]{26}$/.test(text);

/** Where the files of an account lie, and no other's. */
export const attachmentFolder = (account: string): string =>
  `attachments/${createHash('sha256').update(account).digest('hex').slice(0, 16)}/`;

/** The account is in the key: another one that learns the id finds nothing there. */
export const attachmentKey = (uploadId: string, account: string): string => `${attachmentFolder(account)}${uploadId}`;

/**
 * Finds the files that a mail is to carry.
 *
 * @throws {GatewayError} `invalid_request`, `not_found`, `job_not_finished`, `result_expired` or `payload_too_large`.
 * @throws {StoreError}
 */
export async function findAttachments(
  deps: AttachmentDeps,
  account: string,
  asked: readonly AskedAttachment[],
): Promise<readonly MailAttachment[]> {
  const { maxFiles, maxBytes } = mailAttachmentLimits;
  if (asked.length > maxFiles) throw invalidField('/attachments', `must be at most ${maxFiles}`);
  const found = await Promise.all(asked.map((each, index) => find(deps, account, each, `/attachments/${index}`)));
  const bytes = found.reduce((sum, { sizeBytes }) => sum + Number(sizeBytes), 0);
  if (bytes > maxBytes) {
    throw new GatewayError(
      'payload_too_large',
      `A mail carries at most ${maxBytes / 1e6} MB of files, and these have ${(bytes / 1e6).toFixed(1)} MB.`,
    );
  }
  return found;
}

async function find(
  deps: AttachmentDeps,
  account: string,
  { uploadId, jobId, fileName }: AskedAttachment,
  pointer: string,
): Promise<MailAttachment> {
  if ((uploadId === undefined) === (jobId === undefined))
    throw invalidField(pointer, 'must name an uploadId or a jobId');
  const key =
    uploadId === undefined ? await keyOfPdf(deps, account, jobId ?? '') : keyOfUpload(account, uploadId, pointer);
  const object = await deps.store.head(key);
  if (
    object === undefined ||
    (uploadId !== undefined && deps.now() - object.modifiedAt.getTime() > lifetimes.attachmentNamed)
  ) {
    throw new GatewayError('not_found', `${pointer}: nothing was uploaded there within the last two days.`);
  }
  const contentType = uploadId === undefined ? 'application/pdf' : object.contentType;
  if (!isMailAttachmentType(contentType)) {
    throw new GatewayError('unsupported_media_type', `${pointer}: ${contentType.slice(0, 100)} is not attached.`);
  }
  const name = fileName ?? (jobId === undefined ? '' : `${jobId}.pdf`);
  const problem = attachmentNameProblem(name, contentType);
  if (problem !== undefined) throw invalidField(`${pointer}/fileName`, problem);
  return create(MailAttachmentSchema, { key, fileName: name, contentType, sizeBytes: BigInt(object.sizeBytes) });
}

function keyOfUpload(account: string, uploadId: string, pointer: string): string {
  if (!isUploadId(uploadId)) throw invalidField(`${pointer}/uploadId`, 'is no id of an upload');
  return attachmentKey(uploadId, account);
}

async function keyOfPdf(deps: AttachmentDeps, account: string, jobId: string): Promise<string> {
  const { job } = await ownJob(deps, account, jobId);
  const result = job.result?.work;
  if (result?.case !== 'image')
    throw new GatewayError('job_not_finished', 'This job has no PDF, or not yet.', { jobId });
  if (resultExpiresMs(job, deps.resultTtlMs) <= deps.now()) {
    throw new GatewayError('result_expired', 'The PDF was deleted: its time is over.', { jobId });
  }
  return result.value.key;
}
