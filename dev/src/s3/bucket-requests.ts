import { receiveDocument } from './body.ts';
import { S3Error } from './error.ts';
import type { Exchange } from './exchange.ts';
import { listPage } from './listing.ts';
import type { ServerState } from './server-state.ts';
import { encodeRfc3986 } from './signature.ts';
import type { Bucket } from './store.ts';
import { childrenOf, element, parseXml, S3_NAMESPACE, textOf } from './xml.ts';

const BUCKET_NAME = /^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$/;
const MAX_KEYS = 1000;

// Stored as sent; the code is what S3 answers when there is none.
const CONFIGURATIONS: readonly (readonly [name: string, missing: string])[] = [
  ['cors', 'NoSuchCORSConfiguration'],
  ['lifecycle', 'NoSuchLifecycleConfiguration'],
  ['tagging', 'NoSuchTagSet'],
];

/** GET / */
export function listBuckets(state: ServerState, exchange: Exchange): void {
  if (exchange.method !== 'GET') throw new S3Error(405, 'MethodNotAllowed');
  const buckets = state.store.buckets().map(({ name, created }) => {
    return `<Bucket>${element('Name', name)}${element('CreationDate', created)}</Bucket>`;
  });
  const owner = `<Owner>${element('ID', state.credentials.accessKeyId)}</Owner>`;
  exchange.sendXml(
    `<ListAllMyBucketsResult ${S3_NAMESPACE}>${owner}<Buckets>${buckets.join('')}</Buckets></ListAllMyBucketsResult>`,
  );
}

async function configurationRequest(
  state: ServerState,
  exchange: Exchange,
  bucket: Bucket,
  name: string,
  missing: string,
): Promise<void> {
  switch (exchange.method) {
    case 'PUT': {
      const document = await receiveDocument(exchange.request, state.store.temporaryDir);
      parseXml(document);
      bucket.config[name] = document;
      await state.store.saveConfig(bucket);
      return exchange.send(200);
    }
    case 'GET': {
      const document = bucket.config[name];
      if (document === undefined) throw new S3Error(404, missing);
      return exchange.send(200, {}, document);
    }
    case 'DELETE':
      delete bucket.config[name];
      await state.store.saveConfig(bucket);
      return exchange.send(204);
    default:
      throw new S3Error(405, 'MethodNotAllowed');
  }
}

function listUploads(state: ServerState, exchange: Exchange): void {
  const uploads = [...state.uploads.values()]
    .filter((upload) => upload.bucketName === exchange.bucketName)
    .map(({ key, id, started }) => {
      const initiated = state.datesUploads ? element('Initiated', started) : '';
      return `<Upload>${element('Key', key)}${element('UploadId', id)}${initiated}</Upload>`;
    });
  const head = element('Bucket', exchange.bucketName) + element('IsTruncated', false);
  exchange.sendXml(
    `<ListMultipartUploadsResult ${S3_NAMESPACE}>${head}${uploads.join('')}</ListMultipartUploadsResult>`,
  );
}

async function deleteObjects(state: ServerState, exchange: Exchange, bucket: Bucket): Promise<void> {
  const document = parseXml(await receiveDocument(exchange.request, state.store.temporaryDir));
  const keys = childrenOf(document, 'Object').map((object) => textOf(object, 'Key') ?? '');
  if (keys.length === 0 || keys.length > MAX_KEYS) throw new S3Error(400, 'MalformedXML');
  for (const key of keys) await state.store.remove(bucket, key);
  const quiet = textOf(document, 'Quiet') === 'true';
  const deleted = quiet ? [] : keys.map((key) => `<Deleted>${element('Key', key)}</Deleted>`);
  exchange.sendXml(`<DeleteResult ${S3_NAMESPACE}>${deleted.join('')}</DeleteResult>`);
}

function listObjects(state: ServerState, exchange: Exchange, bucket: Bucket): void {
  const { query } = exchange;
  const second = query.get('list-type') === '2';
  const prefix = query.get('prefix') ?? '';
  const delimiter = query.get('delimiter') ?? '';
  const maxKeys = Math.min(Number(query.get('max-keys') ?? MAX_KEYS), MAX_KEYS);
  if (!Number.isInteger(maxKeys) || maxKeys < 0) throw new S3Error(400, 'InvalidArgument');
  const token = query.get('continuation-token');
  const from = token === null ? query.get('start-after') : Buffer.from(token, 'base64url').toString();
  const after = (second ? from : query.get('marker')) ?? '';
  const page = listPage(state.store.sortedKeys(bucket), { prefix, delimiter, maxKeys, after });

  const encode = query.get('encoding-type') === 'url' ? encodeRfc3986 : (text: string): string => text;
  const contents = page.keys.map((key) => {
    const { modified, etag, sizeBytes } = state.store.object(bucket, key);
    const fields = [element('Key', encode(key)), element('LastModified', modified), element('ETag', `"${etag}"`)];
    fields.push(element('Size', sizeBytes), element('StorageClass', 'STANDARD'));
    return `<Contents>${fields.join('')}</Contents>`;
  });
  const prefixes = page.commonPrefixes.map((common) => {
    return `<CommonPrefixes>${element('Prefix', encode(common))}</CommonPrefixes>`;
  });
  const head = [element('Name', bucket.name), element('Prefix', encode(prefix)), element('MaxKeys', maxKeys)];
  if (delimiter !== '') head.push(element('Delimiter', encode(delimiter)));
  if (query.has('encoding-type')) head.push(element('EncodingType', 'url'));
  head.push(element('IsTruncated', page.truncated));
  if (second) {
    head.push(element('KeyCount', page.keys.length + page.commonPrefixes.length));
    if (token !== null) head.push(element('ContinuationToken', token));
    if (page.truncated) head.push(element('NextContinuationToken', Buffer.from(page.last).toString('base64url')));
  } else {
    head.push(element('Marker', encode(after)));
    if (page.truncated) head.push(element('NextMarker', encode(page.last)));
  }
  const body = [...head, ...contents, ...prefixes].join('');
  exchange.sendXml(`<ListBucketResult ${S3_NAMESPACE}>${body}</ListBucketResult>`);
}

/** Everything at /BUCKET. */
export async function bucketRequest(state: ServerState, exchange: Exchange): Promise<void> {
  const { store } = state;
  const { method, query, bucketName } = exchange;
  const special = [...query.keys()].some((name) => ['location', 'versioning', 'uploads', 'delete'].includes(name));
  if (method === 'PUT' && !special && !CONFIGURATIONS.some(([name]) => query.has(name))) {
    await receiveDocument(exchange.request, store.temporaryDir);
    if (!BUCKET_NAME.test(bucketName)) throw new S3Error(400, 'InvalidBucketName');
    await store.createBucket(bucketName, state.now().toISOString());
    return exchange.send(200, { location: `/${bucketName}` });
  }

  const bucket = store.bucket(bucketName);
  for (const [name, missing] of CONFIGURATIONS) {
    if (query.has(name)) return await configurationRequest(state, exchange, bucket, name, missing);
  }
  if (method === 'POST' && query.has('delete')) return await deleteObjects(state, exchange, bucket);
  if (method === 'HEAD') return exchange.send(200, { 'x-amz-bucket-region': state.credentials.region });
  if (method === 'DELETE') {
    await store.deleteBucket(bucketName);
    return exchange.send(204);
  }
  if (method !== 'GET') throw new S3Error(405, 'MethodNotAllowed');
  if (query.has('location')) {
    const { region } = state.credentials;
    // The first region answers with an empty element, for reasons of age.
    const location = region === 'us-east-1' ? '' : region;
    return exchange.sendXml(`<LocationConstraint ${S3_NAMESPACE}>${location}</LocationConstraint>`);
  }
  if (query.has('versioning')) return exchange.sendXml(`<VersioningConfiguration ${S3_NAMESPACE}/>`);
  if (query.has('uploads')) return listUploads(state, exchange);
  listObjects(state, exchange, bucket);
}
