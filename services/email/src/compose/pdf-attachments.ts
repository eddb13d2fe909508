import { buffer } from 'node:stream/consumers';
import { StoreError, type ObjectStore } from '@sluice/storage';
import type { MailInput } from './compose-mail.ts';

/** The document a mail speaks of is not there, and will not be. */
export class AttachmentError extends Error {
  override readonly name = 'AttachmentError';
  readonly code = 'attachment_missing';
}

/** Puts the finished PDF into an `image-ready` mail: as a link, and as an attachment when asked for and small. */
export interface PdfAttachments {
  /** @throws {AttachmentError} when there is no such object; {@link StoreError} when the store does not answer. */
  addTo(input: MailInput, key: string, signal: AbortSignal): Promise<MailInput>;
}

export interface PdfAttachmentSettings {
  /** Undefined when the service was given no store: mails with a PDF then fail. */
  readonly store: ObjectStore | undefined;
  /** How long the link of a mail works. At most 7 days, the limit of a presigned URL. */
  readonly linkTtlMs: number;
  /** Attached only up to this size: providers refuse large mails. */
  readonly attachMaxBytes: number;
  readonly now?: () => number;
}

/** Keys that may be mailed. Uploads of others, or anything else in the bucket, may not. */
const MAILABLE = /^pdf\/[\w-]+\.pdf$/;

export function createPdfAttachments({
  store,
  linkTtlMs,
  attachMaxBytes,
  now = Date.now,
}: PdfAttachmentSettings): PdfAttachments {
  return {
    async addTo(input, key, signal) {
      if (store === undefined || !MAILABLE.test(key)) throw new AttachmentError('there is no such document');
      const found = await store.head(key);
      if (found === undefined) throw new AttachmentError('the document is gone');
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
        attachment: { fileName: fileName(key), contentType: 'application/pdf', content },
      };
    },
  };
}

async function read(store: ObjectStore, key: string, signal: AbortSignal): Promise<Buffer> {
  try {
    const { body } = await store.get(key, signal);
    return await buffer(body);
  } catch (error) {
    if (error instanceof StoreError && error.code === 'not_found') throw new AttachmentError('the document is gone');
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
