import { randomBytes } from 'node:crypto';
import { createWriteStream } from 'node:fs';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { receiveBody, receiveDocument } from './body.ts';
import { checksumHeaders } from './checksum.ts';
import { checkReadConditions, checkWriteConditions, parseRange } from './condition.ts';
import { S3Error } from './error.ts';
import type { Exchange } from './exchange.ts';
import { createUpload, uploadRequest } from './multipart-requests.ts';
import { overriddenHeaders, storedHeaders, storedTags } from './object-headers.ts';
import { piecesOf } from './pieces.ts';
import type { ServerState } from './server-state.ts';
import type { Bucket } from './store.ts';
import { childrenOf, element, parseXml, S3_NAMESPACE, textOf } from './xml.ts';

const MAX_KEY_BYTES = 1024;

async function putObject(state: ServerState, exchange: Exchange, bucket: Bucket): Promise<void> {
  const { request, query, key } = exchange;
  // Once before the body travels, and again in the store, where no other request can come in between.
  checkWriteConditions(request.headers, bucket.objects.get(key));
  const body = await receiveBody(request, query, state.store.temporaryDir, state.etagHash);
  const tags = storedTags(request.headers);
  const object = {
    key,
    sizeBytes: body.sizeBytes,
    etag: body.etag,
    modified: state.now().toISOString(),
    headers: storedHeaders(request.headers),
    ...(body.checksum ? { checksum: body.checksum } : {}),
    ...(tags ? { tags } : {}),
  };
  await state.store.commit(bucket, object, body.file, (existing) => checkWriteConditions(request.headers, existing));
  exchange.send(200, { etag: `"${body.etag}"`, ...checksumHeaders(body.checksum) });
}

async function copyObject(state: ServerState, exchange: Exchange, bucket: Bucket, copySource: string): Promise<void> {
  const { store } = state;
  const { request, key } = exchange;
  const path = decodeURIComponent(copySource.split('?')[0] ?? '').replace(/^\//, '');
  const slash = path.indexOf('/');
  const source = await store.open(store.bucket(path.slice(0, slash)), path.slice(slash + 1));
  const file = join(store.temporaryDir, randomBytes(12).toString('hex'));
  await pipeline(source.handle.createReadStream(), createWriteStream(file));
  const replaceHeaders = request.headers['x-amz-metadata-directive'] === 'REPLACE';
  const { file: _sourceFile, ...described } = source.object;
  const modified = state.now().toISOString();
  const headers = replaceHeaders ? storedHeaders(request.headers) : described.headers;
  await store.commit(bucket, { ...described, key, modified, headers }, file, (existing) =>
    checkWriteConditions(request.headers, existing),
  );
  const body = element('LastModified', modified) + element('ETag', `"${described.etag}"`);
  exchange.sendXml(`<CopyObjectResult ${S3_NAMESPACE}>${body}</CopyObjectResult>`);
}

async function getObject(state: ServerState, exchange: Exchange, bucket: Bucket): Promise<void> {
  const { request, query, key, method } = exchange;
  const { object, handle } = await state.store.open(bucket, key);
  try {
    const modified = new Date(object.modified).toUTCString();
    const etag = `"${object.etag}"`;
    if (checkReadConditions(request.headers, object) === 'not-modified') {
      return exchange.send(304, { etag, 'last-modified': modified });
    }
    const { range: wantedRange } = request.headers;
    const range = parseRange(wantedRange, object.sizeBytes);
    if (range === 'unsatisfiable') {
      exchange.setHeader('content-range', `bytes */${object.sizeBytes}`);
      throw new S3Error(416, 'InvalidRange');
    }
    // A checksum is of the whole object: on a part the client would compare it with the wrong thing.
    const withChecksum = request.headers['x-amz-checksum-mode'] === 'ENABLED' && !range;
    const headers: Record<string, string | number> = {
      ...object.headers,
      etag,
      'last-modified': modified,
      'accept-ranges': 'bytes',
      ...(withChecksum ? checksumHeaders(object.checksum) : {}),
      ...(object.tags ? { 'x-amz-tagging-count': Object.keys(object.tags).length } : {}),
      ...overriddenHeaders(query),
      ...(range ? { 'content-range': `bytes ${range.start}-${range.end}/${object.sizeBytes}` } : {}),
    };
    const status = range ? 206 : 200;
    const sizeBytes = range ? range.end - range.start + 1 : object.sizeBytes;
    if (method === 'HEAD' || sizeBytes === 0) return exchange.send(status, { ...headers, 'content-length': sizeBytes });
    const start = range ? range.start : 0;
    await exchange.sendStream(status, headers, sizeBytes, piecesOf(handle, start, start + sizeBytes));
  } finally {
    await handle.close();
  }
}

async function taggingRequest(state: ServerState, exchange: Exchange, bucket: Bucket): Promise<void> {
  const { store } = state;
  const { method, key } = exchange;
  const { tags = {} } = store.object(bucket, key);
  if (method === 'PUT') {
    const document = parseXml(await receiveDocument(exchange.request, store.temporaryDir));
    const set = childrenOf(childrenOf(document, 'TagSet')[0], 'Tag');
    const replaced = Object.fromEntries(set.map((tag) => [textOf(tag, 'Key') ?? '', textOf(tag, 'Value') ?? '']));
    await store.saveTags(bucket, key, replaced);
    return exchange.send(200);
  }
  if (method === 'DELETE') {
    await store.saveTags(bucket, key, undefined);
    return exchange.send(204);
  }
  const set = Object.entries(tags).map(([name, value]) => {
    return `<Tag>${element('Key', name)}${element('Value', value)}</Tag>`;
  });
  exchange.sendXml(`<Tagging ${S3_NAMESPACE}><TagSet>${set.join('')}</TagSet></Tagging>`);
}

/** Everything at /BUCKET/KEY. */
export async function objectRequest(state: ServerState, exchange: Exchange): Promise<void> {
  const { method, query, key, request } = exchange;
  if (Buffer.byteLength(key) > MAX_KEY_BYTES) throw new S3Error(400, 'KeyTooLongError');
  const bucket = state.store.bucket(exchange.bucketName);
  if (query.has('tagging')) return await taggingRequest(state, exchange, bucket);
  if (method === 'POST' && query.has('uploads')) return createUpload(state, exchange);
  const uploadId = query.get('uploadId');
  if (uploadId !== null) return await uploadRequest(state, exchange, uploadId);
  switch (method) {
    case 'PUT': {
      const copySource = request.headers['x-amz-copy-source'];
      if (copySource !== undefined) return await copyObject(state, exchange, bucket, String(copySource));
      return await putObject(state, exchange, bucket);
    }
    case 'DELETE':
      await state.store.remove(bucket, key);
      return exchange.send(204);
    case 'GET':
    case 'HEAD':
      return await getObject(state, exchange, bucket);
    default:
      throw new S3Error(405, 'MethodNotAllowed');
  }
}
