import { DecoderCrashedError } from '../errors.ts';
import type { PageJob } from '../page-job.ts';

/**
 * Reads a JPEG through for damage while it is copied: each piece is written, then goes to a decoder, which asks for the
 * next. A viewer of the PDF decodes just those bytes, so they are what is judged.
 *
 * @throws {CorruptImageError} when the decoder finds damage; what was written is of no use then
 * @throws the errors of reading a piece and of writing it
 */
export async function verifyOnTheWay(
  pieces: AsyncIterable<Buffer>,
  { context }: PageJob,
  { width, height }: { readonly width: number; readonly height: number },
  write: (piece: Buffer) => Promise<void>,
): Promise<void> {
  let over = false;
  async function* copied(): AsyncGenerator<Buffer> {
    for await (const piece of pieces) {
      if (over) return;
      await write(piece);
      yield piece;
    }
  }
  const request = { verify: 'jpeg', width, height } as const;
  try {
    for await (const { kind } of context.decoders.decode(copied(), request, context.signal)) {
      throw new DecoderCrashedError(`the decoder sent ${kind} where nothing was to be drawn`);
    }
  } finally {
    over = true;
  }
}
