import { receiveBody, receiveDocument } from './body.ts';
import { checksumHeaders } from './checksum.ts';
import { checkWriteConditions } from './condition.ts';
import { S3Error } from './error.ts';
import type { Exchange } from './exchange.ts';
import {
  beginUpload,
  discardUpload,
  joinParts,
  partNumberOf,
  putPart,
  uploadOf,
  type MultipartUpload,
} from './multipart.ts';
import { storedHeaders, storedTags } from './object-headers.ts';
import type { ServerState } from './server-state.ts';
import { encodeRfc3986 } from './signature.ts';
import { childrenOf, element, parseXml, S3_NAMESPACE, textOf } from './xml.ts';

function identity(exchange: Exchange): string {
  return element('Bucket', exchange.bucketName) + element('Key', exchange.key);
}

/** POST /BUCKET/KEY?uploads */
export function createUpload(state: ServerState, exchange: Exchange): void {
  const { request, bucketName, key } = exchange;
  const id = beginUpload(state.uploads, {
    bucketName,
    key,
    headers: storedHeaders(request.headers),
    tags: storedTags(request.headers),
    started: state.now().toISOString(),
  });
  const body = identity(exchange) + element('UploadId', id);
  exchange.sendXml(`<InitiateMultipartUploadResult ${S3_NAMESPACE}>${body}</InitiateMultipartUploadResult>`);
}

async function receivePart(state: ServerState, exchange: Exchange, upload: MultipartUpload): Promise<void> {
  const { request, query } = exchange;
  if (request.headers['x-amz-copy-source'] !== undefined) throw new S3Error(501, 'NotImplemented');
  const partNumber = partNumberOf(query.get('partNumber'));
  const body = await receiveBody(request, query, state.store.temporaryDir, state.etagHash);
  await putPart(upload, partNumber, body);
  exchange.send(200, { etag: `"${body.etag}"`, ...checksumHeaders(body.checksum) });
}

function listParts(exchange: Exchange, upload: MultipartUpload): void {
  const parts = [...upload.parts]
    .sort(([a], [b]) => a - b)
    .map(([partNumber, { etag, sizeBytes }]) => {
      const fields = element('PartNumber', partNumber) + element('ETag', `"${etag}"`) + element('Size', sizeBytes);
      return `<Part>${fields}</Part>`;
    });
  const head = identity(exchange) + element('UploadId', upload.id) + element('IsTruncated', false);
  exchange.sendXml(`<ListPartsResult ${S3_NAMESPACE}>${head}${parts.join('')}</ListPartsResult>`);
}

async function completeUpload(state: ServerState, exchange: Exchange, upload: MultipartUpload): Promise<void> {
  const { store } = state;
  const { request, key } = exchange;
  const bucket = store.bucket(exchange.bucketName);
  const document = parseXml(await receiveDocument(request, store.temporaryDir));
  const listed = childrenOf(document, 'Part').map((part) => ({
    partNumber: Number(textOf(part, 'PartNumber')),
    etag: (textOf(part, 'ETag') ?? '').replaceAll('"', ''),
  }));
  if (listed.length === 0) throw new S3Error(400, 'MalformedXML');
  const { file, sizeBytes, etag } = await joinParts(upload, listed, store.temporaryDir);
  const modified = state.now().toISOString();
  const { headers, tags } = upload;
  await store.commit(bucket, { key, sizeBytes, etag, modified, headers, ...(tags ? { tags } : {}) }, file, (existing) =>
    checkWriteConditions(request.headers, existing),
  );
  await discardUpload(state.uploads, upload);
  const location = element('Location', `/${bucket.name}/${encodeRfc3986(key)}`);
  const body = location + identity(exchange) + element('ETag', `"${etag}"`);
  exchange.sendXml(`<CompleteMultipartUploadResult ${S3_NAMESPACE}>${body}</CompleteMultipartUploadResult>`);
}

/** Everything at /BUCKET/KEY?uploadId=ID. */
export async function uploadRequest(state: ServerState, exchange: Exchange, uploadId: string): Promise<void> {
  const upload = uploadOf(state.uploads, uploadId, exchange.bucketName, exchange.key);
  switch (exchange.method) {
    case 'PUT':
      return await receivePart(state, exchange, upload);
    case 'GET':
      return listParts(exchange, upload);
    case 'POST':
      return await completeUpload(state, exchange, upload);
    case 'DELETE':
      await discardUpload(state.uploads, upload);
      return exchange.send(204);
    default:
      throw new S3Error(405, 'MethodNotAllowed');
  }
}
