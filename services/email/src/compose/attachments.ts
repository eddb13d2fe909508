import { buffer } from 'node:stream/consumers';
import {
  attachmentNameProblem,
  isMailAttachmentType,
  mailAttachmentLimits,
  type MailAttachment,
} from '@sluice/contracts';
import { StoreError, type ObjectStore } from '@sluice/storage';
import type { MailInput } from './compose-mail.ts';
import type { MimeAttachment } from './mime.ts';

/** What a mail is to carry is not there, and will not be. */
export class AttachmentError extends Error {
  override readonly name = 'AttachmentError';
  readonly code = 'attachment_missing';
}

/** Puts files of the object store into mails. */
export interface Attachments {
  /**
   * Puts the finished PDF into an `image-ready` mail: as a link, and as an attachment when asked for and small.
   *
   * @throws {AttachmentError} when there is no such object; {@link StoreError} when the store does not answer.
   */
  addPdf(input: MailInput, key: string, signal: AbortSignal): Promise<MailInput>;
  /**
   * Adds the files that a request names.
   *
   * @throws {AttachmentError} when one is not there or they are too many; {@link StoreError} when the store does not answer.
   */
  addFiles(input: MailInput, files: readonly MailAttachment[], signal: AbortSignal): Promise<MailInput>;
}

export interface AttachmentSettings {
  /** Undefined when the service was given no store: mails with a file then fail. */
  readonly store: ObjectStore | undefined;
  /** How long the link of a mail works. At most 7 days, the limit of a presigned URL. */
  readonly linkTtlMs: number;
  /** Attached only up to this size: providers refuse large mails. */
  readonly attachMaxBytes: number;
  readonly now?: () => number;
}

/** Keys that may be mailed. Uploads of others, or anything else in the bucket, may not. */
const MAILABLE = /^pdf\/[\w-]+\.pdf$/;
/** The same, and what accounts uploaded for their mails. */
const ATTACHABLE = /^(?:pdf\/[\w-]+\.pdf|attachments\/[0-9a-f]{16}\/upl_[a-z2-7]{26})$/;

export function createAttachments({
  store,
  linkTtlMs,
  attachMaxBytes,
  now = Date.now,
}: AttachmentSettings): Attachments {
  return {
    async addPdf(input, key, signal) {
      if (store === undefined || !MAILABLE.test(key)) throw new AttachmentError('there is no such document');
      const found = await store.head(key);
      if (found === undefined) throw new AttachmentError('the file is gone');
      const { attach, pages, ...given } = input.variables;
      const attached = attach === true && found.sizeBytes <= attachMaxBytes;
      const expires = new Date(now() + linkTtlMs);
      const variables = {
        jobId: input.jobId,
        ...given,
        link: await store.presignGet(key, linkTtlMs, fileName(key)),
        facts: [pagesOf(pages), sizeOf(found.sizeBytes)].filter((fact) => fact !== '').join(', '),
        expires: `${expiryFormat.format(expires)} UTC`,
        attached,
      };
      if (!attached) return { ...input, variables };
      const content = await read(store, key, signal);
      return {
        ...input,
        variables,
        attachments: [{ fileName: fileName(key), contentType: 'application/pdf', content }],
      };
    },
    async addFiles(input, files, signal) {
      if (files.length === 0) return input;
      const bytes = files.reduce((sum, { sizeBytes }) => sum + Number(sizeBytes), 0);
      const known = files.every(({ key, fileName, contentType }) => {
        if (!ATTACHABLE.test(key) || !isMailAttachmentType(contentType)) return false;
        return attachmentNameProblem(fileName, contentType) === undefined;
      });
      if (store === undefined || !known) throw new AttachmentError('there is no such file');
      if (files.length > mailAttachmentLimits.maxFiles || bytes > mailAttachmentLimits.maxBytes) {
        throw new AttachmentError('the files are too many or too large');
      }
      const added: MimeAttachment[] = [];
      for (const { key, fileName, contentType } of files) {
        added.push({ fileName, contentType, content: await read(store, key, signal) });
      }
      return { ...input, attachments: [...(input.attachments ?? []), ...added] };
    },
  };
}

async function read(store: ObjectStore, key: string, signal: AbortSignal): Promise<Buffer> {
  try {
    const { body } = await store.get(key, signal);
    return await buffer(body);
  } catch (error) {
    if (error instanceof StoreError && error.code === 'not_found') throw new AttachmentError('the file is gone');
    throw error;
  }
}

/** `22 Nov 2026, 14:30 UTC`: read the same everywhere. */
const expiryFormat = new Intl.DateTimeFormat('en-GB', {
  dateStyle: 'medium',
  timeStyle: 'short',
  timeZone: 'UTC',
});

const fileName = (key: string): string => key.slice(key.lastIndexOf('/') + 1);

function pagesOf(pages: unknown): string {
  return typeof pages === 'number' && pages > 0 ? `${pages} ${pages === 1 ? 'page' : 'pages'}` : '';
}

function sizeOf(bytes: number): string {
  return bytes < 1_000_000 ? `${Math.max(1, Math.round(bytes / 1_000))} KB` : `${(bytes / 1_000_000).toFixed(1)} MB`;
}
