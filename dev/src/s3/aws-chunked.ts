import { S3Error } from './error.ts';

const MAX_LINE_BYTES = 16_384;
const EOL = Buffer.from('\r\n');

/**
 * Takes the `aws-chunked` framing off an upload: `SIZE[;chunk-signature=..]CRLF data CRLF ... 0 CRLF trailers CRLF`.
 * SDKs send streams this way, with the checksum in the trailers. A server that does not know the framing stores it
 * inside the object, which is the most common fault of S3 look-alikes. Chunk signatures are not verified: the seed
 * signature of the headers and the trailing checksum are.
 *
 * States: size -> data -> data-end -> size ... -> trailer -> done. `trailers` is filled by the time the stream ends.
 */
export async function* decodeAwsChunked(
  source: AsyncIterable<Buffer>,
  trailers: Map<string, string>,
): AsyncGenerator<Buffer> {
  let state: 'size' | 'data' | 'data-end' | 'trailer' | 'done' = 'size';
  let pending: Buffer = Buffer.alloc(0);
  let left = 0;
  for await (const chunk of source) {
    pending = pending.length > 0 ? Buffer.concat([pending, chunk]) : chunk;
    while (pending.length > 0) {
      if (state === 'done') {
        pending = Buffer.alloc(0);
      } else if (state === 'data') {
        const take = Math.min(left, pending.length);
        yield pending.subarray(0, take);
        pending = pending.subarray(take);
        left -= take;
        if (left === 0) state = 'data-end';
      } else if (state === 'data-end') {
        if (pending.length < EOL.length) break;
        if (!pending.subarray(0, EOL.length).equals(EOL))
          throw new S3Error(400, 'InvalidRequest', 'chunk longer than its size');
        pending = pending.subarray(EOL.length);
        state = 'size';
      } else {
        const end = pending.indexOf(EOL);
        if (end < 0) {
          if (pending.length > MAX_LINE_BYTES) throw new S3Error(400, 'InvalidRequest', 'chunk line too long');
          break;
        }
        const line = pending.subarray(0, end).toString('latin1');
        pending = pending.subarray(end + EOL.length);
        if (state === 'size') {
          const size = line.split(';')[0] ?? '';
          if (!/^[0-9a-f]{1,12}$/i.test(size)) throw new S3Error(400, 'InvalidRequest', 'bad chunk size');
          left = Number.parseInt(size, 16);
          state = left === 0 ? 'trailer' : 'data';
        } else if (line === '') {
          state = 'done';
        } else {
          const colon = line.indexOf(':');
          trailers.set(line.slice(0, colon).toLowerCase(), line.slice(colon + 1).trim());
        }
      }
    }
  }
  // A body may end right after the last trailer line; anything earlier is a cut connection.
  if (state !== 'done' && state !== 'trailer') throw new S3Error(400, 'IncompleteBody');
}
