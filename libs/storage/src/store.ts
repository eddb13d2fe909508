import type { IncomingMessage } from 'node:http';
import type { Readable } from 'node:stream';
import {
  CreateBucketCommand,
  DeleteObjectCommand,
  GetObjectCommand,
  HeadBucketCommand,
  HeadObjectCommand,
  ListObjectsV2Command,
  PutBucketCorsCommand,
  PutObjectCommand,
} from '@aws-sdk/client-s3';
import { getSignedUrl } from '@aws-sdk/s3-request-presigner';
import { requestTimeoutMs, s3Client, type StoreSettings } from './client.ts';
import { storeError } from './errors.ts';
import { PartBuffers } from './part-buffers.ts';
import { endWhenSilent } from './stalled-body.ts';
import { unfinishedUploads } from './unfinished.ts';
import { PartUpload, type ObjectUpload } from './upload.ts';

export interface StoredObject {
  readonly key: string;
  readonly sizeBytes: number;
  readonly modifiedAt: Date;
}

export interface PutSettings {
  readonly contentType: string;
  /** Refuse with `exists` when the key is taken. */
  readonly ifAbsent?: boolean | undefined;
  /** Ends the upload; parts already sent are removed. */
  readonly signal?: AbortSignal | undefined;
}

/** An S3 bucket. Every method throws a {@link StoreError} and nothing else. */
export interface ObjectStore {
  /** Writes bytes, or a stream as `upload` does. Returns the size. */
  put(key: string, body: Uint8Array | Readable, settings: PutSettings): Promise<{ sizeBytes: number }>;
  /** Begins an object that is written piece by piece; at most two parts of 8 MiB are held in memory. No traffic until a part is full. */
  upload(key: string, settings: PutSettings): ObjectUpload;
  /** Opens an object for reading. The stream must be read to its end or destroyed. */
  get(key: string, signal?: AbortSignal): Promise<{ body: Readable; sizeBytes: number; contentType: string }>;
  /** What is known of an object, or undefined when there is none. */
  head(key: string): Promise<(StoredObject & { readonly contentType: string }) | undefined>;
  /** Deletes an object; deleting what is not there is no error. */
  delete(key: string): Promise<void>;
  /** Every object under a prefix, page by page. */
  list(prefix: string): AsyncGenerator<StoredObject>;
  /**
   * Drops the parts of uploads under a prefix that were begun before a time and never finished: their writer is
   * gone. No list of objects shows them, and the store keeps them for ever. Returns how many uploads there were.
   */
  dropUnfinished(prefix: string, begunBefore: Date): Promise<number>;
  /** A URL that gives one object to its holder, as a download, until it expires. */
  presignGet(key: string, expiresInMs: number, fileName?: string): Promise<string>;
  /** A URL that takes exactly one object of this size and type, until it expires. */
  presignPut(key: string, expiresInMs: number, contentType: string, sizeBytes: number): Promise<string>;
  /** Makes the bucket when it is not there, open to uploads by presigned URL from the given web origins. */
  ensureBucket(webOrigins?: readonly string[]): Promise<void>;
  close(): void;
}

/** Opens a bucket. No traffic until the first call. */
export function createStore(settings: StoreSettings): ObjectStore {
  const client = s3Client(settings);
  const signer = s3Client(settings, settings.publicEndpoint ?? settings.endpoint);
  const Bucket = settings.bucket;

  const call = async <R>(operation: string, run: () => Promise<R>): Promise<R> => {
    try {
      return await run();
    } catch (error) {
      throw storeError(operation, error);
    }
  };

  const exists = (): Promise<boolean> =>
    call('HeadBucket', () => client.send(new HeadBucketCommand({ Bucket }))).then(
      () => true,
      (error: unknown) => {
        if (storeError('HeadBucket', error).code === 'not_found') return false;
        throw error;
      },
    );

  const unfinished = unfinishedUploads(client, Bucket, settings.now ?? Date.now);
  const buffers = new PartBuffers();
  const upload: ObjectStore['upload'] = (key, target) =>
    new PartUpload(client, buffers, { bucket: Bucket, key, ...target });

  return {
    put: (key, body, { contentType, ifAbsent, signal }) =>
      call('PutObject', async () => {
        if (body instanceof Uint8Array) {
          const command = new PutObjectCommand({
            Bucket,
            Key: key,
            Body: body,
            ContentType: contentType,
            ContentLength: body.length,
            ...(ifAbsent === true ? { IfNoneMatch: '*' } : {}),
          });
          await client.send(command, signal === undefined ? {} : { abortSignal: signal });
          return { sizeBytes: body.length };
        }
        const parts = upload(key, { contentType, ifAbsent, signal });
        try {
          for await (const chunk of body as AsyncIterable<Uint8Array>) await parts.write(chunk);
        } catch (error) {
          await parts.abandon();
          throw error;
        }
        return await parts.finish();
      }),

    upload,

    get: (key, signal) =>
      call('GetObject', async () => {
        const answer = await client.send(
          new GetObjectCommand({ Bucket, Key: key }),
          signal === undefined ? {} : { abortSignal: signal },
        );
        const body = answer.Body as IncomingMessage;
        endWhenSilent(body, requestTimeoutMs(settings));
        return {
          body,
          sizeBytes: answer.ContentLength ?? 0,
          contentType: answer.ContentType ?? 'application/octet-stream',
        };
      }),

    head: (key) =>
      call('HeadObject', async () => {
        const answer = await client.send(new HeadObjectCommand({ Bucket, Key: key }));
        return {
          key,
          sizeBytes: answer.ContentLength ?? 0,
          modifiedAt: answer.LastModified ?? new Date(0),
          contentType: answer.ContentType ?? 'application/octet-stream',
        };
      }).catch((error: unknown) => {
        if (storeError('HeadObject', error).code === 'not_found') return undefined;
        throw error;
      }),

    delete: (key) =>
      call('DeleteObject', async () => {
        await client.send(new DeleteObjectCommand({ Bucket, Key: key }));
      }),

    async *list(prefix) {
      let ContinuationToken: string | undefined;
      do {
        const command = new ListObjectsV2Command({ Bucket, Prefix: prefix, ContinuationToken });
        const page = await call('ListObjectsV2', () => client.send(command));
        for (const { Key, Size, LastModified } of page.Contents ?? []) {
          if (Key !== undefined) yield { key: Key, sizeBytes: Size ?? 0, modifiedAt: LastModified ?? new Date(0) };
        }
        ContinuationToken = page.NextContinuationToken;
      } while (ContinuationToken !== undefined);
    },

    dropUnfinished: (prefix, begunBefore) => call('ListMultipartUploads', () => unfinished.drop(prefix, begunBefore)),

    presignGet: (key, expiresInMs, fileName) =>
      call('PresignGet', () => {
        const disposition = fileName === undefined ? 'attachment' : attachmentNamed(fileName);
        const command = new GetObjectCommand({ Bucket, Key: key, ResponseContentDisposition: disposition });
        return getSignedUrl(signer, command, { expiresIn: Math.ceil(expiresInMs / 1000) });
      }),

    presignPut: (key, expiresInMs, contentType, sizeBytes) =>
      call('PresignPut', () => {
        const command = new PutObjectCommand({ Bucket, Key: key, ContentType: contentType, ContentLength: sizeBytes });
        // Signing the length is what limits the size: a presigned PUT has no other way to.
        const signableHeaders = new Set(['content-type', 'content-length', 'host']);
        return getSignedUrl(signer, command, { expiresIn: Math.ceil(expiresInMs / 1000), signableHeaders });
      }),

    ensureBucket: (webOrigins = []) =>
      call('CreateBucket', async () => {
        if (!(await exists())) {
          await client.send(new CreateBucketCommand({ Bucket })).catch((error: unknown) => {
            // Another replica was first.
            if ((error as Error).name !== 'BucketAlreadyOwnedByYou') throw error;
          });
        }
        if (webOrigins.length === 0) return;
        const rule = {
          AllowedOrigins: [...webOrigins],
          AllowedMethods: ['PUT', 'GET'],
          AllowedHeaders: ['content-type'],
          MaxAgeSeconds: 3_600,
        };
        await client.send(new PutBucketCorsCommand({ Bucket, CORSConfiguration: { CORSRules: [rule] } }));
      }),

    close() {
      client.destroy();
      signer.destroy();
    },
  };
}

/** RFC 6266: a plain name for every client, and where that differs the whole one, encoded as RFC 8187 has it. */
function attachmentNamed(fileName: string): string {
  const plain = plainName(fileName);
  if (plain === fileName) return `attachment; filename="${plain}"`;
  const encoded = encodeURIComponent(fileName.replace(/[\p{Cc}/\\]+/gu, '_')).replace(
    /['()*]/g,
    (character) => `%${character.charCodeAt(0).toString(16).toUpperCase()}`,
  );
  return `attachment; filename="${plain}"; filename*=UTF-8''${encoded}`;
}

const plainName = (name: string): string => name.replace(/[^\w.-]+/g, '_').slice(0, 100);
