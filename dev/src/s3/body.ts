import { createHash, randomBytes } from 'node:crypto';
import { open, readFile, rm } from 'node:fs/promises';
import type { IncomingMessage } from 'node:http';
import { join } from 'node:path';
import { decodeAwsChunked } from './aws-chunked.ts';
import { CHECKSUM_ALGORITHMS, checksumDigest, type Checksum, type ChecksumAlgorithm } from './checksum.ts';
import { S3Error } from './error.ts';
import { gathered } from './pieces.ts';

/** A request body on disk, checked against everything its sender declared about it. */
export interface ReceivedBody {
  file: string;
  sizeBytes: number;
  /** Its hash in hex: the ETag of an object in one part. */
  etag: string;
  checksum: Checksum | undefined;
}

/** What an ETag is the hash of. */
export type EtagHash = 'md5' | 'sha1';

const MAX_DOCUMENT_BYTES = 4 * 1024 * 1024;

function header(request: IncomingMessage, name: string): string | undefined {
  const value = request.headers[name];
  return Array.isArray(value) ? value.join(',') : value;
}

/** The checksums announced by header, query (presigned) or trailer; a trailer's value comes after the body. */
function announcedChecksums(
  request: IncomingMessage,
  query: URLSearchParams,
): Map<ChecksumAlgorithm, string | undefined> {
  const announced = new Map<ChecksumAlgorithm, string | undefined>();
  const trailers = (header(request, 'x-amz-trailer') ?? '').split(',').map((name) => name.trim());
  for (const algorithm of CHECKSUM_ALGORITHMS) {
    const name = `x-amz-checksum-${algorithm}`;
    const value = header(request, name) ?? query.get(name) ?? undefined;
    if (value !== undefined || trailers.includes(name)) announced.set(algorithm, value);
  }
  return announced;
}

/**
 * Streams a request body into a new file of `folder`, in any framing, and verifies length, SHA-256 of the
 * payload, Content-MD5 and checksums. Memory stays flat. On any error the file is gone.
 * @throws S3Error IncompleteBody, BadDigest, XAmzContentSHA256Mismatch, EntityTooLarge
 */
export async function receiveBody(
  request: IncomingMessage,
  query: URLSearchParams,
  folder: string,
  etagHash: EtagHash,
  maxBytes: number = Number.POSITIVE_INFINITY,
): Promise<ReceivedBody> {
  const file = join(folder, randomBytes(12).toString('hex'));
  const payloadHash = header(request, 'x-amz-content-sha256') ?? 'UNSIGNED-PAYLOAD';
  const encodings = (header(request, 'content-encoding') ?? '').split(',').map((name) => name.trim());
  const chunked = payloadHash.startsWith('STREAMING-') || encodings.includes('aws-chunked');
  const trailers = new Map<string, string>();
  const announced = announcedChecksums(request, query);
  const digests = [...announced.keys()].map((algorithm) => ({ algorithm, digest: checksumDigest(algorithm) }));
  const contentMd5 = header(request, 'content-md5');
  const etag = createHash(etagHash);
  const md5 = contentMd5 === undefined ? undefined : createHash('md5');
  const sha256 = /^[0-9a-f]{64}$/.test(payloadHash) ? createHash('sha256') : undefined;
  let sizeBytes = 0;
  try {
    const source = chunked ? decodeAwsChunked(request, trailers) : request;
    const handle = await open(file, 'wx');
    try {
      for await (const piece of gathered(source, !chunked)) {
        sizeBytes += piece.length;
        if (sizeBytes > maxBytes) throw new S3Error(400, 'EntityTooLarge');
        etag.update(piece);
        md5?.update(piece);
        sha256?.update(piece);
        for (const { digest } of digests) digest.update(piece);
        await handle.writeFile(piece);
      }
    } finally {
      await handle.close();
    }

    const plainLength = chunked ? undefined : header(request, 'content-length');
    const expectedLength = header(request, 'x-amz-decoded-content-length') ?? plainLength;
    if (expectedLength !== undefined && Number(expectedLength) !== sizeBytes) throw new S3Error(400, 'IncompleteBody');
    if (sha256 && sha256.digest('hex') !== payloadHash) throw new S3Error(400, 'XAmzContentSHA256Mismatch');
    if (md5 && contentMd5 !== md5.digest('base64')) {
      throw new S3Error(400, 'BadDigest', 'The Content-MD5 you specified did not match what we received.');
    }
    let checksum: Checksum | undefined;
    for (const { algorithm, digest } of digests) {
      const value = digest.base64();
      const declared = announced.get(algorithm) ?? trailers.get(`x-amz-checksum-${algorithm}`);
      if (declared !== value) {
        throw new S3Error(400, 'BadDigest', `The ${algorithm} you specified did not match the calculated checksum.`);
      }
      checksum = { algorithm, value };
    }
    return { file, sizeBytes, etag: etag.digest('hex'), checksum };
  } catch (error) {
    await rm(file, { force: true });
    throw error;
  }
}

/** Receives an XML document (a configuration, a list of keys) as text, verified like any other body. */
export async function receiveDocument(request: IncomingMessage, folder: string): Promise<string> {
  const { file } = await receiveBody(request, new URLSearchParams(), folder, 'md5', MAX_DOCUMENT_BYTES);
  try {
    return await readFile(file, 'utf8');
  } finally {
    await rm(file, { force: true });
  }
}
