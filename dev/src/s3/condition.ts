import type { IncomingHttpHeaders } from 'node:http';
import { S3Error } from './error.ts';
import type { StoredObject } from './store.ts';

/** `If-None-Match: *` (create only) and `If-Match` (replace this version only). @throws S3Error PreconditionFailed, NoSuchKey */
export function checkWriteConditions(headers: IncomingHttpHeaders, existing: StoredObject | undefined): void {
  if (headers['if-none-match'] === '*' && existing) throw new S3Error(412, 'PreconditionFailed');
  const match = headers['if-match'];
  if (match === undefined) return;
  if (!existing) throw new S3Error(404, 'NoSuchKey');
  if (match !== '*' && match !== `"${existing.etag}"`) throw new S3Error(412, 'PreconditionFailed');
}

/** Whether a read is answered in full or with 304. @throws S3Error PreconditionFailed */
export function checkReadConditions(headers: IncomingHttpHeaders, object: StoredObject): 'send' | 'not-modified' {
  const etag = `"${object.etag}"`;
  const match = headers['if-match'];
  if (match !== undefined && match !== etag && match !== '*') throw new S3Error(412, 'PreconditionFailed');
  const noneMatch = headers['if-none-match'];
  if (noneMatch !== undefined) return noneMatch === etag || noneMatch === '*' ? 'not-modified' : 'send';
  const since = headers['if-modified-since'];
  // HTTP dates have no fractions of a second.
  const modifiedMs = Math.floor(Date.parse(object.modified) / 1000) * 1000;
  return since !== undefined && modifiedMs <= Date.parse(since) ? 'not-modified' : 'send';
}

/** The part of an object that a read asks for, both ends included. */
export interface ByteRange {
  start: number;
  end: number;
}

/** A single `Range: bytes=..`; undefined when the whole object is wanted (also for forms that HTTP lets a server ignore). */
export function parseRange(header: string | undefined, sizeBytes: number): ByteRange | 'unsatisfiable' | undefined {
  const [, first = '', last = ''] = /^bytes=(\d*)-(\d*)$/.exec(header ?? '') ?? [];
  if (first === '' && last === '') return undefined;
  const start = first === '' ? Math.max(0, sizeBytes - Number(last)) : Number(first);
  const end = first === '' || last === '' ? sizeBytes - 1 : Math.min(Number(last), sizeBytes - 1);
  return start > end ? 'unsatisfiable' : { start, end };
}
