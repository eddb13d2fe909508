import { TransformStream, type WritableStreamDefaultWriter } from 'node:stream/web';
import { ByteReader } from '../byte-reader.ts';
import { readIdat } from './idat.ts';
import { readPngMetadata } from './png-metadata.ts';

/**
 * The bytes of a PNG on their way to a decoder, in pieces that are valid until the next is asked for. What is asked of
 * a PNG that is copied is asked of this one as it passes, but for its pixels, which the decoder judges: every checksum,
 * the order of chunks, their end, and how much there is besides the picture.
 *
 * @throws {CorruptImageError} when its chunks are broken, out of place or end early
 * @throws {ImageTooLargeError} for more text and metadata than any real file has
 */
export async function* checkedPng(reader: ByteReader): AsyncGenerator<Buffer> {
  const { readable, writable } = new TransformStream<Buffer, Buffer>();
  const writer = writable.getWriter();
  const proven = prove(passing(reader, writer)).then(
    () => writer.close(),
    (error: unknown) => writer.abort(error),
  );
  yield* readable;
  await proven;
}

async function prove(bytes: AsyncIterable<Buffer>): Promise<void> {
  const reader = new ByteReader(bytes, Infinity);
  for await (const _ of readIdat(reader, await readPngMetadata(reader))) {
    // Only looked at as they pass.
  }
}

/** Hands each piece to the writer before it is looked at: what is sent never runs ahead of what is proven by more. */
async function* passing(reader: ByteReader, writer: WritableStreamDefaultWriter<Buffer>): AsyncGenerator<Buffer> {
  let last: Buffer | undefined;
  for (let bytes = await reader.next(); bytes; bytes = await reader.next()) {
    await writer.write(bytes);
    yield bytes;
    // Of this one a rest may still be held; of the one before it nothing.
    if (last) reader.done(last);
    last = bytes;
  }
}
