import { createHash, randomBytes } from 'node:crypto';
import { copyFile, open, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { ReceivedBody } from './body.ts';
import { S3Error } from './error.ts';
import { piecesOf } from './pieces.ts';

interface Part {
  etag: string;
  sizeBytes: number;
  file: string;
}

/** An upload in parts that is neither completed nor aborted. Uploads live in memory: a restart forgets them, as an abort would. */
export interface MultipartUpload {
  readonly id: string;
  readonly bucketName: string;
  readonly key: string;
  readonly headers: Record<string, string>;
  readonly tags: Record<string, string> | undefined;
  /** ISO time. */
  readonly started: string;
  readonly parts: Map<number, Part>;
}

/** A part as the client lists it on completion. */
export interface ListedPart {
  partNumber: number;
  etag: string;
}

const MIN_PART_BYTES = 5 * 1024 * 1024;
const MAX_PART_NUMBER = 10_000;

/** The uploads under way. */
export type MultipartUploads = Map<string, MultipartUpload>;

/** Begins an upload and returns its id. */
export function beginUpload(uploads: MultipartUploads, upload: Omit<MultipartUpload, 'id' | 'parts'>): string {
  const id = randomBytes(16).toString('hex');
  uploads.set(id, { ...upload, id, parts: new Map() });
  return id;
}

/** @throws S3Error NoSuchUpload */
export function uploadOf(uploads: MultipartUploads, id: string, bucketName: string, key: string): MultipartUpload {
  const upload = uploads.get(id);
  if (!upload || upload.bucketName !== bucketName || upload.key !== key) throw new S3Error(404, 'NoSuchUpload');
  return upload;
}

/** @throws S3Error InvalidArgument when it is not a number from 1 to 10,000 */
export function partNumberOf(text: string | null): number {
  const partNumber = Number(text);
  if (!Number.isInteger(partNumber) || partNumber < 1 || partNumber > MAX_PART_NUMBER) {
    throw new S3Error(400, 'InvalidArgument', 'Part number must be an integer between 1 and 10000, inclusive');
  }
  return partNumber;
}

/** Adds a part; one sent again replaces the earlier one. */
export async function putPart(upload: MultipartUpload, partNumber: number, body: ReceivedBody): Promise<void> {
  const earlier = upload.parts.get(partNumber);
  upload.parts.set(partNumber, { etag: body.etag, sizeBytes: body.sizeBytes, file: body.file });
  if (earlier) await rm(earlier.file, { force: true });
}

/** Removes the upload and the files of its parts. */
export async function discardUpload(uploads: MultipartUploads, upload: MultipartUpload): Promise<void> {
  uploads.delete(upload.id);
  for (const part of upload.parts.values()) await rm(part.file, { force: true });
}

/**
 * Joins the listed parts into one file of `folder`. The ETag is made as S3 makes it: MD5 of the parts' hashes, dash, their number.
 * @throws S3Error InvalidPartOrder, InvalidPart, EntityTooSmall
 */
export async function joinParts(
  upload: MultipartUpload,
  listed: readonly ListedPart[],
  folder: string,
): Promise<{ file: string; sizeBytes: number; etag: string }> {
  let previous = 0;
  const parts = listed.map(({ partNumber, etag }, i) => {
    if (!(partNumber > previous)) throw new S3Error(400, 'InvalidPartOrder');
    previous = partNumber;
    const part = upload.parts.get(partNumber);
    if (!part || part.etag !== etag) throw new S3Error(400, 'InvalidPart');
    if (i < listed.length - 1 && part.sizeBytes < MIN_PART_BYTES) throw new S3Error(400, 'EntityTooSmall');
    return part;
  });
  const file = join(folder, randomBytes(12).toString('hex'));
  await concatenate(parts, file);
  const md5 = createHash('md5');
  for (const part of parts) md5.update(Buffer.from(part.etag, 'hex'));
  const sizeBytes = parts.reduce((sum, part) => sum + part.sizeBytes, 0);
  return { file, sizeBytes, etag: `${md5.digest('hex')}-${parts.length}` };
}

// The parts stay as they are until the upload is discarded: a completion may be asked for again.
async function concatenate([first, ...others]: readonly Part[], file: string): Promise<void> {
  if (!first) throw new S3Error(400, 'MalformedXML');
  await copyFile(first.file, file);
  const handle = await open(file, 'a');
  try {
    for (const part of others) {
      const source = await open(part.file);
      try {
        for await (const piece of piecesOf(source, 0, part.sizeBytes)) await handle.writeFile(piece);
      } finally {
        await source.close();
      }
    }
  } finally {
    await handle.close();
  }
}
