import { isJobId } from '@sluice/jobs';
import { Type } from 'typebox';
import { invalidField } from '../errors.ts';
import type { JobCursor } from '../history/read-model.ts';

/** `cursor` of a list of jobs, as a field of its query. */
export const Cursor = Type.String({ maxLength: 128, description: '`next` of the page before.' });

/** A place in a list of jobs, as clients hold it. */
export const cursorText = ({ createdMs, id }: JobCursor): string =>
  Buffer.from(`${createdMs}.${id}`).toString('base64url');

/** @throws {GatewayError} `invalid_request` for a text that is no cursor. */
export function cursorOf(text: string): JobCursor {
  const found = /^(\d{1,15})\.(job_\w+)$/.exec(Buffer.from(text, 'base64url').toString());
  if (found === null || !isJobId(found[2]!)) throw invalidField('/query/cursor', 'is no cursor of this list');
  return { createdMs: Number(found[1]), id: found[2]! };
}
